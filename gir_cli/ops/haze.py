"""Haze, by a depth map or a made-up depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar

import cv2
import numpy as np

from gir_cli.errors import InputError
from gir_cli.ops import OPERATORS
from gir_cli.params import Checked, Param
from gir_cli.resize import bicubic, resized
from gir_cli.rng import Rng, uniform

#: Distances of the grids' nodes in pixels, the coarsest first; each counts half as much as the one before.
CELLS = (128, 64, 32, 16)


@lru_cache(maxsize=64)
def between(nodes: int, cell: int, count: int) -> np.ndarray:
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
    for cell, grid in zip(CELLS, grids(rng, height, width), strict=True):
        tall, wide = grid.shape
        field += between(tall, cell, height) @ grid @ between(wide, cell, width).T
    field -= field.min()
    return field / max(float(field.max()), 1e-6)


def nodes(length: int, cell: int) -> int:
    """Return how many nodes `cell` pixels apart span `length` pixels."""
    return math.ceil(length / cell) + 1


def grids(rng: Rng, height: int, width: int) -> list[np.ndarray]:
    """Return the weighted uniform grids of `fractal`, one for each of CELLS."""
    shapes = [(nodes(height, cell), nodes(width, cell)) for cell in CELLS]
    return [uniform(rng, shape) * np.float32(0.5**octave) for octave, shape in enumerate(shapes)]


def depth_map(path: str) -> np.ndarray:
    """Return the depth map in the file at `path`, float32 (H, W), 0 near to 1 at its farthest point.

    The file holds one channel of 8 or 16 bits or of floats, larger where farther. Raises
    InputError where it doesn't.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such depth map")
    # Bytes, not the path, go to OpenCV: it cannot open every name.
    data = np.frombuffer(Path(path).read_bytes(), dtype=np.uint8)
    try:
        depth = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except cv2.error:
        depth = None
    if depth is None:
        raise InputError(f"{path}: not a depth map I can read")
    if depth.ndim == 3 and depth.shape[2] > 1:
        raise InputError(f"{path}: a depth map has one channel, this has {depth.shape[2]}")
    depth = depth.reshape(depth.shape[:2]).astype(np.float32)
    if not np.isfinite(depth).all() or depth.min() < 0 or depth.max() <= 0:
        raise InputError(f"{path}: depths must be finite, none below 0 and some above")
    return depth / depth.max()


@OPERATORS.add("haze")
@dataclass(frozen=True)
class Haze(Checked):
    """Mix the scene with airlight by depth: x · t + airlight · (1 − t), t = exp(−beta · depth).

    After Koschmieder's law, on sRGB values. Depth is 1 at the farthest point. Without a file it is
    made up: a ramp that is far at the top and near at the bottom, 0.8 (1 − y / H)², plus 0.2 of
    smooth noise, divided by its maximum.
    """

    stage: ClassVar[str] = "scene"
    rank: ClassVar[int] = 3
    shown: ClassVar[tuple[float, ...]] = (0.6, 1.2, 1.8)
    identity: ClassVar[dict[str, float]] = {"beta": 0}
    beta: Annotated[float, Param("density; 0 leaves the picture as it is", 0, 20)] = 1.2
    airlight: Annotated[float, Param("brightness of the haze", 0, 1)] = 0.9
    depth: Annotated[str | None, Param("file of a depth map, larger where farther; resized to the picture")] = None
    top: Annotated[float, Param("where on the ramp the first row lies, 0 far to 1 near; for crops", 0, 1)] = 0.0
    span: Annotated[float, Param("how much of the ramp the picture covers; for crops", 0, 1)] = 1.0

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        clear = np.exp(np.float32(-self.beta) * self._depth(rng, *pixels.shape[:2]))[..., None]
        return pixels * clear + np.float32(self.airlight) * (1 - clear)

    def _depth(self, rng: Rng, height: int, width: int) -> np.ndarray:
        if self.depth is not None:
            return resized(depth_map(self.depth)[..., None], width, height, "bilinear")[..., 0]
        down = self.top + self.span * np.arange(height, dtype=np.float32) / height
        # Beyond the end of the ramp it stays near, and may be nothing but 0.
        depth = 0.8 * (1 - np.minimum(down, 1)[:, None]) ** 2 + 0.2 * fractal(rng, height, width)
        # A crop doesn't hold the whole scene's maximum; 0.9 is about what whole scenes have.
        return depth / (max(depth.max(), 1e-6) if self.span == 1 else np.float32(0.9))
