"""What falls between the scene and the lens, or sticks to it: rain, snow, drops."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np

from gir_cli.ops import OPERATORS
from gir_cli.ops.blur import blurred, disk, filtered, gaussian, line
from gir_cli.params import Checked, Param
from gir_cli.rng import Rng, uniform


def seeds(rng: Rng, shape: tuple[int, ...], density: float, weakest: float) -> np.ndarray:
    """Return zeros (H, W), but with probability `density` a strength, uniform from `weakest` to 1."""
    hit = uniform(rng, shape) < density
    layer = np.zeros(shape, dtype=np.float32)
    layer[hit] = weakest + (1 - weakest) * uniform(rng, (int(np.count_nonzero(hit)),))
    return layer


def thickened(kernel: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Return `kernel` convolved with kernel `by`, both odd, at the full size and with a peak of 1."""
    down, across = (side // 2 for side in by.shape)
    wide = cv2.copyMakeBorder(kernel, down, down, across, across, cv2.BORDER_CONSTANT)
    wide = cv2.filter2D(wide, -1, by, borderType=cv2.BORDER_CONSTANT)
    return wide / wide.max()


@OPERATORS.add("rain")
@dataclass(frozen=True)
class Rain(Checked):
    """Add bright streaks, all in one direction drawn within 45 degrees of the vertical.

    Each pixel starts a streak with probability `density`; a streak's own strength is uniform in
    [0.5, 1]. Overlapping streaks add up to at most 1, times `strength`.
    """

    stage: ClassVar[str] = "scene"
    rank: ClassVar[int] = 0
    shown: ClassVar[tuple[float, ...]] = (0.0003, 0.0007, 0.0012)
    identity: ClassVar[dict[str, float]] = {"density": 0}
    density: Annotated[float, Param("streaks per pixel; 0 leaves the picture as it is", 0, 0.1)] = 0.0007
    length: Annotated[float, Param("length of a streak", 1, 500, "pixels")] = 30.0
    width: Annotated[float, Param("deviation of the Gaussian that thickens a streak", 0, 20, "pixels")] = 0.9
    strength: Annotated[float, Param("brightness of the layer", 0, 1)] = 0.6
    angle: Annotated[float, Param("lean from the vertical", -90, 90, "degrees", drawn=(-45, 45))] = 0.0

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        drops = seeds(rng, pixels.shape[:2], self.density, weakest=0.5)
        streaks = filtered(drops, self.kernel())
        return pixels + np.float32(self.strength) * np.clip(streaks, 0, 1)[..., None]

    def kernel(self) -> np.ndarray:
        """Return the shape of a streak, square, odd, with a peak of 1."""
        soft = gaussian(self.width)
        return thickened(line(self.length, 90 + self.angle), np.outer(soft, soft))


#: Flakes of snow: size, and the share of all flakes.
FLAKES = ((0.6, 0.55), (1.0, 0.3), (1.7, 0.15))


@OPERATORS.add("snow")
@dataclass(frozen=True)
class Snow(Checked):
    """Cover the picture with flakes of three sizes, each size smeared along a direction of its own.

    A flake is a disk of radius 2.2 pixels times its size, drawn out by 4 pixels times its size
    within 30 degrees of the vertical, and as strong as a uniform draw from [0.6, 1]. Where flakes
    overlap the strongest counts; it covers up to 0.9 of what lies behind.
    """

    stage: ClassVar[str] = "scene"
    rank: ClassVar[int] = 1
    shown: ClassVar[tuple[float, ...]] = (0.001, 0.004, 0.01)
    identity: ClassVar[dict[str, float]] = {"density": 0}
    density: Annotated[float, Param("flakes per pixel; 0 leaves the picture as it is", 0, 0.1)] = 0.004

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        cover = np.zeros(pixels.shape[:2], dtype=np.float32)
        for size, share in FLAKES:
            flake = thickened(line(4 * size, rng.uniform(60, 120)), disk(2.2 * size))
            layer = filtered(seeds(rng, cover.shape, self.density * share, weakest=0.6), flake)
            cover = np.maximum(cover, layer)
        cover = np.float32(0.9) * np.clip(cover, 0, 1)[..., None]
        return pixels * (1 - cover) + cover


@OPERATORS.add("drops")
@dataclass(frozen=True)
class Drops(Checked):
    """Put raindrops on the lens: ellipses about 8 to 24 pixels in radius, with a soft edge of 3 pixels.

    A drop bends the light of the whole scene: inside it is the mean of the picture, blurred by 4
    pixels, and of its mirror image upside down, a little brighter (× 1.05 + 0.05).
    """

    stage: ClassVar[str] = "scene"
    rank: ClassVar[int] = 2
    shown: ClassVar[tuple[float, ...]] = (15, 40, 80)
    identity: ClassVar[dict[str, float]] = {"count": 0}
    count: Annotated[int, Param("number of drops; 0 leaves the picture as it is", 0, 10000)] = 40

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        soft = blurred(pixels, 4)
        inside = np.float32(1.05 / 2) * (soft + soft[::-1]) + np.float32(0.05)
        cover = np.zeros(pixels.shape[:2], dtype=np.float32)
        for _ in range(self.count):
            drop(cover, rng)
        return pixels + cover[..., None] * (inside - pixels)


def drop(cover: np.ndarray, rng: Rng) -> None:
    """Raise `cover` (H, W) to 1 inside one random ellipse; over its edge it falls to 0 within 3 pixels."""
    height, width = cover.shape
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    radius, stretch = rng.uniform(8, 24), rng.uniform(0.8, 1.25)
    rows, columns = _around(y, radius * stretch + 2, height), _around(x, radius / stretch + 2, width)
    away = np.hypot((rows[:, None] - y) / stretch, (columns - x) * stretch)
    near = cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    np.maximum(near, np.clip((radius - away) / 3 + 0.5, 0, 1), out=near, casting="same_kind")


def _around(centre: float, reach: float, size: int) -> np.ndarray:
    return np.arange(max(math.floor(centre - reach), 0), min(math.ceil(centre + reach) + 1, size))
