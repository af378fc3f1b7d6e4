"""Sampling: fewer pixels, and back to the old size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from gir_cli.ops import OPERATORS
from gir_cli.params import Checked, Param
from gir_cli.resize import resized
from gir_cli.rng import Rng


@OPERATORS.add("down")
@dataclass(frozen=True)
class Down(Checked):
    """Shrink to round(size / factor), at least 1 pixel, and enlarge back to the old size."""

    stage: ClassVar[str] = "sampling"
    rank: ClassVar[int] = 0
    shown: ClassVar[tuple[float, ...]] = (2, 4, 8)
    identity: ClassVar[dict[str, float]] = {"factor": 1}
    factor: Annotated[float, Param("by how much each side shrinks; 1 leaves the picture as it is", 1, 64)] = 4.0
    shrink: Annotated[Literal["bicubic", "bilinear", "box", "nearest", "area"], Param("filter that shrinks")] = (
        "bicubic"
    )
    enlarge: Annotated[Literal["bicubic", "bilinear", "box", "nearest", "area"], Param("filter that enlarges")] = (
        "bicubic"
    )

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        height, width = pixels.shape[:2]
        small = (self.shrunken(width), self.shrunken(height))
        if small == (width, height):
            return pixels.copy()
        return resized(resized(pixels, *small, self.shrink), width, height, self.enlarge)

    def shrunken(self, size: int) -> int:
        """Return the size in between for `size` pixels."""
        return max(round(size / self.factor), 1)
