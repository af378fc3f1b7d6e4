"""gir train: train a backbone on chains of degradations."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gir_cli import files
from gir_cli.chain import PRESETS
from gir_cli.cli.options import spread
from gir_cli.cli.places import cache, place_among
from gir_cli.cli.terminal import say
from gir_cli.errors import InputError, UsageError
from gir_cli.params import Checked, Param
from gir_cli.suite import task_called
from gir_cli.train.settings import RECIPES, Settings

if TYPE_CHECKING:
    from gir_cli.data import Sources
    from gir_cli.train.run import Limits

EPILOG = """Examples:

  gir train --data DIV2K -o runs/a --time 30m              the same command again goes on
  gir train --data photos/ --chain 'noise:sigma=0..50' --config width=32 -o runs/denoise --steps 5000
  gir train --data photos/ -o runs/a --time 8h --stop-after 50m     exit status 75: run again
"""


@dataclass(frozen=True)
class Training(Checked):
    """Where a run takes its data from, how long it goes on, and where it is kept."""

    data: Annotated[tuple[str, ...], Param("folder of clean photographs; may be given several times")] = ()
    pairs: Annotated[
        tuple[str, ...], Param("folder of real pairs, lq/NAME and gt/NAME; may be given several times")
    ] = ()
    output: Annotated[str | None, Param("run folder: state, log, and weights.safetensors at the end")] = None
    mode: Annotated[str | None, Param("training distribution: " + ", ".join([*PRESETS, "single:TASK"]))] = None
    chain: Annotated[str | None, Param("train on this chain instead, as 'noise:sigma=0..50'")] = None
    name: Annotated[str | None, Param("name in the weights' record; the run folder's if not given")] = None
    start: Annotated[str | None, Param("weights file to begin from, of a network of the same kind, no larger")] = None
    time: Annotated[str | None, Param("length of the whole run, as 90s, 25m or 8h, instead of --steps")] = None
    stop_after: Annotated[str | None, Param("end this slice after so long; status 75, run again to go on")] = None
    device: Annotated[str, Param("auto, cpu, cuda, cuda:N or mps")] = "auto"
    workers: Annotated[int, Param("processes that make samples", 0, 256)] = 1
    threads: Annotated[int | None, Param("threads of the network; all cores if not given", 1, 1024)] = None
    compile: Annotated[bool, Param("compile the network first; pays in long runs on GPUs")] = False
    tensorboard: Annotated[bool, Param("write the log for TensorBoard as well, into the run folder")] = False
    plot: Annotated[str | None, Param("draw the curves of this run folder to its plot.png, and stop")] = None
    license: Annotated[str, Param("licence of the weights, for their record")] = ""
    dry_run: Annotated[bool, Param("print settings, parameters and measured speed, and stop")] = False
    json: Annotated[bool, Param("print each report as a JSON line on stdout")] = False
    quiet: Annotated[bool, Param("say nothing but errors")] = False


def _apply(context: typer.Context, name: str) -> str:
    """Let the recipe called `name` give the defaults of all options that nothing else has set."""
    if name not in RECIPES:
        raise UsageError(f"--preset={name} is none of {', '.join(RECIPES)}")
    context.default_map = {**RECIPES[name], **(context.default_map or {})}
    return name


Preset = Annotated[
    str,
    typer.Option(
        metavar="|".join(RECIPES),
        is_eager=True,
        callback=_apply,
        help="defaults of the other options: ours, or the paper's",
    ),
]


@spread
def train(training: Training = Training(), settings: Settings = Settings(), preset: Preset = "tuned") -> int:
    """Train a backbone on chains of degradations.

    Samples are drawn on the fly from folders of clean photographs. The run folder holds everything: the same
    command again goes on from where it stopped, and what it makes is the same however often it was stopped.
    """
    if training.plot is not None:
        return _plot(Path(training.plot))
    settings = _settings(training, settings)
    from gir_cli.devices import device_of, use_threads
    from gir_cli.train.distributed import first_alone, joined
    from gir_cli.train.loop import train as reports
    from gir_cli.train.run import VALIDATION

    use_threads(training.threads)
    # Workers inherit this; with more threads their small matrix products spin on the network's cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    limits = _limits(training)
    with joined(limits.ranks, device_of(limits.device)):
        with first_alone(limits.ranks):
            sources = _sources(training, max(settings.largest, VALIDATION[2]))
        if training.dry_run:
            return _rehearse(training, settings, sources, limits)
        start = Path(training.start) if training.start else None
        folder = Path(training.output)
        stop = Stop()  # from here on there may be a state to save
        _show(reports(settings, sources, folder, limits, _about(training), start, stop), training, limits.ranks.leads)
    if not training.quiet and limits.ranks.leads:
        say(f"{folder / 'weights.safetensors'}")
    return 0


def _limits(training: Training) -> Limits:
    """Return the bounds of the run."""
    from gir_cli.devices import device_of
    from gir_cli.train.distributed import Ranks
    from gir_cli.train.run import Limits

    ranks = Ranks(*place_among())
    device = str(device_of(training.device))
    if device == "cuda" and ranks.count > 1:
        device = f"cuda:{ranks.local}"
    return Limits(
        seconds(training.time), seconds(training.stop_after), device, training.workers, training.compile, ranks
    )


def _sources(training: Training, side: int) -> Sources:
    from gir_cli.data import Sources, open_pairs, open_photographs

    place = cache() / "photographs"
    folders, pairs = ([Path(folder) for folder in found] for found in (training.data, training.pairs))
    return Sources(
        open_photographs(folders, place, side) if folders else None, open_pairs(pairs, place, side) if pairs else None
    )


def _plot(folder: Path) -> int:
    """Draw the log of run `folder`, and say where."""
    from gir_cli.curves import curves
    from gir_cli.image import Image, encode

    log = folder / "log.jsonl"
    lines = [facts for line in log.read_bytes().splitlines() if (facts := _logged(line))] if log.is_file() else []
    if not lines:
        raise InputError(f"{folder}: holds no log.jsonl of a run")
    files.write(str(folder / "plot.png"), encode(Image(curves(lines)), "png").data)
    say(f"{folder / 'plot.png'}")
    return 0


def _logged(line: bytes) -> dict[str, Any] | None:
    """Return what a line of a log says; None where a run was killed amid writing it."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _settings(training: Training, settings: Settings) -> Settings:
    if not training.data and not training.pairs:
        raise UsageError("no photographs to train on; name a folder with --data or --pairs")
    if training.output is None and not training.dry_run:
        raise UsageError("no run folder; name one with -o")
    if training.mode and training.chain:
        raise UsageError("--mode and --chain exclude each other")
    if training.mode and training.mode.startswith("single:"):
        task_called(training.mode.removeprefix("single:"))
    elif training.mode and training.mode not in PRESETS:
        raise UsageError(f"--mode={training.mode} is none of {', '.join(PRESETS)}, single:TASK")
    return dataclasses.replace(settings, distribution=training.chain or training.mode or settings.distribution)


