"""Evaluation tasks as values: what is done to clean pictures, or which pairs of real ones are compared.

The GIR-110 suite is this project's own, after the protocol of Kong et al., *A Preliminary Exploration
Towards General Image Restoration*, 2024 (arXiv 2408.15143), whose list of tasks was never published.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from gir_cli.chain import parse
from gir_cli.errors import UsageError, nearest
from gir_cli.rng import stream

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
    "real": "real photographs with a reference",
}


#: The seed of the suite's draws: the first by which all 100 inputs lie near their references.
SEED = 14


@dataclass(frozen=True)
class Task:
    """A synthetic task: a chain that makes clean pictures worse.

    `reference` is the input PSNR in dB that an independent implementation measured on Kodak's 24 pictures.
    """

    name: str
    group: str
    chain: str
    reference: float

    def degraded(self, clean: np.ndarray, stem: str, seed: int = SEED) -> np.ndarray:
        """Return `clean` (float32 (H, W, 3) in [0, 1]) under the chain, rounded to 8 bits.

        Each stage draws from the stream at (seed, task, stem, stage), so that a figure depends on
        nothing else. Between stages values are clipped, as in chain.apply.
        """
        pixels = clean
        for stage, step in enumerate(parse(self.chain)):
            rng = stream(seed, self.name, stem, stage)
            pixels = step.draw(rng)(pixels.clip(0, 1), rng)
        return (np.rint(pixels.clip(0, 1) * 255) / 255).astype(np.float32)


@dataclass(frozen=True)
class RealTask:
    """A real-world task: a folder NAME with `lq/` and `gt/`; `border` pixels of the picture are not measured."""

    name: str
    border: int = 0
    group: str = "real"


#: The real-world tasks that have references; the others of GIR-110 need a metric without one.
REAL = (RealTask("noise_cc"), RealTask("noise_polyu"), RealTask("sr_iphone", 4), RealTask("sr_nikon", 4))


@cache
def gir110() -> tuple[Task, ...]:
    """Return the 100 synthetic tasks of GIR-110, in order."""
    with files("gir_cli.suite").joinpath("gir110.tsv").open(newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    return tuple(Task(row["task"], row["group"], row["chain"], float(row["psnr"])) for row in rows)


def task_called(name: str) -> Task:
    """Return the synthetic task called `name`, or raise UsageError."""
    tasks = {task.name: task for task in gir110()}
    if name not in tasks:
        raise UsageError(f"no task is called '{name}'{nearest(name, list(tasks))}")
    return tasks[name]


def chosen(names: tuple[str, ...], tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """Return the tasks called or grouped by one of `names`, all if there are none; UsageError for an unknown one."""
    known = [*(task.name for task in tasks), *dict.fromkeys(task.group for task in tasks)]
    for name in names:
        if name not in known:
            raise UsageError(f"no task or group is called '{name}'{nearest(name, known)}")
    return tuple(task for task in tasks if not names or task.name in names or task.group in names)
