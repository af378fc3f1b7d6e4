"""Scores: tasks × pictures × models, a row each."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from gir_cli import files
from gir_cli.batch.inputs import inputs
from gir_cli.color import luma
from gir_cli.errors import GirError, InputError, UsageError
from gir_cli.image import decode
from gir_cli.metrics import METRICS, Given, Undefined, files_of, quantised, scores
from gir_cli.suite import SEED, AnyTask, RealTask, Synthetic

Restore = Callable[[np.ndarray], np.ndarray]
Scores = dict[str, float]

QUICK = (8, 256)  # pictures, and side of their centres


@dataclass(frozen=True)
class Row:
    """One picture of one task: its scores before (`model` is "input") or after a model.

    `key` names what the row was measured on: a digest of the picture's file and of what was done to it, the
    model's digest (and precision, if one was asked for), the seed, and whether only the centre was taken; a row
    with another key is another measurement.
    `files` tells, by metric, which files those were made of that are networks.
    """

    task: str
    group: str
    picture: str
    model: str
    key: str
    scores: Scores
    files: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What tells this row from others of a run."""
        return self.task, self.picture, self.model, self.key

    @property
    def purpose(self) -> tuple[str, str, str, str]:
        """What the row is there for, whatever its picture's file held."""
        return self.task, self.picture, self.model, self.key.partition(":")[2]

    def has(self, metrics: Iterable[str], files: Mapping[str, str]) -> bool:
        """Say whether there is a score by each of `metrics`, made of these `files` where it is of any."""
        return all(name in self.scores and self.files.get(name) == files.get(name) for name in metrics)


@dataclass(frozen=True)
class Pair:
    """A picture to measure, known by a digest of its files and its task before it is made."""

    name: str
    digest: str
    make: Callable[[], tuple[np.ndarray | None, np.ndarray]]

    @cached_property
    def pixels(self) -> tuple[np.ndarray | None, np.ndarray]:
        """What results are held against, None if nothing is, and what is restored: float32 (H, W, 3)."""
        return self.make()


@dataclass(frozen=True)
class Measuring:
    """How pictures are measured: by which metrics, each task's own if none, and whether only a few centres are.

    `given` are those of the metrics that had to be made of files.
    """

    metrics: tuple[str, ...] = ()
    quick: bool = False
    seed: int = SEED
    given: Given = field(default_factory=dict)


def metrics_of(task: AnyTask, measuring: Measuring) -> tuple[str, ...]:
    """Return the metrics that `task` is measured by: those asked for that it can be, else its own."""
    blind = METRICS[task.metric].perfect is None
    asked = [name for name in measuring.metrics if not blind or METRICS[name].perfect is None]
    return tuple(asked) or (task.metric,)