def seconds(text: str | None) -> float | None:
    """Return the seconds that a text such as 90s, 25m or 8h spells."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match:
        raise UsageError(f"'{text}' is no length of time, such as 90s, 25m or 8h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


class Stop:
    """Becomes true when SIGINT or SIGTERM has come, or `after` seconds have passed, so that state can be saved."""

    def __init__(self, after: float | None = None) -> None:
        self.status = 0
        self.until = time.monotonic() + (math.inf if after is None else after)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.status = 128 + number

    def __call__(self) -> bool:
        return bool(self.status) or time.monotonic() > self.until


def _about(training: Training) -> dict[str, Any]:
    about = {
        "data": [Path(folder).name for folder in (*training.data, *training.pairs)],
        "command": shlex.join(["gir", *sys.argv[1:]]),
        "license": training.license,
        "commit": _commit(),
    }
    return about | ({"name": training.name} if training.name else {})


def _commit() -> str:
    """Return the commit of the source tree that this program runs from, or an empty string."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    done = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _show(reports: Any, training: Training, leads: bool) -> None:
    """Draw the progress of a run: a bar on a terminal, a line a validation elsewhere, or JSON.

    Of several processes only the one that leads speaks.
    """
    if not leads:
        deque(reports, maxlen=0)
        return
    bar = None
    board = _board(training) if training.tensorboard else None
    if sys.stderr.isatty() and not (training.quiet or training.json):
        from tqdm import tqdm

        bar = tqdm(unit="step", file=sys.stderr, dynamic_ncols=True)
    try:
        for report in reports:
            if board is not None:
                for name in ("loss", "valid", "images_per_second"):
                    if (value := getattr(report, name)) is not None:
                        board.add_scalar(name, value, report.images)
            if training.json:
                print(json.dumps(dataclasses.asdict(report)), flush=True)
            elif bar is not None:
                bar.total, bar.n = report.steps, report.step
                bar.set_postfix_str(f"loss {report.loss:.4f}, {report.images_per_second:.0f} images/s, {score(report)}")
            elif report.valid is not None and not training.quiet:
                say(f"step {report.step} of {report.steps}: {report.images_per_second:.0f} images/s, {score(report)}")
    finally:
        if bar is not None:
            bar.close()
        if board is not None:
            board.close()


def _board(training: Training) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError("--tensorboard needs the package tensorboard (pip install 'gir[tensorboard]')") from None
    return SummaryWriter(training.output)


def score(report: Any) -> str:
    """Return a report's validation for people, or what it waits for."""
    if report.valid is None:
        return f"waiting {report.waiting:.0%}"
    return f"validation {report.valid:.2f} dB (input {report.valid_input:.2f})"


def _rehearse(training: Training, settings: Settings, sources: Sources, limits: Limits) -> int:
    """Print what a run would be, with its speed and memory measured over a few steps; keep nothing."""
    import tempfile

    from gir_cli.devices import device_of, peak_memory
    from gir_cli.train import state
    from gir_cli.train.loop import train as reports
    from gir_cli.train.run import Run, multiplications

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        short = dataclasses.replace(settings, steps=60, every=60)
        run = Run(settings, sources, folder, dataclasses.replace(limits, ranks=type(limits.ranks)()))
        if training.start:
            run.start_from(Path(training.start))
        seen = list(reports(short, sources, folder, dataclasses.replace(limits, time=None, stop_after=None)))
        room = state.check_room(folder, run.network)
    if not limits.ranks.leads:
        return 0
    steady = [report for report in seen if report.step > 20]
    speed = sum(report.images_per_second for report in steady) / len(steady)
    waiting = sum(report.waiting for report in steady) / len(steady)
    facts = dataclasses.asdict(settings) | {
        "photographs": len(sources.photographs or ()),
        "pairs": len(sources.pairs.clean) if sources.pairs else 0,
        "parameters": sum(parameter.numel() for parameter in run.network.parameters()),
        "multiplications_per_pixel": round(multiplications(run.network)),
        "images_per_second": round(speed),
        "waiting": round(waiting, 3),
        "memory_bytes": peak_memory(device_of(limits.device)),
        "disk_bytes": room,
    }
    if training.json:
        print(json.dumps(facts))
        return 0
    for name, value in facts.items():
        print(f"{name}\t{value}")
    return 0
