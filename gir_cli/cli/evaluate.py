"""gir evaluate: score models on a suite of tasks, or restored images against references."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Set
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer

from gir_cli import files, records
from gir_cli.baselines import BASELINES, baseline
from gir_cli.batch.planning import shared
from gir_cli.cli import judged, showcase
from gir_cli.cli.judged import Scored
from gir_cli.cli.learned import Learned, given
from gir_cli.cli.options import spread
from gir_cli.cli.places import DEFAULT_MODEL, cache, launched, weights_places
from gir_cli.cli.showcase import Source
from gir_cli.cli.terminal import progress, say
from gir_cli.errors import InputError, UsageError
from gir_cli.evaluate import Measuring, Row, by_place, by_stem, from_lines, outdated, to_line
from gir_cli.evaluate import evaluate as measured
from gir_cli.metrics import METRICS, Given
from gir_cli.params import Checked, Param
from gir_cli.suite import SEED, SUITES, AnyTask, RealTask, chosen
from gir_cli.suite.lines import read_lines

EPILOG = """Examples:

  gir evaluate --data Kodak24/ --tasks A                  the default model on 30 single degradations
  gir evaluate --data Kodak24/ -m a.safetensors -m b.safetensors --baseline nlm -o rows.jsonl
  gir evaluate --data Kodak24/ --real Real/ --html report.html
  gir evaluate --suite denoise --data CBSD68/             as published tables make their noise
  gir evaluate --data Kodak24/ --quick --min psnr=25,ar=0.5     for tests: exit status 4 if short
  gir evaluate restored/ references/ --metric psnr --metric ssim
  gir evaluate restored/ references/ --metric lpips --lpips-backbone alexnet.pth --lpips-weights alex.pth
