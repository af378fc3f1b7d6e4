"""Wear of the print: holes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np

from gir_cli.ops import OPERATORS
from gir_cli.params import Checked, Param
from gir_cli.rng import Rng


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
    count: Annotated[int, Param("number of bands; 0 leaves the picture as it is", 0, 1000)] = 8
    width: Annotated[int, Param("width of a band", 1, 200, "pixels")] = 7

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        height, width = pixels.shape[:2]
        white = rng.uniform() < 0.5
        mask = np.zeros((height, width), dtype=np.uint8)
        for start, end in rng.uniform(size=(self.count, 2, 2)) * (width, height):
            band(mask, start, end, self.width)
        return np.where(mask[..., None] > 0, np.float32(white), pixels)
