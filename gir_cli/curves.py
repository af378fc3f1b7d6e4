"""The curves of a training run, as one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

WIDTH, HEIGHT = 720, 260  # of one chart
LEFT, RIGHT, ABOVE, BELOW = 70, 20, 30, 30  # margins around its axes
FONT, LETTERS = cv2.FONT_HERSHEY_SIMPLEX, 0.42
INK, GRID = (50, 50, 50), (225, 225, 225)
COLOURS = ((0, 90, 200), (215, 100, 0))

#: Title of a chart -> the keys of the log that it shows.
CHARTS = {
    "validation PSNR in dB (blue), of the input (orange)": ("valid", "valid_input"),
    "training loss": ("loss",),
    "images per second": ("images_per_second",),
}


def curves(log: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return the charts of a run's `log`, float32 (H, W, 3) in [0, 1], over the number of images seen."""
    seen = [line["images"] for line in log]
    charts = (_chart(title, seen, [[line.get(key) for line in log] for key in keys]) for title, keys in CHARTS.items())
    return np.concatenate(list(charts)).astype(np.float32) / 255


def _chart(title: str, seen: Sequence[float], rows: Sequence[Sequence[float | None]]) -> np.ndarray:
    chart = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    _write(chart, title, LEFT, ABOVE - 12)
    values = [value for row in rows for value in row if _known(value)]
    if not values:
        return chart
    ticks, last = _ticks(min(values), max(values)), max(*seen, 1)
    low, high = ticks[0], ticks[-1]

    def place(images: float, value: float) -> tuple[int, int]:
        across, up = images / last, (value - low) / (high - low)
        return round(LEFT + across * (WIDTH - LEFT - RIGHT)), round(HEIGHT - BELOW - up * (HEIGHT - ABOVE - BELOW))

    for tick in ticks:
        cv2.line(chart, place(0, tick), place(last, tick), GRID)
        _write(chart, f"{tick:.5g}", 6, place(0, tick)[1] + 4)
    for part in (0, 0.5, 1):
        _write(chart, f"{part * last:,.0f}", place(part * last, low)[0] - 30 * (part > 0), HEIGHT - 10)
    for row, colour in zip(rows, COLOURS, strict=False):
        points = [place(images, value) for images, value in zip(seen, row, strict=True) if _known(value)]
        cv2.polylines(chart, [np.array(points, np.int32).reshape(-1, 1, 2)], False, colour, 1, cv2.LINE_AA)
        for point in points if len(points) < 40 else points[-1:]:
            cv2.circle(chart, point, 2, colour, -1, cv2.LINE_AA)
    return chart


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _ticks(low: float, high: float) -> list[float]:
    """Return round values, at least two, from `low` or below to `high` or above."""
    size = max(high - low, 1e-9 * max(abs(high), 1), 1e-12) / 4
    base = 10 ** math.floor(math.log10(size))
    step = base * next(factor for factor in (1, 2, 5, 10) if factor * base >= size)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * number for number in range(first, max(last, first + 1) + 1)]


def _write(chart: np.ndarray, text: str, left: int, base: int) -> None:
    cv2.putText(chart, text, (left, base), FONT, LETTERS, INK, 1, cv2.LINE_AA)
