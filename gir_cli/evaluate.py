"""Scores: tasks × pictures × models, a row each."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from gir_cli import files
from gir_cli.errors import GirError, InputError
from gir_cli.image import Image, decode
from gir_cli.metrics import Undefined, quantised, scores
from gir_cli.suite import SEED, RealTask, Task

Restore = Callable[[np.ndarray], np.ndarray]
Scores = dict[str, float]

QUICK = (8, 256)  # pictures, and side of their centres


@dataclass(frozen=True)
class Row:
    """One picture of one task: its scores before (`model` is "input") or after a model.

    `key` names what the row was measured on: the SHA-256 of the clean file, the model's, and whether
    only the centre was taken; a row with another key is another measurement.
    """

    task: str
    group: str
    picture: str
    model: str
    key: str
    scores: Scores

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What tells this row from others of a run."""
        return self.task, self.picture, self.model, self.key


@dataclass(frozen=True)
class Pair:
    """A picture to measure: the clean pixels, the degraded ones, and a digest of the files they came from."""

    name: str
    clean: np.ndarray
    worse: np.ndarray
    digest: str


@dataclass(frozen=True)
class Measuring:
    """How pictures are measured: by which metrics, and whether only a few centres are."""

    metrics: tuple[str, ...] = ("psnr",)
    quick: bool = False
    seed: int = SEED


def pictures(folder: Path, measuring: Measuring) -> list[Path]:
    """Return the images in `folder`, in order; the first few if `quick`. Raises InputError if there are none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of images")
    found = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not found:
        raise InputError(f"{folder}: holds no images")
    return found[: QUICK[0]] if measuring.quick else found


def synthetic(task: Task, folder: Path, measuring: Measuring) -> Iterator[Pair]:
    """Yield the pairs that `task` makes of the clean pictures in `folder`, one at a time."""
    for path in pictures(folder, measuring):
        image, digest = _opened(path)
        clean = _centre(image.pixels, measuring)
        yield Pair(path.name, clean, task.degraded(clean, path.stem, measuring.seed), digest)


def real(task: RealTask, folder: Path, measuring: Measuring) -> Iterator[Pair]:
    """Yield the pairs of `folder`/NAME: lq/STEM.* beside gt/STEM.*; nothing where the folder is missing."""
    top = folder / task.name
    if not (top / "lq").is_dir():
        return
    references = {path.stem: path for path in pictures(top / "gt", Measuring())}
    for path in pictures(top / "lq", measuring):
        if path.stem not in references:
            raise InputError(f"{path}: has no reference {path.stem}.* in {top / 'gt'}")
        (worse, one), (clean, other) = _opened(path), _opened(references[path.stem])
        if worse.pixels.shape != clean.pixels.shape:
            raise InputError(f"{path}: its size is not that of its reference")
        digest = hashlib.sha256((one + other).encode()).hexdigest()
        yield Pair(path.name, _centre(clean.pixels, measuring), _centre(worse.pixels, measuring), digest)


def _opened(path: Path) -> tuple[Image, str]:
    try:
        data = files.read(str(path))
        return decode(data), hashlib.sha256(data).hexdigest()
    except GirError as error:
        raise InputError(f"{path}: {error}") from None


def _centre(pixels: np.ndarray, measuring: Measuring) -> np.ndarray:
    if not measuring.quick:
        return pixels
    top, left = (max(size - QUICK[1], 0) // 2 for size in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + QUICK[1], left : left + QUICK[1]])


def evaluate(
    tasks: Iterable[Task | RealTask],
    data: Path | None,
    real_data: Path | None,
    models: Mapping[str, tuple[str, Restore]],
    measuring: Measuring = Measuring(),
    done: Iterable[Row] = (),
) -> Iterator[Row]:
    """Yield a row for the input and one for each model, for each picture of each task.

    `data` holds clean pictures for the synthetic tasks, `real_data` the folders of the real ones; `models`
    are (digest, function on pixels) by name. Rows in `done` are yielded as they are and not measured again.
    """
    known = {row.place: row for row in done}
    for task in tasks:
        pairs = synthetic(task, data, measuring) if isinstance(task, Task) else real(task, real_data, measuring)
        for pair in pairs:
            for name, (digest, restore) in {"input": ("", None), **models}.items():
                key = f"{pair.digest[:16]}:{digest[:16]}:{measuring.seed}" + ":quick" * measuring.quick
                row = Row(task.name, task.group, pair.name, name, key, {})
                had = known.get(row.place)
                if had is not None and had.scores.keys() >= set(measuring.metrics):
                    yield had
                    continue
                out = pair.worse if restore is None else restore(pair.worse)
                border = task.border if isinstance(task, RealTask) else 0
                yield Row(*row.place[:1], task.group, *row.place[1:], _scores(out, pair.clean, measuring, border))


def _scores(pixels: np.ndarray, clean: np.ndarray, measuring: Measuring, border: int) -> Scores:
    found = scores(measuring.metrics, quantised(pixels), quantised(clean), border=border)
    return {name: math.nan if isinstance(score, Undefined) else score for name, score in found.items()}


def means(rows: Iterable[Row], metric: str) -> dict[tuple[str, str], dict[str, float]]:
    """Return the mean of `metric` over pictures: {(group, task): {model: mean}}, in the rows' order."""
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row.group, row.task][row.model].append(row.scores[metric])
    return {
        task: {model: float(np.mean(values)) for model, values in by_model.items()} for task, by_model in found.items()
    }


def group_means(table: Mapping[tuple[str, str], Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return the mean over the tasks of each group, and over all tasks as group "all"."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (group, _), by_model in table.items():
        for model, mean in by_model.items():
            found[group][model].append(mean)
            found["all"][model].append(mean)
    order = [group for group in found if group != "all"] + ["all"]
    return {group: {model: float(np.mean(v)) for model, v in found[group].items()} for group in order if group in found}


def gains(table: Mapping[tuple[str, str], Mapping[str, float]], model: str) -> list[float]:
    """Return how far `model` is above the input, task by task."""
    return [by_model[model] - by_model["input"] for by_model in table.values()]


def to_line(row: Row) -> str:
    """Return a row as a line of JSON, which knows no infinity: such a score is spelled as text."""
    scores = {name: score if math.isfinite(score) else str(score) for name, score in row.scores.items()}
    return json.dumps(asdict(row) | {"scores": scores})


def from_lines(lines: Sequence[str]) -> list[Row]:
    """Return the rows of JSON Lines; a last line that was cut off is left out."""
    rows = []
    for line in lines:
        try:
            row = Row(**json.loads(line))
            rows.append(replace(row, scores={name: float(score) for name, score in row.scores.items()}))
        except (ValueError, TypeError, AttributeError):
            continue
    return rows
