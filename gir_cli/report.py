"""Pictures for people: a labelled sheet that shows side by side how images differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gir_cli.errors import InputError
from gir_cli.resize import resized

SIDE = 480  # width of a column, and the longest side of a whole picture on the sheet
GAP, LINE = 8, 24
FONT, LETTERS = cv2.FONT_HERSHEY_SIMPLEX, 0.6
INK = (0.0, 0.0, 0.0)
FRAMES = ((1.0, 0.5, 0.0), (0.0, 0.75, 1.0), (1.0, 0.2, 0.8))  # of the crops: orange, blue, pink


@dataclass(frozen=True)
class Box:
    """A part of a picture, in its pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """Return the part of `pixels`."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


def sheet(images: Sequence[np.ndarray], names: Sequence[str], *, crops: int = 3, side: int = SIDE) -> np.ndarray:
    """Return one picture, float32 (H, W, 3) in [0, 1], of two or more `images` of one size, a column each.

    Each image is float (H, W, 3 or 1), nominally in [0, 1]; the first is what the others are held
    against. From above: the names (lines of text); the whole images; up to `crops` parts (at most 3)
    where they differ most, at 100 to 300 %, framed in the whole image; the error of each against the
    first, amplified so that it can be seen, with a scale. Raises InputError if sizes differ.
    """
    if len({image.shape[:2] for image in images}) > 1:
        sizes = ", ".join(f"{image.shape[1]}x{image.shape[0]}" for image in images)
        raise InputError(f"sizes differ: {sizes}")
    colours = [np.broadcast_to(np.clip(image, 0, 1), (*image.shape[:2], 3)).astype(np.float32) for image in images]
    errors = [np.abs(colour - colours[0]).mean(2, keepdims=True) for colour in colours[1:]]
    zoom = _zoom(colours[0], side)
    boxes = differing(sum(errors), side // zoom, side * 2 // 3 // zoom, min(crops, len(FRAMES)))
    if _scale(colours[0], side) >= zoom:  # the whole image is as large as its parts would be
        boxes = []
    lines = max(name.count("\n") for name in names) + 1
    rows = [
        [_text(name, side, lines) for name in names],
        [_whole(_framed(colours[0], boxes, side), side), *(_whole(_fit(c, side), side) for c in colours[1:])],
    ]
    for box, frame in zip(boxes, FRAMES, strict=False):
        rows += [
            [_text(f"{100 * zoom} % at {box.left}, {box.top}", side, 1, frame)] + [_blank(LINE, side)] * len(errors)
        ]
        rows += [[_whole(_enlarged(box.of(colour), zoom), side) for colour in colours]]
    return _page([*rows, *_error_rows(errors, side)])


def _page(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Return tiles, of one size in each row, put together on paper."""
    gapped = [
        np.concatenate([np.pad(tile, ((0, 0), (GAP, 0), (0, 0)), constant_values=1) for tile in row], 1) for row in rows
    ]
    page = np.pad(np.concatenate(gapped), ((GAP, GAP), (0, GAP), (0, 0)), constant_values=1)
    return np.clip(page, 0, 1)


# ---- sizes


def _scale(pixels: np.ndarray, side: int) -> float:
    """Return by how much the longer side grows to `side`: any factor under 1, or a whole number."""
    scale = side / max(pixels.shape[:2])
    return scale if scale < 1 else math.floor(scale)


def _zoom(pixels: np.ndarray, side: int) -> int:
    """Return the scale of crops, 1 to 3, at which at most a quarter of the picture's longer side fills a column."""
    return min(max(math.ceil(4 * side / max(pixels.shape[:2])), 1), 3)


def _fit(pixels: np.ndarray, side: int) -> np.ndarray:
    scale = _scale(pixels, side)
    if scale >= 1:
        return _enlarged(pixels, int(scale))
    height, width = (max(round(length * scale), 1) for length in pixels.shape[:2])
    return resized(pixels, width, height)


