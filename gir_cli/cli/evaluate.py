"""gir evaluate: score models on a suite of tasks, or restored images against references."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from gir_cli import files, records
from gir_cli.cli import tables
from gir_cli.cli.options import spread
from gir_cli.cli.places import DEFAULT_MODEL, weights_places
from gir_cli.cli.terminal import progress, say
from gir_cli.errors import InputError, ThresholdError, UsageError
from gir_cli.metrics import METRICS, PROTOCOL
from gir_cli.params import Checked, Param
from gir_cli.suite import REAL, SEED, Task, chosen, gir110

if TYPE_CHECKING:
    from gir_cli.evaluate import Row

EPILOG = """Examples:

  gir evaluate --data Kodak24/ --tasks A                  the default model on 30 single degradations
  gir evaluate --data Kodak24/ -m a.safetensors -m b.safetensors -o rows.jsonl
  gir evaluate --data Kodak24/ --quick --min psnr=25      for tests: exit status 4 if short
  gir evaluate restored/ references/ --metric psnr --metric ssim
"""


@dataclass(frozen=True)
class Evaluating(Checked):
    """What is scored, and how."""

    data: Annotated[str | None, Param("folder of clean images for the synthetic tasks", metavar="DIR")] = None
    real: Annotated[str | None, Param("folder of real tasks, each NAME/lq and NAME/gt", metavar="DIR")] = None
    tasks: Annotated[tuple[str, ...], Param("a task or a group of them, A to I or real; may be repeated")] = ()
    model: Annotated[tuple[str, ...], Param("weights by name or file, or none; may be repeated")] = ()
    metric: Annotated[tuple[str, ...], Param("metric; may be repeated", metavar="|".join(METRICS))] = ("psnr",)
    quick: Annotated[bool, Param("8 images and the 256x256 pixels in their middle")] = False
    seed: Annotated[int, Param("seed of the degradations", 0, 2**63)] = SEED
    output: Annotated[str | None, Param("keep a row per image, task and model there; run again to go on")] = None
    shard: Annotated[str | None, Param("K/N takes the K-th of every N tasks")] = None
    device: Annotated[str, Param("auto, cpu, cuda, cuda:N or mps")] = "auto"
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Param("arithmetic of the models")] = "auto"
    min: Annotated[tuple[str, ...], Param("status 4 if the mean over tasks is less, as psnr=25")] = ()
    json: Annotated[bool, Param("print the means as JSON Lines")] = False
    quiet: Annotated[bool, Param("no progress bar")] = False


@spread
def evaluate(
    operands: Annotated[list[str] | None, typer.Argument(metavar="[RESTORED REFERENCE]", show_default=False)] = None,
    evaluating: Evaluating = Evaluating(),
) -> int:
    """Score models on the tasks of GIR-110, or restored images against their references.

    The tasks are this project's own, after the protocol of general image restoration (Kong et al., 2024).
    Degraded images are made on the fly, the same each time. Scores are means over images, then over tasks.
    """
    if operands and len(operands) != 2:
        raise UsageError("two operands are compared: restored and reference, files or folders")
    for name in evaluating.metric:
        METRICS.find(name)
    thresholds = [_threshold(text) for text in evaluating.min]
    rows = _pairs(*operands, evaluating) if operands else _suite(evaluating)
    return _judged(rows, evaluating, thresholds)


def _threshold(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    METRICS.find(name)
    try:
        return name, float(value)
    except ValueError:
        raise UsageError(f"--min={text} is no METRIC=NUMBER, such as psnr=25") from None


# ---- rows


def _suite(evaluating: Evaluating) -> list[Row]:
    """Return the rows of the chosen tasks, those in the output file taken as they are."""
    from gir_cli.evaluate import Measuring, from_lines, to_line
    from gir_cli.evaluate import evaluate as measured

    tasks = _tasks(evaluating)
    measuring = Measuring(evaluating.metric, evaluating.quick, evaluating.seed)
    target = evaluating.output
    had = from_lines(files.read(target).decode().splitlines()) if target and os.path.exists(target) else []
    known = {row.place for row in had}
    folders = [Path(folder) if folder else None for folder in (evaluating.data, evaluating.real)]
    rows = []
    found = measured(tasks, *folders, _models(evaluating), measuring, had)
    out = open(target, "a") if target else None  # noqa: SIM115
    try:
        for row in progress(found, total=None, unit="row", shown=not evaluating.quiet):
            rows.append(row)
            if out and row.place not in known:
                print(to_line(row), file=out, flush=True)
    finally:
        if out:
            out.close()
    return rows


def _tasks(evaluating: Evaluating) -> tuple[Any, ...]:
    tasks = chosen(evaluating.tasks, (*gir110(), *REAL))
    if evaluating.data is None and evaluating.real is None:
        raise UsageError("nothing to measure: name clean images with --data, real tasks with --real, or two operands")
    tasks = tuple(task for task in tasks if (evaluating.data if isinstance(task, Task) else evaluating.real))
    if evaluating.shard:
        tasks = _shard(tasks, evaluating.shard)
    if not tasks:
        raise UsageError("no task is left to measure")
    return tasks


def _shard(tasks: tuple[Any, ...], text: str) -> tuple[Any, ...]:
    part, _, whole = text.partition("/")
    if not (part.isdecimal() and whole.isdecimal() and 1 <= int(part) <= int(whole)):
        raise UsageError(f"--shard={text} is not K/N with K from 1 to N")
    return tasks[int(part) - 1 :: int(whole)]


def _models(evaluating: Evaluating) -> dict[str, tuple[str, Any]]:
    """Return each model's digest and function by its name, or by its file where two share one."""
    names = evaluating.model or (os.environ.get("GIR_MODEL") or DEFAULT_MODEL,)
    if names == ("none",):
        return {}
    from gir_cli.restore import Restorer, Way

    way = Way(device=evaluating.device, precision=evaluating.precision)
    found: dict[str, tuple[str, Any]] = {}
    for name in names:
        restorer = Restorer(records.find(name, weights_places()), way)
        if restorer.scale != 1:
            raise UsageError(f"{name}: enlarges {restorer.scale} times; the tasks keep the size")
        key = restorer.name if restorer.name and restorer.name not in found else name
        found[key] = (restorer.digest, restorer)
    return found


