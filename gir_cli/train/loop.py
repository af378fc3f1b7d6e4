"""The training loop: a generator that yields a report now and then, and keeps its state in a run folder."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gir_cli.data import Sources, batches
from gir_cli.devices import out_of_memory
from gir_cli.errors import GirError, Unfinished
from gir_cli.train import state
from gir_cli.train.distributed import agreed, of_the_first
from gir_cli.train.run import Limits, Run
from gir_cli.train.settings import Settings, address
from gir_cli.weights import save

MEASURED = (10, 40)  # steps of a slice between which a run with a time budget measures its own speed
INTERVAL = 10  # steps between reports


@dataclass(frozen=True)
class Report:
    """How a run stands: `valid` and `valid_input` are mean PSNRs in dB, None between validations."""

    step: int
    steps: int
    loss: float
    images: int
    images_per_second: float
    waiting: float
    skipped: int
    seconds: float
    valid: float | None = None
    valid_input: float | None = None


class Clock:
    """Times a slice of a run: since its start, since the last report, and the waiting in between."""

    def __init__(self, run: Run) -> None:
        self.begun, self.before, self.first = time.monotonic(), run.seconds, run.step
        self.marks: dict[int, float] = {}
        self.restart(run)

    def restart(self, run: Run) -> None:
        """Begin a new interval."""
        self.since, self.images, self.waited = time.monotonic(), run.images, 0.0

    @property
    def slice(self) -> float:
        """Seconds since the start of this slice."""
        return time.monotonic() - self.begun

    def next(self, stream: Iterator) -> Any:
        """Return the next item of `stream`, counting the time that it is waited for."""
        asked = time.monotonic()
        item = next(stream)
        self.waited += time.monotonic() - asked
        return item

    def report(self, run: Run, loss: float) -> Report:
        """Return how `run` stands, not validated."""
        spent = max(time.monotonic() - self.since, 1e-9)
        return Report(
            step=run.step,
            steps=run.settings.steps,
            loss=loss,
            images=run.images,
            images_per_second=(run.images - self.images) / spent,
            waiting=self.waited / spent,
            skipped=run.skipped,
            seconds=run.seconds,
        )


def train(
    settings: Settings,
    sources: Sources,
    folder: Path,
    limits: Limits = Limits(),
    about: dict[str, Any] | None = None,
    start: Path | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Train in run `folder`, from its newest checkpoint if there is one, and yield a report every 10 steps.

    `start` is a weights file that a new run begins from; `about` holds facts for the record. At the end
    `folder/weights.safetensors` holds the averaged weights with their record, and `folder/best.safetensors`
    those of the best validation. Raises Unfinished, state saved, when `limits.stop_after` has passed or
    `interrupted()` says so. Of several processes all call this, each with its rank in `limits` and
    within `distributed.joined`; the first one writes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(settings, sources, folder, limits)
    state.check_room(folder, run.network)
    if not run.resume() and start:
        run.start_from(start)
    yield from _steps(run, about or {}, interrupted)
    record = run.record(run.validate(), about or {})
    if limits.ranks.leads:
        save(folder / "weights.safetensors", run.average, record)


def _steps(run: Run, about: dict[str, Any], interrupted: Callable[[], bool]) -> Iterator[Report]:
    clock = Clock(run)
    # Addresses are asked for only a few steps ahead, when the length of a timed run is already known.
    addresses = (run.ranks.share(address(step, run.settings)) for step in itertools.count(run.step))
    stream = batches(run.samples, addresses, run.limits.workers)
    while run.step < run.settings.steps:
        loss = _updated(run, *run.samples.pair(clock.next(stream), run.device))
        run.seconds = clock.before + clock.slice
        _fix_length(run, clock)
        last = run.step >= run.settings.steps
        due = last or run.step % run.settings.every == 0
        pause = run.step % INTERVAL == 0
        stop = interrupted() or (run.limits.stop_after is not None and clock.slice > run.limits.stop_after)
        if run.ranks.count > 1:  # all must stop at one step, and asking is not free
            stop = (pause or last) and agreed(stop, run.ranks, run.device)
        if due or stop or pause:
            run.check()
            report = clock.report(run, float(loss))
            yield _kept(run, report, about) if due else report
            if stop and not due:
                run.checkpoint()
            clock.restart(run)
        if stop and not last:
            raise Unfinished(f"{run.folder}: stopped at step {run.step} of {run.settings.steps}; run again to go on")


def _updated(run: Run, worse: Tensor, clean: Tensor) -> Tensor:
    """Take one step and return its loss; GirError says what would fit if memory runs out."""
    try:
        return run.update(worse, clean)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
    count, side = len(worse), worse.shape[-1]
    fits = run.affordable(-(-count // run.settings.accumulate), side)
    remedy = f"--accumulate {-(-count // fits)} computes it in parts that fit" if fits else "not even one patch fits"
    raise GirError(f"{run.folder}: memory ran out at a batch of {count} patches of {side}x{side}; {remedy}")


def _fix_length(run: Run, clock: Clock) -> None:
    """Give a run with a time budget its number of steps, once its speed is known; later slices keep it."""
    done = run.step - clock.first
    if run.limits.time is None or run.fixed_by is not None or done not in MEASURED:
        return
    clock.marks[done] = time.monotonic()
    if len(clock.marks) == len(MEASURED):
        seconds_per_step = (clock.marks[MEASURED[1]] - clock.marks[MEASURED[0]]) / (MEASURED[1] - MEASURED[0])
        left = max(run.limits.time - run.seconds, 0)
        steps = of_the_first(run.step + max(1, int(left / seconds_per_step)), run.ranks, run.device)
        run.settings = dataclasses.replace(run.settings, steps=int(steps))
        run.fixed_by = run.limits.time


def _kept(run: Run, report: Report, about: dict[str, Any]) -> Report:
    """Validate `run`, keep its state, and its weights if they are the best so far; return the whole report."""
    valid = run.validate()
    report = dataclasses.replace(report, valid=valid[0], valid_input=valid[1])
    if valid[0] > run.best:
        run.best = valid[0]
        if run.ranks.leads:
            save(run.folder / "best.safetensors", run.average, run.record(valid, about))
    if run.ranks.leads:
        state.log(run.folder, dataclasses.asdict(report))
    run.checkpoint()
    return report