def images(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Return the images in `folder`, in order; hidden and other files are passed over, as in any scan.

    Raises InputError if there are none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of images")
    # With the slash, a folder called - is not standard input.
    found = [Path(each.source) for each in inputs(f"{folder}/", recursive, None) if each.key]
    if not found:
        raise InputError(f"{folder}: holds no images I can read")
    return found


def by_stem(folder: Path, *, recursive: bool = False) -> dict[Path, Path]:
    """Return the images in `folder` by their path in it without extension; InputError where two share one."""
    found: dict[Path, Path] = {}
    for path in images(folder, recursive=recursive):
        stem = path.relative_to(folder).with_suffix("")
        if stem in found:
            both = " and ".join(files.shown(str(each)) for each in (found[stem], path))
            raise InputError(f"{both}: pictures are matched by name without extension; one of the two must go")
        found[stem] = path
    return found


def pictures(folder: Path, measuring: Measuring) -> list[Path]:
    """Return the images in `folder`, in order; the first few if `quick`. Raises InputError if there are none."""
    return images(folder)[: QUICK[0] if measuring.quick else None]


def pairs(task: AnyTask, data: Path | None, real_data: Path | None, measuring: Measuring) -> Iterator[Pair]:
    """Yield what `task` makes of the clean pictures in `data`, or finds in its folder of `real_data`, one at a time.

    Nothing where the folder is missing.
    """
    folder = real_data if isinstance(task, RealTask) else data
    if folder is None:
        return iter(())
    return _real(task, folder, measuring) if isinstance(task, RealTask) else _synthetic(task, folder, measuring)


def _synthetic(task: Synthetic, folder: Path, measuring: Measuring) -> Iterator[Pair]:
    for path in pictures(folder, measuring):
        data = files.read(str(path))
        yield Pair(path.name, _digest(data, str(task)), partial(_made, task, path, data, measuring))


def _made(task: Synthetic, path: Path, data: bytes, measuring: Measuring) -> tuple[np.ndarray, np.ndarray]:
    return task.pair(_opened(path, data, measuring), path.stem, measuring.seed)


def _real(task: RealTask, folder: Path, measuring: Measuring) -> Iterator[Pair]:
    """Yield lq/STEM.* of the task's folder, beside gt/STEM.* if it has references."""
    top = folder / task.name
    if not (top / "lq").is_dir():
        return
    blind = METRICS[task.metric].perfect is None
    references = {} if blind else by_stem(top / "gt")
    for path in pictures(top / "lq", measuring):
        stem = Path(path.stem)
        if not blind and stem not in references:
            raise InputError(f"{path}: has no reference {stem}.* in {top / 'gt'}")
        both = (path,) if blind else (path, references[stem])
        data = [files.read(str(each)) for each in both]
        yield Pair(path.name, _digest(*data, str(task)), partial(_found, both, data, measuring))


def _found(paths: Sequence[Path], data: Sequence[bytes], measuring: Measuring) -> tuple[np.ndarray | None, np.ndarray]:
    """Return what one file or two hold: the degraded picture, and the reference if there is one, in front of it."""
    worse, *clean = (_opened(path, each, measuring) for path, each in zip(paths, data, strict=True))
    if clean and worse.shape != clean[0].shape:
        raise InputError(f"{paths[0]}: its size is not that of its reference")
    return (clean[0] if clean else None), worse


def _digest(*parts: str | bytes) -> str:
    seen = hashlib.sha256()
    for part in parts:
        seen.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return seen.hexdigest()[:16]


def _opened(path: Path, data: bytes, measuring: Measuring) -> np.ndarray:
    """Return the pixels of file `path`, which holds `data`, or of its middle if only that is measured."""
    try:
        pixels = decode(data).pixels
    except GirError as error:
        raise InputError(f"{path}: {error}") from None
    if not measuring.quick:
        return pixels
    top, left = (max(size - QUICK[1], 0) // 2 for size in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + QUICK[1], left : left + QUICK[1]])


def evaluate(
    tasks: Iterable[AnyTask],
    data: Path | None,
    real_data: Path | None,
    models: Mapping[str, tuple[str, Restore]],
    measuring: Measuring = Measuring(),
    done: Iterable[Row] = (),
) -> Iterator[Row]:
    """Yield a row for the input and one for each model, for each picture of each task.

    `data` holds clean pictures for the synthetic tasks, `real_data` the folders of the real ones; `models`
    are (digest, function on pixels) by name, of which none is "input". Rows in `done` are yielded as they are
    and not measured again.
    """
    if "input" in models:
        raise UsageError("no model may be called 'input': that is what rows of the untouched input are called")
    known = by_place(done)
    for task in tasks:
        metrics = metrics_of(task, measuring)
        given = files_of(metrics, measuring.given)
        for pair in pairs(task, data, real_data, measuring):
            for name, (digest, restore) in {"input": ("", None), **models}.items():
                key = f"{pair.digest}:{digest[:16]}:{measuring.seed}" + ":quick" * measuring.quick
                row = Row(task.name, task.group, pair.name, name, key, {}, given)
                had = known.get(row.place)
                if had is not None and had.has(metrics, given):
                    yield replace(row, scores={metric: had.scores[metric] for metric in metrics})
                    continue
                clean, worse = pair.pixels
                out = worse if restore is None else restored(task, worse, restore)
                yield replace(row, scores=_scores(task, out, clean, metrics, measuring.given))


def by_place(rows: Iterable[Row]) -> dict[tuple[str, str, str, str], Row]:
    """Return what `rows` hold of each place: one row with all scores, the last of each metric."""
    found: dict[tuple[str, str, str, str], Row] = {}
    for row in rows:
        had = found.get(row.place, row)
        found[row.place] = replace(row, scores=had.scores | row.scores, files=had.files | row.files)
    return found


def restored(task: AnyTask, worse: np.ndarray, restore: Restore) -> np.ndarray:
    """Return what `restore` makes of `worse`; the luma of it, three times, for a gray task."""
    out = restore(worse)
    return luma(out)[..., None].repeat(3, 2) if task.gray else out


def _scores(
    task: AnyTask, pixels: np.ndarray, clean: np.ndarray | None, metrics: Iterable[str], given: Given
) -> Scores:
    levels = quantised(pixels)
    truth = levels if clean is None else quantised(clean)
    found = scores(metrics, levels, truth, border=task.border, given=given)
    return {name: math.nan if isinstance(score, Undefined) else score for name, score in found.items()}


def outdated(rows: Iterable[Row], done: Iterable[Row]) -> int:
    """Return how many of `rows` take the place of rows in `done` that were measured on other pictures."""
    done = list(done)
    had, known = {row.purpose for row in done}, {row.place for row in done}
    return sum(row.purpose in had and row.place not in known for row in rows)


def set_digest(rows: Iterable[Row]) -> dict[str, str]:
    """Return for each task a digest of the inputs that `rows` were measured on: pictures, chain, seed, centres."""
    keys: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.model == "input":
            keys[row.task].add(row.key)
    return {task: _digest(*sorted(found)) for task, found in keys.items()}


def means(rows: Iterable[Row], metric: str) -> dict[tuple[str, str], dict[str, float]]:
    """Return the mean of `metric` over pictures: {(group, task): {model: mean}}, in the rows' order.

    Rows without that metric are passed over; pictures for which it has no value (NaN) leave the mean without one.
    """
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if metric in row.scores:
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


def from_lines(lines: Iterable[str | bytes]) -> list[Row]:
    """Return the rows of JSON Lines; damaged lines, such as a last one that was cut off, are left out."""
    rows = []
    for line in lines:
        try:
            row = Row(**json.loads(line))
            if not all(isinstance(text, str) for text in (row.group, *row.place)):
                continue
            scores = {name: float(score) for name, score in row.scores.items()}
            rows.append(replace(row, scores=scores, files=dict(row.files)))
        except (ValueError, TypeError, AttributeError):
            continue
    return rows
