"""Wear of the print: scratches and holes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np

from gir_cli.ops import OPERATORS
from gir_cli.params import Checked, Param
from gir_cli.rng import Rng, normal


@OPERATORS.add("scratch")
@dataclass(frozen=True)
class Scratch(Checked):
    """Draw wavy scratches down the picture, each white with probability 0.7, else black.

    A scratch runs between two random rows, about a random column from which it strays by some 8
    pixels; it is 0.6 to 1.8 pixels wide and covers with an opacity of 0.4 to 0.9.
    """

    stage: ClassVar[str] = "damage"
    rank: ClassVar[int] = 0
    shown: ClassVar[tuple[float, ...]] = (4, 8, 16)
    identity: ClassVar[dict[str, float]] = {"count": 0}
    count: Annotated[int, Param("number of scratches; 0 leaves the picture as it is", 0, 1000)] = 8

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        pixels = pixels.copy()
        for _ in range(self.count):
            scratch(pixels, rng)
        return pixels


def scratch(pixels: np.ndarray, rng: Rng) -> None:
    """Draw one scratch into `pixels` (H, W, C)."""
    height, width = pixels.shape[:2]
    first, last = np.sort(rng.uniform(0, height, 2)).astype(int)
    thick, opacity, white = rng.uniform(0.6, 1.8), rng.uniform(0.4, 0.9), rng.uniform() < 0.7
    path = rng.uniform(0, width) + wander(last + 1 - first, rng)
    rows = np.arange(first, last + 1)[:, None]
    columns = np.floor(path).astype(int)[:, None] + np.arange(-2, 3)
    cover = np.clip(thick / 2 + 0.5 - np.abs(columns - path[:, None]), 0, 1) * opacity
    share = np.where((columns >= 0) & (columns < width), cover, 0).astype(np.float32)[..., None]
    columns = np.clip(columns, 0, width - 1)
    # Columns beyond the border fold onto the edge, with nothing to cover; adding keeps the others' share.
    np.add.at(pixels, (rows, columns), share * (np.float32(white) - pixels[rows, columns]))


def wander(count: int, rng: Rng) -> np.ndarray:
    """Return a random walk of `count` steps, smoothed over 8 of them, that strays from 0 by 8 at most."""
    walk = cv2.GaussianBlur(np.cumsum(normal(rng, (count, 1)), axis=0), (1, 49), 0, sigmaY=8)[:, 0]
    walk = walk - walk.mean()
    return walk * (8 / max(float(np.abs(walk).max()), 8.0))


def band(mask: np.ndarray, start: np.ndarray, end: np.ndarray, width: float) -> None:
    """Set the pixels of `mask`, uint8 (H, W), that lie in the straight band from `start` to `end`, each (x, y)."""
    along = end - start
    # fillConvexPoly also draws the outline, which makes a polygon one pixel wider.
    side = np.array([-along[1], along[0]]) * ((width - 1) / 2 / max(math.hypot(*along), 1e-6))
    corners = np.array([start - side, end - side, end + side, start + side])
    cv2.fillConvexPoly(mask, np.rint(corners * 16).astype(np.int32), 1, shift=4)


@OPERATORS.add("holes")
@dataclass(frozen=True)
class Holes(Checked):
    """Cover the picture with straight bands between random points, all white or all black."""

    stage: ClassVar[str] = "damage"
    rank: ClassVar[int] = 1
    shown: ClassVar[tuple[float, ...]] = (5, 8, 12)
    identity: ClassVar[dict[str, float]] = {"count": 0}
    count: Annotated[int, Param("number of bands; 0 leaves the picture as it is", 0, 1000)] = 8
    width: Annotated[int, Param("width of a band", 1, 200, "pixels")] = 7

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        white, mask = self.bands(rng, *pixels.shape[:2])
        return np.where(mask[..., None] > 0, np.float32(white), pixels)

    def bands(self, rng: Rng, height: int, width: int) -> tuple[bool, np.ndarray]:
        """Return whether the bands are white, and a mask uint8 (height, width) that is above 0 in them."""
        white = rng.uniform() < 0.5
        mask = np.zeros((height, width), dtype=np.uint8)
        for start, end in rng.uniform(size=(self.count, 2, 2)) * (width, height):
            band(mask, start, end, self.width)
        return white, mask