"""


@dataclass(frozen=True)
class Evaluating(Checked):
    """What is scored, and how."""

    suite: Annotated[Literal["gir110", "denoise", "dejpeg", "sr", "multi"], Param("set of tasks")] = "gir110"
    data: Annotated[str | None, Param("folder of clean images for the synthetic tasks", metavar="DIR")] = None
    real: Annotated[str | None, Param("folder of real tasks, NAME/lq and maybe NAME/gt", metavar="DIR")] = None
    tasks: Annotated[tuple[str, ...], Param("a task or a group, such as A to I or real; may be repeated")] = ()
    model: Annotated[tuple[str, ...], Param("weights by name or file, or none; may be repeated")] = ()
    baseline: Annotated[
        tuple[str, ...],
        Param("classical method, as nlm or wiener:sigma=1.2; may be repeated", metavar="|".join(BASELINES)),
    ] = ()
    metric: Annotated[
        tuple[str, ...], Param("metric, else each task's own; may be repeated", metavar="|".join(METRICS))
    ] = ()
    lines: Annotated[
        str | None, Param("table of lines made by gir lines, instead of the shipped one", metavar="FILE")
    ] = None
    quick: Annotated[bool, Param("8 images and the 256x256 pixels in their middle")] = False
    seed: Annotated[int, Param("seed of the degradations", 0, 2**63)] = SEED
    output: Annotated[str | None, Param("keep a row per image, task and model there; run again to go on")] = None
    shard: Annotated[str | None, Param("K/N takes the K-th of every N tasks; torchrun gives each process its own")] = (
        None
    )
    device: Annotated[str, Param("auto, cpu, cuda, cuda:N or mps")] = "auto"
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Param("arithmetic of the models")] = "auto"
    min: Annotated[
        tuple[str, ...], Param("status 4 if the last model has less, mean over tasks, as psnr=25,ar=0.5")
    ] = ()
    html: Annotated[str | None, Param("write a report with plots and crops, one file", metavar="FILE")] = None
    json: Annotated[bool, Param("print means and verdicts as JSON Lines")] = False
    quiet: Annotated[bool, Param("no progress bar")] = False


#: Options that say nothing of two operands; those that a configuration file may well hold are let pass.
OF_TASKS = ("tasks", "baseline", "quick", "output", "shard", "html")


@spread
def evaluate(
    operands: Annotated[list[str] | None, typer.Argument(metavar="[RESTORED REFERENCE]", show_default=False)] = None,
    evaluating: Evaluating = Evaluating(),
    learned: Learned = Learned(),
) -> int:
    """Score models on the tasks of GIR-110 or another suite, or restored images against their references.

    The tasks are this project's own, after the protocol of general image restoration (Kong et al., 2024).
    Degraded images are made on the fly, the same each time. Scores are means over images, then over tasks.
    Where tasks have lines, AR and ER are the shares of tasks on which a model reaches acceptance and excellence.
    """
    if operands and len(operands) != 2:
        raise UsageError("two operands are compared: restored and reference, files or folders")
    for name in evaluating.metric:
        METRICS.find(name)
    thresholds = [_threshold(part) for text in evaluating.min for part in text.split(",")]
    networks = given(evaluating.metric, learned, evaluating.device)
    scored = _pairs(operands[0], operands[1], evaluating, networks) if operands else _suite(evaluating, networks)
    if not (scored.rows or scored.tasks):
        say("gir: this shard has no task")
        return 0
    if not scored.rows:
        raise InputError("nothing was measured: the folders of the tasks are not there")
    judged.tell(scored, as_json=evaluating.json)
    for threshold in thresholds:
        judged.hold(scored, *threshold)
    return 0


def _threshold(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if name not in judged.SHARES:
        METRICS.find(name)
    try:
        return name, float(value)
    except ValueError:
        raise UsageError(f"--min={text} is no METRIC=NUMBER, such as psnr=25") from None


# ---- rows


def _suite(evaluating: Evaluating, networks: Given) -> Scored:
    """Return the rows of the chosen tasks, those in the output file taken as they are; write the report.

    Without tasks, as in a shard of fewer than there are shards, there is nothing to do.
    """
    tasks = _tasks(evaluating)
    if not tasks:
        return Scored([])
    lines = read_lines(Path(evaluating.lines) if evaluating.lines else None)
    measuring = Measuring(evaluating.metric, evaluating.quick, evaluating.seed, networks)
    target = evaluating.output
    had = from_lines(files.read(target).splitlines()) if target and os.path.exists(target) else []
    baselines = _baselines(evaluating)
    models = {**baselines, **_models(evaluating, {"input", *baselines})}
    data, real = (Path(folder) if folder else None for folder in (evaluating.data, evaluating.real))
    rows = list(_kept(measured(tasks, data, real, models, measuring, had), had, evaluating))
    if count := outdated(rows, had):
        say(f"gir: {count} rows measured on other pictures are measured again")
    scored = Scored(rows, tasks, lines, evaluating.quick)
    if evaluating.html and rows:
        text = showcase.report(f"gir evaluate: {evaluating.suite}", scored, Source(data, real, models, measuring))
        files.write(evaluating.html, text.encode())
    return scored


def _kept(found: Iterator[Row], had: list[Row], evaluating: Evaluating) -> Iterator[Row]:
    """Yield the rows under a progress bar, those that are new written to the output file as they come."""
    known = by_place(had)
    target = evaluating.output
    with _appended(target) if target else nullcontext() as out:
        for row in progress(found, total=None, unit="row", shown=not evaluating.quiet):
            if out and not (row.place in known and known[row.place].has(row.scores, row.files)):
                print(to_line(row), file=out, flush=True)
            yield row


def _appended(target: str) -> TextIO:
    """Open `target` for more lines, its folder made; a last line that was cut off stays one of its own."""
    os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    out = open(target, "a")  # noqa: SIM115
    if files.size(target) and not files.read(target).endswith(b"\n"):
        print(file=out)
    return out


def _tasks(evaluating: Evaluating) -> tuple[AnyTask, ...]:
    """Return the tasks asked for; those whose folder was not named are among them only if others were."""
    tasks = chosen(evaluating.tasks, SUITES[evaluating.suite]())
    if evaluating.data is None and evaluating.real is None:
        raise UsageError("nothing to measure: name clean images with --data, real tasks with --real, or two operands")
    if not any(evaluating.real if isinstance(task, RealTask) else evaluating.data for task in tasks):
        raise UsageError("no task is left to measure")
    return tuple(shared(tasks, evaluating.shard or launched()))


def _models(evaluating: Evaluating, taken: Set[str]) -> dict[str, tuple[str, Any]]:
    """Return each model's digest and function by its name, or by its file, numbered if need be, where that is taken."""
    names = evaluating.model or (os.environ.get("GIR_MODEL") or DEFAULT_MODEL,)
    if names == ("none",):
        return {}
    from gir_cli.restore import Restorer, Way

    # Inputs are 8-bit levels, but for noise that published tables don't clip.
    way = Way(device=evaluating.device, precision=evaluating.precision, clip=False)
    found: dict[str, tuple[str, Any]] = {}
    for name in names:
        restorer = Restorer(records.find(name, weights_places()), way, cache() / "checks")
        if restorer.scale != 1:
            raise UsageError(f"{name}: enlarges {restorer.scale} times; the tasks keep the size")
        numbered = (f"{name} {number}" for number in itertools.count(2))
        possible = itertools.chain([restorer.name or name, name], numbered)
        key = next(text for text in possible if text not in taken and text not in found)
        found[key] = (_way_digest(restorer.digest, evaluating.precision), restorer)
    return found


