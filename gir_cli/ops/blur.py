"""Blur of the lens, the hand and the focus. Borders are reflected without repeating the edge."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import cv2
import numpy as np

from gir_cli.ops import OPERATORS
from gir_cli.params import Checked, Param
from gir_cli.rng import Rng


def gaussian(sigma: float) -> np.ndarray:
    """Return the 1-D Gaussian kernel of radius ceil(3 sigma), float32, summing to 1; sigma 0 is a single 1."""
    if sigma == 0:
        return np.ones(1, dtype=np.float32)
    radius = math.ceil(3 * sigma)
    x = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (x / sigma) ** 2)
    return (kernel / kernel.sum()).astype(np.float32)


def blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Return `pixels` under an isotropic Gaussian of `sigma` pixels; 0 is the identity."""
    if sigma == 0:
        return pixels.copy()
    kernel = gaussian(sigma)
    return cv2.sepFilter2D(pixels, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101).reshape(pixels.shape)


def filtered(pixels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return `pixels` convolved with `kernel`, any odd size."""
    flipped = np.ascontiguousarray(kernel[::-1, ::-1], dtype=np.float32)
    return cv2.filter2D(pixels, -1, flipped, borderType=cv2.BORDER_REFLECT_101).reshape(pixels.shape)


def line(length: float, angle: float) -> np.ndarray:
    """Return the kernel of a uniform line, centred, float32, summing to 1; length 0 is a single 1.

    The line is traced in steps of at most 1/16 pixel over its whole `length`, and each point shared
    bilinearly between the four pixels around it. Angle 0 lies along a row; angles turn
    counter-clockwise.
    """
    reach = length / 2
    radius = math.ceil(reach)
    size = 2 * radius + 2
    t = np.linspace(-reach, reach, 2 * math.ceil(16 * reach) + 1)
    x = radius + t * math.cos(math.radians(angle))
    y = radius - t * math.sin(math.radians(angle))
    left, top = np.floor(x), np.floor(y)
    corner, right, down = (top * size + left).astype(int), x - left, y - top
    shares = ((1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right)
    places = (corner, corner + 1, corner + size, corner + size + 1)
    kernel = np.bincount(np.concatenate(places), np.concatenate(shares), size * size)
    # The last row and column are beyond the line's end: they only ever hold shares of 0.
    return (kernel.reshape(size, size)[:-1, :-1] / len(t)).astype(np.float32)


@lru_cache(maxsize=64)
def disk(radius: float) -> np.ndarray:
    """Return the kernel of a disk, sampled 8 × 8 times in each pixel, float32, summing to 1; radius 0 is a single 1."""
    reach = math.ceil(radius)
    fine = np.arange(8 * (2 * reach + 1)) / 8 + 1 / 16 - reach - 0.5
    inside = fine[:, None] ** 2 + fine**2 <= max(radius, 0.5) ** 2
    kernel = inside.reshape(2 * reach + 1, 8, 2 * reach + 1, 8).sum((1, 3))
    return (kernel / kernel.sum()).astype(np.float32)


@OPERATORS.add("blur")
@dataclass(frozen=True)
class GaussianBlur(Checked):
    """Blur with a Gaussian, isotropic unless `minor` is given.

    With `minor`, `sigma` is the deviation along the major axis, which lies at `angle`.
    """

    stage: ClassVar[str] = "optics"
    rank: ClassVar[int] = 1
    shown: ClassVar[tuple[float, ...]] = (1.2, 2, 3)
    identity: ClassVar[dict[str, float]] = {"sigma": 0}
    sigma: Annotated[float, Param("standard deviation; 0 leaves the picture as it is", 0, 100, "pixels")] = 2.0
    minor: Annotated[float | None, Param("standard deviation along the minor axis", 0, 100, "pixels")] = None
    angle: Annotated[float, Param("direction of the major axis, clockwise from a row", -360, 360, "degrees")] = 0.0

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        if self.minor is None or self.minor == self.sigma:
            return blurred(pixels, self.sigma)
        return filtered(pixels, self._ellipse(self.minor))

    def kernel(self) -> np.ndarray:
        """Return the kernel, square, odd, summing to 1."""
        if self.minor is None or self.minor == self.sigma:
            return np.outer(gaussian(self.sigma), gaussian(self.sigma))
        return self._ellipse(self.minor)

    def _ellipse(self, minor: float) -> np.ndarray:
        radius = math.ceil(3 * max(self.sigma, minor))
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        turn = math.radians(self.angle)
        along = x * math.cos(turn) + y * math.sin(turn)
        across = y * math.cos(turn) - x * math.sin(turn)
        # A deviation under a tenth of a pixel samples to a line anyway; this keeps 0 / 0 away.
        kernel = np.exp(-0.5 * ((along / max(self.sigma, 0.1)) ** 2 + (across / max(minor, 0.1)) ** 2))
        return kernel / kernel.sum()


@OPERATORS.add("motion")
@dataclass(frozen=True)
class MotionBlur(Checked):
    """Blur along a straight line, centred so that the picture does not shift."""

    stage: ClassVar[str] = "optics"
    rank: ClassVar[int] = 0
    shown: ClassVar[tuple[float, ...]] = (9, 15, 21)
    identity: ClassVar[dict[str, float]] = {"length": 0}
    length: Annotated[float, Param("length of the trace; 0 leaves the picture as it is", 0, 500, "pixels")] = 15.0
    angle: Annotated[float, Param("direction, counter-clockwise from a row", -360, 360, "degrees", drawn=(0, 180))] = (
        0.0
    )

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        return filtered(pixels, self.kernel())

    def kernel(self) -> np.ndarray:
        """Return the kernel, square, odd, summing to 1."""
        return line(self.length, self.angle)


@OPERATORS.add("defocus")
@dataclass(frozen=True)
class Defocus(Checked):
    """Blur with a disk, as a lens that is out of focus does."""

    stage: ClassVar[str] = "optics"
    rank: ClassVar[int] = 2
    shown: ClassVar[tuple[float, ...]] = (2, 4, 7)
    identity: ClassVar[dict[str, float]] = {"radius": 0}
    radius: Annotated[float, Param("radius of the disk; 0 leaves the picture as it is", 0, 100, "pixels")] = 4.0

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        return filtered(pixels, self.kernel())

    def kernel(self) -> np.ndarray:
        """Return the kernel, square, odd, summing to 1."""
        return disk(self.radius)
