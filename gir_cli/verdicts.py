"""Verdicts: on which share of the tasks a model reaches the lines.

After Kong et al. (2024) and SEAL (Chen et al., 2024). A task counts if it has lines, and they were made on the
pictures that the model was measured on.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from gir_cli.evaluate import Row, set_digest
from gir_cli.rng import stream
from gir_cli.suite.lines import Line

RESAMPLES = 1000
COVERED = 0.95  # probability that an interval is made for


@dataclass(frozen=True)
class Share:
    """A share, 0 to 1, with the ends of its bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Verdict:
    """How `model` stands to the lines of the `tasks` of a group that count; group "all" is every task.

    `ar` and `er` are the shares of tasks on which it reaches acceptance and excellence; `rpr` is the mean
    relative progress sigmoid((P - A) / (E - A)), and `quartiles` its first and third quartile over the tasks.
    """

    group: str
    model: str
    tasks: int
    ar: Share
    er: Share
    rpr: Share
    quartiles: tuple[float, float]


def counting(rows: Iterable[Row], lines: Mapping[str, Line]) -> dict[str, Line]:
    """Return the lines of the tasks in `rows` that hold for the pictures measured, by the metric measured."""
    rows = list(rows)
    measured = {(row.task, metric) for row in rows for metric in row.scores}
    return {
        task: lines[task]
        for task, digest in set_digest(rows).items()
        if task in lines and lines[task].images == digest and (task, lines[task].metric) in measured
    }


def verdicts(rows: Iterable[Row], lines: Mapping[str, Line]) -> list[Verdict]:
    """Return a verdict per group, then over all, and per model, on the tasks for which there are `lines`.

    Intervals are over pictures, drawn again with replacement RESAMPLES times; tasks on equally many pictures
    are taken to be on the same ones, and share the draw. Lines move with the mean of the drawn inputs, for
    pictures that are easy are so for the networks that made the lines, too. The draws are the same each time.
    """
    scores: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row.task in lines:
            scores[row.group, row.model, row.task].append(row.scores[lines[row.task].metric])
    progress: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for (group, model, task), values in scores.items():
        found = _progress(np.array(values), np.array(scores[group, "input", task]), lines[task])
        progress[group, model].append(found)
        progress["all", model].append(found)
    ordered = sorted(progress, key=lambda key: key[0] == "all")
    return [_verdict(group, model, np.stack(progress[group, model])) for group, model in ordered]


def _progress(values: np.ndarray, inputs: np.ndarray, line: Line) -> np.ndarray:
    """Return (P - A) / (E - A), which is 0 at acceptance and 1 at excellence: (1 + RESAMPLES,), the first as it is."""
    count = len(values)
    drawn = stream("bootstrap", count).randint(0, count, (RESAMPLES, count))
    with np.errstate(invalid="ignore"):  # perfect pictures that are left as they are
        gains = np.where(values == inputs, 0, values - inputs)
    # The first is the mean as tables have it, so that a line made from equal scores is reached exactly.
    means = np.array([values.mean(), *(inputs.mean() + gains[drawn].mean(1))])
    return (means - line.acceptance) / (line.excellence - line.acceptance)


def _verdict(group: str, model: str, progress: np.ndarray) -> Verdict:
    """Return the verdict for `progress` (tasks, 1 + RESAMPLES)."""
    with np.errstate(over="ignore"):
        relative = 1 / (1 + np.exp(-progress))
    first, third = np.quantile(relative[:, 0], (0.25, 0.75))
    return Verdict(
        group,
        model,
        len(progress),
        ar=_share(progress >= 0),
        er=_share(progress >= 1),
        rpr=_share(relative),
        quartiles=(float(first), float(third)),
    )


def _share(found: np.ndarray) -> Share:
    means = found.mean(0)
    rest = (1 - COVERED) / 2
    low, high = np.quantile(means[1:], (rest, 1 - rest))
    return Share(*(float(value) if math.isfinite(value) else math.nan for value in (means[0], low, high)))
