"""What lies between the scene and the lens: rain, haze."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import cv2
import numpy as np

from gir_cli.ops import OPERATORS
from gir_cli.ops.blur import filtered, gaussian, line
from gir_cli.ops.resample import bicubic
from gir_cli.params import Checked, Param
from gir_cli.rng import Rng, uniform


def streaks(seeds: np.ndarray, length: float, angle: float, width: float) -> np.ndarray:
    """Return `seeds` (H, W) drawn out along `angle`, each seed's brightest pixel as bright as the seed.

    The line is thickened by a Gaussian of sigma `width`, and the kernel's peak is 1.
    """
    kernel = line(length, angle)
    if width > 0:
        edge = math.ceil(3 * width)
        kernel = cv2.copyMakeBorder(kernel, edge, edge, edge, edge, cv2.BORDER_CONSTANT)
        kernel = cv2.sepFilter2D(kernel, -1, gaussian(width), gaussian(width), borderType=cv2.BORDER_CONSTANT)
    return filtered(seeds, kernel / kernel.max())


@OPERATORS.add("rain")
@dataclass(frozen=True)
class Rain(Checked):
    """Add bright streaks, all in one direction drawn within 45 degrees of the vertical.

    Each pixel starts a streak with probability `density`; a streak's own strength is uniform in
    [0.5, 1]. Overlapping streaks add up to at most 1, times `strength`.
    """

    stage: ClassVar[str] = "scene"
    rank: ClassVar[int] = 0
    density: Annotated[float, Param("streaks per pixel; 0 leaves the picture as it is", 0, 0.1)] = 0.0007
    length: Annotated[float, Param("length of a streak", 1, 500, "pixels")] = 30.0
    width: Annotated[float, Param("deviation of the Gaussian that thickens a streak", 0, 20, "pixels")] = 0.9
    strength: Annotated[float, Param("brightness of the layer", 0, 1)] = 0.6
    angle: Annotated[float, Param("lean from the vertical", -90, 90, "degrees", drawn=(-45, 45))] = 0.0

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        shape = pixels.shape[:2]
        seeds = (uniform(rng, shape) < self.density) * (0.5 + 0.5 * uniform(rng, shape))
        layer = streaks(seeds.astype(np.float32), self.length, 90 + self.angle, self.width)
        return pixels + np.float32(self.strength) * np.clip(layer, 0, 1)[..., None]


@lru_cache(maxsize=64)
def _between(nodes: int, cell: int, count: int) -> np.ndarray:
    """Return weights (count, nodes): cubic interpolation at each pixel between nodes `cell` pixels apart."""
    away = np.arange(count)[:, None] / cell - np.arange(nodes)
    weights = bicubic(away)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def fractal(rng: Rng, height: int, width: int) -> np.ndarray:
    """Return smooth noise (height, width) that spans [0, 1].

    Uniform grids with cells of 128, 64, 32 and 16 pixels, enlarged by cubic interpolation and
    added with weights 1, 1/2, 1/4, 1/8.
    """
    field = np.zeros((height, width), dtype=np.float32)
    for octave, cell in enumerate((128, 64, 32, 16)):
        tall, wide = math.ceil(height / cell) + 1, math.ceil(width / cell) + 1
        grid = uniform(rng, (tall, wide)) * np.float32(0.5**octave)
        field += _between(tall, cell, height) @ grid @ _between(wide, cell, width).T
    field -= field.min()
    return field / max(float(field.max()), 1e-6)


@OPERATORS.add("haze")
@dataclass(frozen=True)
class Haze(Checked):
    """Mix the scene with airlight by depth: x · t + airlight · (1 − t), t = exp(−beta · depth).

    After Koschmieder's law, on sRGB values. The depth is procedural: a ramp that is far at the top
    and near at the bottom, 0.8 (1 − y / H)², plus 0.2 of smooth noise, divided by its maximum.
    """

    stage: ClassVar[str] = "scene"
    rank: ClassVar[int] = 2
    beta: Annotated[float, Param("density; 0 leaves the picture as it is", 0, 20)] = 1.2
    airlight: Annotated[float, Param("brightness of the haze", 0, 1)] = 0.9
    top: Annotated[float, Param("where on the ramp the first row lies, 0 far to 1 near; for crops", 0, 1)] = 0.0
    span: Annotated[float, Param("how much of the ramp the picture covers; for crops", 0, 1)] = 1.0

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        clear = np.exp(np.float32(-self.beta) * self._depth(rng, *pixels.shape[:2]))[..., None]
        return pixels * clear + np.float32(self.airlight) * (1 - clear)

    def _depth(self, rng: Rng, height: int, width: int) -> np.ndarray:
        down = self.top + self.span * np.arange(height, dtype=np.float32) / height
        depth = 0.8 * (1 - down[:, None]) ** 2 + 0.2 * fractal(rng, height, width)
        # A crop doesn't hold the whole scene's maximum; 0.9 is about what whole scenes have.
        return depth / (depth.max() if self.span == 1 else np.float32(0.9))
