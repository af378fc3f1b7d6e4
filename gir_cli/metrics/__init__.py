"""Metrics: functions of a restored picture and the clean one that say how well it was restored.

Both are float64 `(H, W, 3)` RGB as `quantised` makes them: levels of the file's depth, over its
peak, so that a score is the score of the saved file. Conventions are the field's usual ones, which
`PROTOCOL` puts in words; they are not those of every library (pyiqa and piq add 1e-8 to a mean
squared error, torchmetrics reflects borders in SSIM, scikit-image defaults to a 7×7 uniform window).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np

from gir_cli.catalog import Catalog
from gir_cli.errors import InputError, UsageError

#: How scores are made; printed with every table.
PROTOCOL = (
    "RGB; y is 16 + 65.481 R + 128.553 G + 24.966 B; "
    "ssim: 11x11 Gaussian, sigma 1.5, valid region, mean of channels; "
    "mae in 8-bit levels; niqe: no reference, own parameters"
)

#: Levels between black and white by depth; floats are measured as they are.
PEAKS = {"8": 255, "16": 65535}


class Undefined(InputError):
    """A metric has no value for a picture, which is too small for it, say."""


class Metric(Protocol):
    """A score of `restored` against `clean`: a finite number, or infinity for a perfect PSNR.

    `perfect` is the score of equal pictures: scores near it are the better ones. It is None where
    `clean` is not looked at. `needs` are the options that name the files without which there is no
    score; a metric that was made of them needs nothing more, and `files` tells which they were.
    """

    name: str
    unit: str
    perfect: float | None
    needs: str
    files: str

    def __call__(self, restored: np.ndarray, clean: np.ndarray) -> float: ...


METRICS: Catalog[Metric] = Catalog("metric", __name__)


def facts(*, perfect: float | None, unit: str = "", needs: str = "") -> Callable[[Callable[..., float]], Metric]:
    """Return a decorator that gives a function what a Metric tells about itself."""

    def told(function: Callable[..., float]) -> Metric:
        function.perfect, function.unit = perfect, unit  # type: ignore[attr-defined]
        function.needs, function.files = needs, ""  # type: ignore[attr-defined]
        return function  # type: ignore[return-value]

    return told


def quantised(pixels: np.ndarray, depth: str = "8") -> np.ndarray:
    """Return `pixels` (float, nominally in [0, 1]) as a file of `depth` '8', '16' or 'float' holds them, float64.

    Clipped and rounded to k/255 or k/65535, both exact; 'float' keeps them.
    """
    if depth == "float":
        return pixels.astype(np.float64)
    # float32 k/65535 is off by less than half a level, so this finds k again.
    return np.rint(np.clip(pixels, 0, 1) * np.float64(PEAKS[depth])) / PEAKS[depth]


#: Metrics that were made of files, by name.
Given = Mapping[str, Metric]
NOTHING: Given = MappingProxyType({})


def scores(
    names: Iterable[str], restored: np.ndarray, clean: np.ndarray, *, border: int = 0, given: Given = NOTHING
) -> dict[str, float | Undefined]:
    """Return the score of `restored` against `clean` by each metric named, or why it has none.

    `border` pixels are left out on every side; metrics that are `given` are taken as they are. Raises
    InputError if the sizes differ and UsageError for an unknown name, a metric whose files are not
    given, or a border that leaves nothing.
    """
    metrics = [given.get(name) or METRICS.find(name) for name in names]
    if restored.shape != clean.shape:
        raise InputError(f"sizes differ: {size(restored)} against {size(clean)}")
    restored, clean = cropped(restored, border), cropped(clean, border)
    return {metric.name: _score(metric, restored, clean) for metric in metrics}


def _score(metric: Metric, restored: np.ndarray, clean: np.ndarray) -> float | Undefined:
    try:
        return metric(restored, clean)
    except Undefined as reason:
        return reason


def files_of(names: Iterable[str], given: Given) -> dict[str, str]:
    """Return which files those of the metrics named were made of that were made of files."""
    return {name: given[name].files for name in names if name in given}


def cropped(pixels: np.ndarray, border: int) -> np.ndarray:
    """Return `pixels` without `border` pixels on every side; raise UsageError if nothing is left."""
    if border == 0:
        return pixels
    if 2 * border >= min(pixels.shape[:2]):
        raise UsageError(f"a border of {border} leaves nothing of {size(pixels)} pixels")
    return pixels[border:-border, border:-border]


def size(pixels: np.ndarray) -> str:
    """Return width and height as text."""
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def rises(metric: Metric) -> bool:
    """Say whether higher scores of `metric` are better ones."""
    return metric.perfect is not None and metric.perfect > 0
