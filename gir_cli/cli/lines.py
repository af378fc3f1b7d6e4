"""gir lines: make the lines by which gir evaluate takes AR and ER."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gir_cli import files, records
from gir_cli.batch.planning import shared
from gir_cli.cli.options import spread
from gir_cli.cli.places import DEFAULT_MODEL, cache, launched, weights_places
from gir_cli.cli.terminal import say
from gir_cli.cli.train import Stop, score, seconds
from gir_cli.errors import InputError, Unfinished, UsageError
from gir_cli.params import Checked, Param
from gir_cli.suite import SUITES, AnyTask, Task, chosen
from gir_cli.suite.lines import Line, written
from gir_cli.train.budget import Budget

if TYPE_CHECKING:
    from gir_cli.lines import Making

EPILOG = """Examples:

  gir lines --train photos/ --data Kodak24/ -o lines/ --images 64000
  gir lines --train photos/ --data Kodak24/ -o lines/ --tasks A --shard 1/4 --stop-after 50m
  gir evaluate --data Kodak24/ --lines lines/lines.csv
"""

LINE, ROWS, TABLE = "line.json", "rows.jsonl", "lines.csv"


@dataclass(frozen=True)
class Lining(Checked):
    """What lines are made of, and where they are kept."""

    train: Annotated[tuple[str, ...], Param("folder of photographs to train on; may be repeated", metavar="DIR")] = ()
    data: Annotated[str, Param("folder of clean images that lines are measured on", metavar="DIR")] = ""
    real: Annotated[str | None, Param("folder of real tasks, NAME/lq and maybe NAME/gt", metavar="DIR")] = None
    output: Annotated[str, Param(f"folder that keeps every network, and {TABLE}", metavar="DIR")] = ""
    tasks: Annotated[tuple[str, ...], Param("a task or a group, A to I or real; may be repeated")] = ()
    model: Annotated[str | None, Param("the general model, from which excellence starts")] = None
    quick: Annotated[bool, Param("measure 8 images and the 256x256 pixels in their middle")] = False
    shard: Annotated[str | None, Param("K/N takes the K-th of every N tasks; torchrun gives each process its own")] = (
        None
    )
    stop_after: Annotated[str | None, Param("end after so long, as 50m; status 75, run again to go on")] = None
    device: Annotated[str, Param("auto, cpu, cuda, cuda:N or mps")] = "auto"
    workers: Annotated[int, Param("processes that make samples", 0, 256)] = 1
    threads: Annotated[int | None, Param("threads of the networks; all cores if not given", 1, 1024)] = None
    quiet: Annotated[bool, Param("say nothing but errors")] = False


@spread
def lines(lining: Lining = Lining(), budget: Budget = Budget()) -> int:
    """Make the lines of tasks: train a small and a large network for each alone, and measure them.

    Acceptance is an SRResNet of 16 features and 4 blocks, excellence the general model's network tuned from its
    weights. All have the same budget, which the table tells. The same command again goes on; shards may share
    a folder, or their folders be put together. Real tasks are not trained on: acceptance is the input, and
    excellence the best excellence network of group A, or without references the clean images' score.
    """
    tasks = shared(_checked(lining), lining.shard or launched())
    tell = (lambda line: None) if lining.quiet else say
    if not tasks:
        tell("gir: this shard has no task")
        return 0
    making = _making(lining, budget)
    stop = Stop(seconds(lining.stop_after))
    for count, task in enumerate(tasks, 1):
        if isinstance(task, Task):
            _train(task, making, stop, tell)
        line = _measured(task, making)
        _write_table(making.folder)
        tell(f"{count} of {len(tasks)}: {_told(task, line)}")
    tell(f"{making.folder / TABLE}")
    return 0


def _checked(lining: Lining) -> tuple[AnyTask, ...]:
    for flag in ("train", "data", "output"):
        if not getattr(lining, flag):
            raise UsageError(f"--{flag} is needed: photographs to train on, clean images to measure, a folder to keep")
    tasks = chosen(lining.tasks, SUITES["gir110"]())
    if not lining.real:
        tasks = tuple(task for task in tasks if isinstance(task, Task))
    if not tasks:
        raise UsageError("no task is left: real ones need --real")
    return tasks


def _making(lining: Lining, budget: Budget) -> Making:
    from gir_cli.data import open_photographs
    from gir_cli.devices import device_of, use_threads
    from gir_cli.evaluate import Measuring
    from gir_cli.lines import Making
    from gir_cli.train.run import VALIDATION, Limits

    use_threads(lining.threads)
    folders = [Path(each) for each in lining.train]
    return Making(
        photographs=open_photographs(folders, cache() / "photographs", max(budget.patches, VALIDATION[2])),
        data=Path(lining.data),
        real=Path(lining.real) if lining.real else None,
        folder=Path(lining.output),
        general=records.find(lining.model or os.environ.get("GIR_MODEL") or DEFAULT_MODEL, weights_places()),
        budget=budget,
        measuring=Measuring(quick=lining.quick),
        limits=Limits(device=str(device_of(lining.device)), workers=lining.workers),
    )


def _train(task: Task, making: Making, stop: Stop, tell: Callable[[str], None]) -> None:
    """Train the task's networks, a line at each validation; raise Unfinished, state saved, where `stop` says so."""
    from gir_cli.lines import trained

    if stop():
        raise Unfinished(f"stopped before {task.name}; run again to go on")
    for report in trained(task, making, stop):
        if report.valid is not None:
            tell(f"{task.name}, step {report.step} of {report.steps}: {score(report)}")


def _measured(task: AnyTask, making: Making) -> Line | None:
    """Measure the task's networks, rows and line kept beside them."""
    from gir_cli.evaluate import from_lines, to_line
    from gir_cli.lines import made

    place = making.folder / task.name
    had = from_lines((place / ROWS).read_bytes().splitlines()) if (place / ROWS).exists() else []
    line, rows = made(task, making, had)
    if line is not None:
        place.mkdir(parents=True, exist_ok=True)
        files.write(str(place / ROWS), "".join(to_line(row) + "\n" for row in rows).encode())
        files.write(str(place / LINE), json.dumps(dataclasses.asdict(line), indent=1).encode())
    return line


def _write_table(folder: Path) -> None:
    """Write the table of all lines in the folder, whichever shard made them."""
    found = [_kept(path) for path in sorted(folder.glob(f"*/{LINE}"))]
    files.write(str(folder / TABLE), written(found).encode())


def _kept(path: Path) -> Line:
    try:
        return Line(**json.loads(path.read_bytes()))
    except (ValueError, TypeError):
        raise InputError(f"{path}: not a line as gir lines keeps it; remove it and run again") from None


def _told(task: AnyTask, line: Line | None) -> str:
    if line is None:
        return f"{task.name}: no line; its pictures, or networks of group A, are not there"
    return f"{task.name}: input {line.input:.3f}, acceptance {line.acceptance:.3f}, excellence {line.excellence:.3f}"
