"""gir train: train a backbone on chains of degradations."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from gir_cli.chain import PRESETS
from gir_cli.cli.options import spread
from gir_cli.cli.places import cache
from gir_cli.cli.terminal import say
from gir_cli.errors import UsageError
from gir_cli.params import Checked, Param
from gir_cli.train.settings import Settings

EPILOG = """Examples:

  gir train --data DIV2K -o runs/a --time 30m              the same command again goes on
  gir train --data photos/ --chain 'noise:sigma=0..50' --config width=32 -o runs/denoise --steps 5000
  gir train --data photos/ -o runs/a --time 8h --stop-after 50m     exit status 75: run again
"""


@dataclass(frozen=True)
class Training(Checked):
    """Where a run takes its data from, how long it goes on, and where it is kept."""

    data: Annotated[tuple[str, ...], Param("folder of clean photographs; may be given several times")] = ()
    output: Annotated[str | None, Param("run folder: state, log, and weights.safetensors at the end")] = None
    mode: Annotated[str | None, Param("training distribution: " + ", ".join(PRESETS))] = None
    chain: Annotated[str | None, Param("train on this chain instead, as 'noise:sigma=0..50'")] = None
    name: Annotated[str | None, Param("name in the weights' record; the run folder's if not given")] = None
    start: Annotated[str | None, Param("weights file to begin from")] = None
    time: Annotated[str | None, Param("length of the whole run, as 90s, 25m or 8h, instead of --steps")] = None
    stop_after: Annotated[str | None, Param("end this slice after so long; status 75, run again to go on")] = None
    device: Annotated[str, Param("auto, cpu, cuda, cuda:N or mps")] = "auto"
    workers: Annotated[int, Param("processes that make samples", 0, 256)] = 1
    threads: Annotated[int | None, Param("threads of the network; all cores if not given", 1, 1024)] = None
    license: Annotated[str, Param("licence of the weights, for their record")] = ""
    dry_run: Annotated[bool, Param("print settings, parameters and measured speed, and stop")] = False
    json: Annotated[bool, Param("print each report as a JSON line on stdout")] = False
    quiet: Annotated[bool, Param("say nothing but errors")] = False


@spread
def train(training: Training = Training(), settings: Settings = Settings()) -> int:
    """Train a backbone on chains of degradations.

    Samples are drawn on the fly from folders of clean photographs. The run folder holds everything: the same
    command again goes on from where it stopped, and what it makes is the same however often it was stopped.
    """
    settings = _settings(training, settings)
    from gir_cli.data import open_photographs
    from gir_cli.devices import device_of, use_threads
    from gir_cli.train.loop import train as reports
    from gir_cli.train.run import Limits

    use_threads(training.threads)
    limits = Limits(
        _seconds(training.time), _seconds(training.stop_after), str(device_of(training.device)), training.workers
    )
    photographs = open_photographs(
        [Path(folder) for folder in training.data], cache() / "photographs", settings.largest
    )
    if training.dry_run:
        return _rehearse(settings, photographs, limits)
    stop = Stop()
    start = Path(training.start) if training.start else None
    folder = Path(training.output)
    _show(reports(settings, photographs, folder, limits, _about(training), start, stop), training)
    if not training.quiet:
        say(f"{folder / 'weights.safetensors'}")
    return 0


def _settings(training: Training, settings: Settings) -> Settings:
    if not training.data:
        raise UsageError("no photographs to train on; name a folder with --data")
    if training.output is None and not training.dry_run:
        raise UsageError("no run folder; name one with -o")
    if training.mode and training.chain:
        raise UsageError("--mode and --chain exclude each other")
    if training.mode and training.mode not in PRESETS:
        raise UsageError(f"--mode={training.mode} is none of {', '.join(PRESETS)}")
    return dataclasses.replace(settings, distribution=training.chain or training.mode or settings.distribution)


def _seconds(text: str | None) -> float | None:
    """Return the seconds that a text such as 90s, 25m or 8h spells."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match:
        raise UsageError(f"'{text}' is no length of time, such as 90s, 25m or 8h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


class Stop:
    """Becomes true when SIGINT or SIGTERM has come, so that a run ends with its state saved."""

    def __init__(self) -> None:
        self.status = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.status = 128 + number

    def __call__(self) -> bool:
        return bool(self.status)


def _about(training: Training) -> dict[str, Any]:
    about = {
        "data": [Path(folder).name for folder in training.data],
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


def _show(reports: Any, training: Training) -> None:
    """Draw the progress of a run: a bar on a terminal, a line a validation elsewhere, or JSON."""
    bar = None
    if sys.stderr.isatty() and not (training.quiet or training.json):
        from tqdm import tqdm

        bar = tqdm(unit="step", file=sys.stderr, dynamic_ncols=True)
    try:
        for report in reports:
            if training.json:
                print(json.dumps(dataclasses.asdict(report)), flush=True)
            elif bar is not None:
                bar.total, bar.n = report.steps, report.step
                bar.set_postfix_str(
                    f"loss {report.loss:.4f}, {report.images_per_second:.0f} images/s, {_score(report)}"
                )
            elif report.valid is not None and not training.quiet:
                say(f"step {report.step} of {report.steps}: {report.images_per_second:.0f} images/s, {_score(report)}")
    finally:
        if bar is not None:
            bar.close()


def _score(report: Any) -> str:
    if report.valid is None:
        return f"waiting {report.waiting:.0%}"
    return f"validation {report.valid:.2f} dB (input {report.valid_input:.2f})"


def _rehearse(settings: Settings, photographs: Any, limits: Any) -> int:
    """Print what a run would be, with its speed measured over a few steps; keep nothing."""
    import tempfile

    from gir_cli.train.loop import train as reports
    from gir_cli.train.run import Limits, Run

    with tempfile.TemporaryDirectory() as folder:
        short = dataclasses.replace(settings, steps=60, every=60)
        network = Run(settings, photographs, Path(folder), Limits()).network
        seen = list(reports(short, photographs, Path(folder), dataclasses.replace(limits, time=None)))
    steady = [report for report in seen if report.step > 20]
    speed = sum(report.images_per_second for report in steady) / len(steady)
    waiting = sum(report.waiting for report in steady) / len(steady)
    for name, value in dataclasses.asdict(settings).items():
        print(f"{name}\t{value}")
    print(f"photographs\t{len(photographs)}")
    print(f"parameters\t{sum(parameter.numel() for parameter in network.parameters())}")
    print(f"images_per_second\t{speed:.0f}")
    print(f"waiting\t{waiting:.3f}")
    return 0
