"""Ways to look at a picture: turned and mirrored, where a tile of it then lies, and a sample of all of it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from gir_cli.models import Description
from gir_cli.models.whole import Counted
from gir_cli.weights import extended

PIECES = 8  # along each side of a sample
SMALLEST_PIECE = 32
BAND_VALUES = 1 << 20  # read at once to be counted
BAND_STEP = 8  # rows of which bands that are counted have a multiple


@dataclass(frozen=True)
class Ends:
    """A tile's extent along an axis of `size` pixels."""

    start: int
    stop: int
    size: int

    @classmethod
    def all_of(cls, size: int) -> Ends:
        """Return the extent of the whole axis."""
        return cls(0, size, size)

    def mirrored(self) -> Ends:
        """Return the extent seen from the far end."""
        return Ends(self.size - self.stop, self.size - self.start, self.size)

    def shares(self, description: Description) -> tuple[float, float]:
        """Return the extent as shares of the axis, both as the network takes them."""
        size, extent = (extended(pixels, description) for pixels in (self.size, self.stop - self.start))
        return self.start / size, (self.start + extent) / size


@dataclass(frozen=True)
class View:
    """One of the 8 ways to look at a picture: mirrored or not, then turned by quarters against the clock."""

    turns: int = 0
    mirrored: bool = False

    def of(self, pictures: np.ndarray) -> np.ndarray:
        """Return pictures (N, H, W, 3) as they look from here."""
        return np.rot90(pictures[:, :, ::-1] if self.mirrored else pictures, self.turns, (1, 2))

    def back(self, seen: np.ndarray) -> np.ndarray:
        """Return pictures that look as `seen` from here."""
        pictures = np.rot90(seen, -self.turns, (1, 2))
        return pictures[:, :, ::-1] if self.mirrored else pictures

    def ends(self, rows: Ends, columns: Ends) -> tuple[Ends, Ends]:
        """Return where a tile's rows and columns lie, seen from here."""
        columns = columns.mirrored() if self.mirrored else columns
        for _ in range(self.turns):
            rows, columns = columns.mirrored(), rows
        return rows, columns

    def origin(self, rows: Ends, columns: Ends) -> tuple[Ends, Ends]:
        """Return where rows and columns that are seen from here lie."""
        for _ in range(self.turns):
            rows, columns = columns, rows.mirrored()
        return rows, columns.mirrored() if self.mirrored else columns


VIEWS = tuple(View(turns, mirrored) for turns in range(4) for mirrored in (False, True))


class Seen:
    """A whole `picture` (H, W, 3) as a network takes it, seen from a `view`, of which any part reads as float32.

    It is clipped to [0, 1] if it `clips`, and extended at bottom and right as the network's `description` says, by
    reflection; where that says otherwise, it is left as large as it is.
    """

    def __init__(self, picture: Any, view: View, description: Description, *, clips: bool) -> None:
        self.picture, self.view, self.clips = picture, view, clips
        height, width = picture.shape[:2]
        self.size = (width, height) if view.turns % 2 else (height, width)
        extends = description.padding == "reflect" and not description.square
        sides = tuple(extended(size, description) for size in self.size) if extends else self.size
        self.shape = (*sides, 3)

    def __getitem__(self, where: tuple[slice, slice]) -> np.ndarray:
        axes = zip(where, self.shape, self.size, strict=False)
        rows, columns = (_reflected(np.arange(*part.indices(side)), size) for part, side, size in axes)
        ends = (
            Ends(int(at.min()), int(at.max()) + 1, size) for at, size in zip((rows, columns), self.size, strict=True)
        )
        lines, places = self.view.origin(*ends)
        part = np.asarray(self.picture[lines.start : lines.stop, places.start : places.stop], np.float32)
        seen = _taken(_taken(self.view.of(part[None])[0], rows, 0), columns, 1)
        return seen.clip(0, 1) if self.clips else seen


def _reflected(at: np.ndarray, size: int) -> np.ndarray:
    """Return which of `size` pixels stand at the places `at`, beyond the last by reflection."""
    period = max(2 * (size - 1), 1)
    return np.minimum(at % period, -at % period) if size > 1 else np.zeros_like(at)


def _taken(seen: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    """Return the places `at` along an axis of `seen`, which begins at the least of them; mostly that is all of it."""
    return seen if at[-1] - at[0] == len(at) - 1 else np.take(seen, at - at.min(), axis)


def sample(picture: Any, side: int) -> np.ndarray:
    """Return at most `side` by `side` pixels that stand for the whole of `picture`, as float32.

    They are pieces from all over it, at full resolution: scaled down, a picture would lose the noise, blur or
    compression that a network is to see.
    """
    rows, columns = (_pieces(size, side) for size in picture.shape[:2])
    return np.concatenate([np.concatenate([picture[row, column] for column in columns], 1) for row in rows])


def reduced(picture: Any, side: int, multiple: int) -> np.ndarray:
    """Return the whole of `picture` (H, W, C) as float32, scaled down by means over areas to at most `side` a side.

    A side that is scaled down becomes a multiple of `multiple`, in pixels. Rows are read by bands, so that this takes
    little memory.
    """
    height, width = (size if size <= side else max(side // multiple, 1) * multiple for size in picture.shape[:2])
    edges = np.linspace(0, picture.shape[0], height + 1)
    rows = [_mean_row(picture, top, bottom) for top, bottom in itertools.pairwise(edges)]
    return np.concatenate([cv2.resize(row, (width, 1), interpolation=cv2.INTER_AREA) for row in rows])


def counts(picture: Any, layer: Counted) -> torch.Tensor:
    """Return what `layer` counts in all of `picture` (H, W, C), as float32 (things).

    Rows are read by bands, so that this takes little memory.
    """
    rows = max(BAND_VALUES // math.prod(picture.shape[1:]) // BAND_STEP, 1) * BAND_STEP
    found = torch.zeros((), dtype=torch.float64)
    for top in range(0, max(picture.shape[0] - layer.overlap, 1), rows):
        band = np.asarray(picture[top : top + rows + layer.overlap, :], np.float32)
        found = found + layer.counts(torch.from_numpy(np.ascontiguousarray(band.transpose(2, 0, 1)))[None])[0]
    return found.float()


def _mean_row(picture: Any, top: float, bottom: float) -> np.ndarray:
    """Return the mean (1, W, C) of the rows of `picture` from `top` to `bottom`, of some of which it is a part."""
    rows = np.arange(math.floor(top), min(math.ceil(bottom), picture.shape[0]))
    shares = np.minimum(rows + 1, bottom) - np.maximum(rows, top)
    band = picture[rows[0] : rows[-1] + 1, :]
    return np.tensordot((shares / shares.sum()).astype(np.float32), band, 1)[None]


def _pieces(size: int, side: int) -> list[slice]:
    """Return pieces of `side` pixels in all, evenly spread over an axis of `size` pixels."""
    if side >= size:
        return [slice(0, size)]
    piece = min(max(side // PIECES, SMALLEST_PIECE), side)
    starts = np.linspace(0, size - piece, side // piece).astype(int).tolist()
    return [slice(start, start + piece) for start in starts]
