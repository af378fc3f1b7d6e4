"""Noise of the sensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import cv2
import numpy as np

from gir_cli.errors import InputError
from gir_cli.ops import OPERATORS
from gir_cli.params import Checked, Param
from gir_cli.rng import Rng, normal, uniform

MOST = np.float32(1e18)  # photons; numpy's Poisson numbers end at 9e18


def sensor_noise(light: np.ndarray, shot: float, read: float, rng: Rng) -> np.ndarray:
    """Return Gaussian noise of variance shot · light + read, for linear `light` of any shape."""
    return np.sqrt(np.float32(shot) * light + np.float32(read)) * normal(rng, light.shape)


@OPERATORS.add("noise")
@dataclass(frozen=True)
class GaussianNoise(Checked):
    """Add white Gaussian noise.

    `color` noise is independent in every pixel and channel; `gray` is one field for all three
    channels; `correlated` is the 3×3 box mean of colour noise times 3, which keeps its variance.
    The result is not clipped: the encoder clips once, at the end of the chain.
    """

    stage: ClassVar[str] = "sensor"
    rank: ClassVar[int] = 0
    shown: ClassVar[tuple[float, ...]] = (15, 25, 50)
    identity: ClassVar[dict[str, float]] = {"sigma": 0}
    sigma: Annotated[float, Param("standard deviation", 0, 255, "8-bit levels")] = 25.0
    kind: Annotated[Literal["color", "gray", "correlated"], Param("how pixels and channels depend")] = "color"

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        height, width, channels = pixels.shape
        noise = normal(rng, (height, width, 1 if self.kind == "gray" else channels))
        if self.kind == "correlated":
            noise = 3 * cv2.blur(noise, (3, 3), borderType=cv2.BORDER_REFLECT_101).reshape(pixels.shape)
        noise *= np.float32(self.sigma / 255)
        return pixels + noise


@OPERATORS.add("shot")
@dataclass(frozen=True)
class ShotNoise(Checked):
    """Replace each value x by Poisson(x · peak) / peak, on sRGB values; the variance is x / peak.

    Negative values count as 0, and more than MOST photons as so many. Raises InputError if a value is NaN.
    """

    stage: ClassVar[str] = "sensor"
    rank: ClassVar[int] = 1
    shown: ClassVar[tuple[float, ...]] = (400, 150, 60)
    identity: ClassVar[dict[str, float]] = {}
    peak: Annotated[float, Param("photons at white; fewer are noisier", 1, 1e6, "photons")] = 150.0

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        peak = np.float32(self.peak)
        if np.isnan(pixels).any():
            raise InputError("shot: a pixel that is not a number holds no photons")
        return rng.poisson(pixels.clip(0, MOST / peak) * peak).astype(np.float32) / peak


@OPERATORS.add("speckle")
@dataclass(frozen=True)
class Speckle(Checked):
    """Multiply each value by 1 + Gaussian noise."""

    stage: ClassVar[str] = "sensor"
    rank: ClassVar[int] = 2
    shown: ClassVar[tuple[float, ...]] = (25, 50, 80)
    identity: ClassVar[dict[str, float]] = {"sigma": 0}
    sigma: Annotated[float, Param("standard deviation at white", 0, 255, "8-bit levels")] = 50.0

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        return pixels * (1 + np.float32(self.sigma / 255) * normal(rng, pixels.shape))


@OPERATORS.add("impulse")
@dataclass(frozen=True)
class Impulse(Checked):
    """Set pixels, all channels at once, to black or white, each with probability `density` / 2."""

    stage: ClassVar[str] = "sensor"
    rank: ClassVar[int] = 3
    shown: ClassVar[tuple[float, ...]] = (0.02, 0.05, 0.15)
    identity: ClassVar[dict[str, float]] = {"density": 0}
    density: Annotated[float, Param("share of the pixels that are hit", 0, 1)] = 0.05

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        u = uniform(rng, (*pixels.shape[:2], 1))
        return np.where(u < self.density / 2, np.float32(0), np.where(u > 1 - self.density / 2, np.float32(1), pixels))
