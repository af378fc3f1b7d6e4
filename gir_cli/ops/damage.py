"""Wear of the print: holes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np

from gir_cli.ops import OPERATORS
from gir_cli.params import Checked, Param
from gir_cli.rng import Rng, below


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
        for _ in range(self.count):
            start, end = [(below(rng, width), below(rng, height)) for _ in range(2)]
            cv2.line(mask, start, end, 1, self.width)
        return np.where(mask[..., None] > 0, np.float32(white), pixels)
