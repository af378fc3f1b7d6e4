"""Pixels in a file's own integers, float only where they are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gir_cli.color import luma

_STRIP = 32  # lines rounded at a time: they stay in the cache, and large parts need little beside themselves


@dataclass(frozen=True)
class Levels:
    """A picture (H, W, 3) of which any part reads as float32 RGB, and takes it, but that holds integers.

    `values` is (H, W, 1) where the picture is gray, else (H, W, 3); uint8 or uint16, of which `white`
    means 1.0. `levels[lines, columns]`, two slices, is a new array; what is assigned to it is clipped
    and rounded, and made gray where the picture is. So a picture of 100 megapixels takes 300 MB, not 1.2 GB.
    """

    values: np.ndarray
    white: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Lines, columns and 3."""
        return (*self.values.shape[:2], 3)

    def swapaxes(self, one: int, other: int) -> Levels:
        """Return this picture with two axes swapped, without a copy."""
        return Levels(self.values.swapaxes(one, other), self.white)

    def __getitem__(self, where: tuple[slice, slice]) -> np.ndarray:
        part = as_float(self.values[where], self.white)
        return np.repeat(part, 3, axis=2) if part.shape[2] == 1 else part

    def __setitem__(self, where: tuple[slice, slice], pixels: np.ndarray) -> None:
        part = self.values[where]
        for start in range(0, len(part), _STRIP):
            lines = pixels[start : start + _STRIP]
            lines = one_channel(lines) if part.shape[2] == 1 else lines
            part[start : start + _STRIP] = quantised(lines, self.white)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:, :].astype(dtype or np.float32, copy=False)


def as_float(values: np.ndarray, white: float) -> np.ndarray:
    """Return integer `values` as float32 with `white` at 1."""
    return np.divide(values, np.float32(white), dtype=np.float32)


def one_channel(pixels: np.ndarray) -> np.ndarray:
    """Return gray `pixels` (H, W, 3) as (H, W, 1): the one value where the channels agree, else their luma."""
    same = (pixels[:, :, 0] == pixels[:, :, 1]).all() and (pixels[:, :, 0] == pixels[:, :, 2]).all()
    return pixels[:, :, :1] if same else luma(pixels)[:, :, None]


def quantised(values: np.ndarray, white: float) -> np.ndarray:
    """Return float `values` clipped to [0, 1] and rounded to levels of which `white` is 1, as uint8 or uint16."""
    scaled = values * np.float32(white)
    np.clip(np.rint(scaled, out=scaled), 0, white, out=scaled)
    return scaled.astype(np.uint8 if white < 256 else np.uint16)
