"""Evaluation tasks as values: what is done to clean pictures, or which pairs of real ones are compared.

The GIR-110 suite is this project's own, after the protocol of Kong et al., *A Preliminary Exploration
Towards General Image Restoration*, 2024 (arXiv 2408.15143), whose list of tasks was never published.
Its table, gir110.csv, also holds the lines that AR and ER are taken by (see gir_cli.suite.lines).
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import ClassVar, Protocol, TypeAlias

import numpy as np

from gir_cli.chain import parse
from gir_cli.errors import UsageError, nearest
from gir_cli.rng import stream
from gir_cli.suite.published import Compressed, Enlarged, UnclippedNoise, rounded

GROUPS = {
    "A": "one degradation, trained on",
    "B": "one degradation, stronger than trained on",
    "C": "one degradation, never trained on",
    "D": "two degradations",
    "E": "three degradations",
    "F": "four degradations",
    "G": "five degradations",
    "H": "an order never trained on",
    "I": "a pipeline never trained on",
    "real": "real photographs",
}


#: The seed of the suite's draws, chosen to match: the first by which the inputs of all 100 tasks lie within
#: 0.1 dB of their references, or 0.6 where shapes are drawn.
SEED = 14


class Synthetic(Protocol):
    """A task made of clean pictures, scored by `metric` without `border` pixels on every side.

    str() of it is its definition: rows that were measured by another one are measured again. A `gray`
    task gives and takes three equal channels.
    """

    @property
    def name(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def border(self) -> int: ...
    @property
    def gray(self) -> bool: ...

    def pair(self, clean: np.ndarray, stem: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what a result is held against and what is restored, float32 (H, W, 3), for a clean picture."""
        ...


@dataclass(frozen=True)
class Task:
    """A synthetic task: a chain that makes clean pictures worse.

    `reference` is the input PSNR in dB that an independent implementation measured on Kodak's 24 pictures.
    """

    name: str
    group: str
    chain: str
    reference: float
    metric: ClassVar[str] = "psnr"
    border: ClassVar[int] = 0
    gray: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.chain

    def pair(self, clean: np.ndarray, stem: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `clean` and it under the chain."""
        return clean, self.degraded(clean, stem, seed)

    def degraded(self, clean: np.ndarray, stem: str, seed: int = SEED) -> np.ndarray:
        """Return `clean` (float32 (H, W, 3) in [0, 1]) under the chain, rounded to 8 bits.

        Each stage draws from the stream at (seed, task, stem, stage), so that a figure depends on
        nothing else. Between stages values are clipped, as in chain.apply.
        """
        pixels = clean
        for stage, step in enumerate(parse(self.chain)):
            rng = stream(seed, self.name, stem, stage)
            pixels = step.draw(rng)(pixels.clip(0, 1), rng)
        return rounded(pixels)


@dataclass(frozen=True)
class RealTask:
    """A real-world task: a folder NAME with `lq/` and, unless its `metric` needs no reference, `gt/`.

    `border` pixels on every side are not measured.
    """

    name: str
    metric: str = "psnr"
    border: int = 0
    group: ClassVar[str] = "real"
    gray: ClassVar[bool] = False


AnyTask: TypeAlias = Synthetic | RealTask


@cache
def table() -> tuple[dict[str, str], ...]:
    """Return the rows of gir110.csv: a task each, with its lines where there are any."""
    with files("gir_cli.suite").joinpath("gir110.csv").open(newline="") as rows:
        return tuple(csv.DictReader(rows))


@cache
def gir110() -> tuple[Task, ...]:
    """Return the 100 synthetic tasks of GIR-110, in order."""
    rows = [row for row in table() if row["group"] != RealTask.group]
    return tuple(Task(row["task"], row["group"], row["chain"], float(row["reference"])) for row in rows)


def task_called(name: str) -> Task:
    """Return the synthetic task called `name`, or raise UsageError."""
    tasks = {task.name: task for task in gir110()}
    if name not in tasks:
        raise UsageError(f"no task is called '{name}'{nearest(name, list(tasks))}")
    return tasks[name]


@cache
def real() -> tuple[RealTask, ...]:
    """Return the 10 real-world tasks of GIR-110, in order."""
    rows = [row for row in table() if row["group"] == RealTask.group]
    return tuple(RealTask(row["task"], row["metric"], int(row["border"])) for row in rows)


def denoise() -> tuple[UnclippedNoise, ...]:
    """Return the tasks of colour denoising tables."""
    return tuple(UnclippedNoise(f"sigma-{sigma}", sigma) for sigma in (15, 25, 50))


def dejpeg() -> tuple[Compressed, ...]:
    """Return the tasks of tables of JPEG artefact removal, gray and colour."""
    kinds = {"gray": True, "color": False}
    return tuple(
        Compressed(f"{kind}-{quality}", quality, gray) for kind, gray in kinds.items() for quality in (10, 20, 30, 40)
    )


def sr() -> tuple[Enlarged, ...]:
    """Return the tasks of super-resolution tables, for networks that keep the size."""
    return tuple(Enlarged(f"x{factor}", factor) for factor in (2, 4))


def multi() -> tuple[Task, ...]:
    """Return the five degradations that all-in-one networks are compared on, as GIR-110 makes them."""
    return chosen(("rain-2", "haze-2", "noise-2", "motion-2", "dark-2"), gir110())


#: Suite -> its tasks.
SUITES: dict[str, Callable[[], tuple[AnyTask, ...]]] = {
    "gir110": lambda: (*gir110(), *real()),
    "denoise": denoise,
    "dejpeg": dejpeg,
    "sr": sr,
    "multi": multi,
}


def chosen(names: tuple[str, ...], tasks: tuple) -> tuple:
    """Return the tasks called or grouped by one of `names`, all if there are none; UsageError for an unknown one."""
    known = [*(task.name for task in tasks), *dict.fromkeys(task.group for task in tasks)]
    for name in names:
        if name not in known:
            raise UsageError(f"no task or group is called '{name}'{nearest(name, known)}")
    return tuple(task for task in tasks if not names or task.name in names or task.group in names)