def _way_digest(digest: str, precision: str) -> str:
    """Return a digest of a model in the precision that was asked for; of the model alone, as ever, if none was."""
    return digest if precision == "auto" else hashlib.sha256(f"{digest} {precision}".encode()).hexdigest()


def _baselines(evaluating: Evaluating) -> dict[str, tuple[str, Any]]:
    """Return each classical method's digest and function by its text."""
    methods = {text: baseline(text) for text in evaluating.baseline}
    return {text: (hashlib.sha256(repr(method).encode()).hexdigest(), method) for text, method in methods.items()}


def _pairs(restored: str, reference: str, evaluating: Evaluating, networks: Given) -> Scored:
    """Return a row for each image of `restored` against the one of the same stem in `reference`."""
    from gir_cli.image import decode
    from gir_cli.metrics import files_of, quantised, scores

    defaults = Evaluating()
    lost = [name for name in OF_TASKS if getattr(evaluating, name) != getattr(defaults, name)]
    if lost:
        named = ", ".join(f"--{name}" for name in lost)
        raise UsageError(f"{named}: for tasks, not two operands (gir compare A B -o sheet.png shows pictures)")
    metrics = evaluating.metric or ("psnr",)
    rows = []
    for name, one, other in _matched(Path(restored), Path(reference)):
        try:
            images = [decode(files.read(str(path))) for path in (one, other)]
            levels = [quantised(image.pixels, image.depth) for image in images]
            found = scores(metrics, *levels, given=networks)
        except InputError as error:
            raise InputError(f"{files.shown(str(one))}: {error}") from None
        values = {metric: score if isinstance(score, float) else float("nan") for metric, score in found.items()}
        rows.append(Row("pairs", "pairs", name, "restored", "", values, files_of(metrics, networks)))
    return Scored(rows)


def _matched(restored: Path, reference: Path) -> Iterator[tuple[str, Path, Path]]:
    if restored.is_file() and reference.is_file():
        yield restored.name, restored, reference
        return
    for path in (restored, reference):
        if not path.is_dir():
            raise InputError(f"{files.shown(str(path))}: no such file, or one operand is a file and one a folder")
    ours, references = (by_stem(folder, recursive=True) for folder in (restored, reference))
    for stem in sorted(ours.keys() ^ references.keys()):
        where = (restored, reference) if stem in references else (reference, restored)
        raise InputError(f"{files.shown(str(where[0]))}: has no {files.shown(str(stem))}, which {where[1]} has")
    for stem, path in sorted(ours.items()):
        yield str(stem), path, references[stem]