def _pairs(restored: str, reference: str, evaluating: Evaluating) -> list[Row]:
    """Return a row for each image of `restored` against the one of the same stem in `reference`."""
    from gir_cli.evaluate import Row
    from gir_cli.image import decode
    from gir_cli.metrics import quantised, scores

    rows = []
    for name, one, other in _matched(Path(restored), Path(reference)):
        try:
            images = [decode(files.read(str(path))) for path in (one, other)]
            levels = [quantised(image.pixels, image.depth) for image in images]
            found = scores(evaluating.metric, *levels)
        except InputError as error:
            raise InputError(f"{files.shown(str(one))}: {error}") from None
        values = {metric: score if isinstance(score, float) else float("nan") for metric, score in found.items()}
        rows.append(Row("pairs", "pairs", name, "restored", "", values))
    return rows


def _matched(restored: Path, reference: Path) -> Iterator[tuple[str, Path, Path]]:
    if restored.is_file() and reference.is_file():
        yield restored.name, restored, reference
        return
    for path in (restored, reference):
        if not path.is_dir():
            raise InputError(f"{files.shown(str(path))}: no such file, or one operand is a file and one a folder")
    references = {path.relative_to(reference).with_suffix(""): path for path in _images(reference)}
    ours = {path.relative_to(restored).with_suffix(""): path for path in _images(restored)}
    for stem in sorted(ours.keys() ^ references.keys()):
        where = (restored, reference) if stem in references else (reference, restored)
        raise InputError(f"{files.shown(str(where[0]))}: has no {files.shown(str(stem))}, which {where[1]} has")
    for stem, path in sorted(ours.items()):
        yield str(stem), path, references[stem]


def _images(folder: Path) -> Iterator[Path]:
    from gir_cli.image import by_extension

    yield from (path for path in folder.rglob("*") if path.is_file() and by_extension(str(path)))


# ---- tables


def _judged(rows: list[Row], evaluating: Evaluating, thresholds: list[tuple[str, float]]) -> int:
    """Print the means and hold them against the thresholds; return 0 or raise ThresholdError."""
    from gir_cli.evaluate import gains, group_means, means

    if not rows:
        raise InputError("nothing was measured: the folders of the tasks are not there")
    models = list(dict.fromkeys(row.model for row in rows))
    for metric in evaluating.metric:
        table = means(rows, metric)
        groups = group_means(table)
        shown = [(*key, by_model) for key, by_model in table.items()]
        shown += [(group, "mean", by_model) for group, by_model in groups.items()]
        _print(metric, models, shown, _caption(rows, evaluating, table, metric), evaluating)
        if metric == "psnr":
            for model in models[1:] if models[0] == "input" else ():
                above = sum(gain > 0 for gain in gains(table, model))
                say(f"{model}: above the input on {above} of {len(table)} tasks")
    for metric, least in thresholds:
        _hold(rows, models[-1], metric, least)
    return 0


def _hold(rows: list[Row], model: str, metric: str, least: float) -> None:
    from gir_cli.evaluate import group_means, means

    if metric not in rows[0].scores:
        raise UsageError(f"--min={metric}={least:g}: that metric was not measured (--metric {metric})")
    reached = group_means(means(rows, metric))["all"][model]
    if not reached >= least:
        raise ThresholdError(f"{model}: {metric} {reached:.3f} is under {least:g}")


def _caption(rows: list[Row], evaluating: Evaluating, table: Any, metric: str) -> str:
    pictures = len({row.picture for row in rows})
    quick = ", their 256x256 centres" if evaluating.quick else ""
    equal = sum(row.scores[metric] == float("inf") for row in rows)
    same = f"; {equal} pairs are identical" if equal else ""
    depth = "each file's depth" if rows[0].group == "pairs" else "8 bits"
    named = {task for _, task in table}
    borders = [
        f"border of {task.border} left out in {task.name}" for task in REAL if task.border and task.name in named
    ]
    rim = ", ".join(borders) or "no border left out"
    return f"{metric} over {len(table)} tasks, {pictures} images{quick}{same}; {depth}, {rim}; {PROTOCOL}"


def _print(metric: str, models: list[str], shown: list[tuple], caption: str, evaluating: Evaluating) -> None:
    if evaluating.json:
        for group, task, by_model in shown:
            finite = {model: mean if np.isfinite(mean) else None for model, mean in by_model.items()}
            print(json.dumps({"metric": metric, "group": group, "task": task, "scores": finite}))
        return
    head = ["group", "task", *models]
    cells = [[group, task, *(f"{by_model[model]:.3f}" for model in models)] for group, task, by_model in shown]
    tables.show(head, cells, caption)