def _enlarged(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Return `pixels` with each one `factor` wide and high, so that what is seen is what is there."""
    return pixels.repeat(factor, 0).repeat(factor, 1)


# ---- what to show


def differing(error: np.ndarray, width: int, height: int, count: int) -> list[Box]:
    """Return up to `count` boxes that do not overlap, with the most `error` (H, W, 1) first."""
    height, width = min(height, error.shape[0]), min(width, error.shape[1])
    upto = cv2.integral(error[..., 0])
    total = upto[height:, width:] - upto[:-height, width:] - upto[height:, :-width] + upto[:-height, :-width]
    boxes: list[Box] = []
    while len(boxes) < count and total.max() > -math.inf:
        top, left = (int(place) for place in np.unravel_index(total.argmax(), total.shape))
        boxes.append(Box(top, left, height, width))
        total[max(top - height + 1, 0) : top + height, max(left - width + 1, 0) : left + width] = -math.inf
    return boxes


def _framed(pixels: np.ndarray, boxes: list[Box], side: int) -> np.ndarray:
    """Return the whole picture, fitted, with a frame around each box."""
    scale = _scale(pixels, side)
    fitted = np.ascontiguousarray(_fit(pixels, side))
    for box, frame in zip(boxes, FRAMES, strict=False):
        corners = np.array([[box.left, box.top], [box.left + box.width, box.top + box.height]]) * scale
        first, last = corners.astype(int).tolist()
        cv2.rectangle(fitted, first, [last[0] - 1, last[1] - 1], frame, 2)
    return fitted


def _error_rows(errors: list[np.ndarray], side: int) -> list[list[np.ndarray]]:
    """Return the row that tells the scale of the error maps, and the row of the maps."""
    fitted = [np.maximum(_fit(error, side), 0) for error in errors]
    gain = _gain(max(float(np.quantile(error, 0.995)) for error in fitted))
    heading = f"error x{gain}: from 0 to {255 / gain:.3g} of 255 levels"
    bar = np.linspace(0, 1, side, dtype=np.float32)[None, :, None].repeat(LINE, 0)
    scale = _blank(fitted[0].shape[0], side)
    scale[:LINE] = _coloured(bar)[: len(scale)]
    row = [_text(heading, side, 1), *(_blank(LINE, side) for _ in errors)]
    return [row, [scale, *(_whole(_coloured(error * gain), side) for error in fitted)]]


def _gain(error: float) -> int:
    """Return the power of two, up to 64, that brings `error` as near to 1 as it can without passing it."""
    return 2 ** min(max(math.floor(-math.log2(max(error, 1e-9))), 0), 6)


def _coloured(values: np.ndarray) -> np.ndarray:
    """Return `values` (H, W, 1) from 0 to 1 as colours from black over red to pale yellow."""
    levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1].astype(np.float32) / 255


# ---- tiles


def _blank(height: int, width: int) -> np.ndarray:
    return np.ones((height, width, 3), np.float32)


def _whole(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return a tile `side` wide with `pixels` (H, W, 3) in its middle."""
    height, width = pixels.shape[:2]
    tile = _blank(height, side)
    left = (side - width) // 2
    tile[:, left : left + width] = pixels
    return tile


def _text(text: str, width: int, lines: int, colour: tuple[float, ...] = INK) -> np.ndarray:
    """Return a tile with up to `lines` lines of `text`; what is too long loses its middle."""
    tile = np.full((lines * LINE, width, 3), 255, np.uint8)
    ink = [round(255 * part) for part in colour]
    for number, line in enumerate(text.split("\n")[:lines], 1):
        cv2.putText(tile, _shortened(line, width), (0, number * LINE - 7), FONT, LETTERS, ink, 1, cv2.LINE_AA)
    return tile.astype(np.float32) / 255


def _shortened(line: str, width: int) -> str:
    shown = line
    keep = len(line)
    while cv2.getTextSize(shown, FONT, LETTERS, 1)[0][0] > width and keep > 2:
        keep -= 1
        shown = f"{line[: keep - keep // 2]}…{line[len(line) - keep // 2 :]}"
    return shown
