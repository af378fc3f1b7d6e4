"""Tone and film: too few levels, faded dyes, grain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from gir_cli.color import luma
from gir_cli.ops import OPERATORS
from gir_cli.ops.blur import blurred, gaussian
from gir_cli.params import Checked, Param
from gir_cli.rng import Rng, normal


@OPERATORS.add("banding")
@dataclass(frozen=True)
class Banding(Checked):
    """Round each value to one of `levels` equal steps from black to white."""

    stage: ClassVar[str] = "processing"
    rank: ClassVar[int] = 0
    shown: ClassVar[tuple[float, ...]] = (16, 8, 4)
    identity: ClassVar[dict[str, float]] = {}
    levels: Annotated[int, Param("number of levels", 2, 65536)] = 8

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        top = np.float32(self.levels - 1)
        return np.rint(pixels * top) / top


@OPERATORS.add("fade")
@dataclass(frozen=True)
class Fade(Checked):
    """Fade as an old print does: less colour, less contrast about a raised middle, more red and less blue.

    Even with nothing faded, the picture is 0.05 brighter. Gray pictures only lose contrast.
    """

    stage: ClassVar[str] = "processing"
    rank: ClassVar[int] = 1
    shown: ClassVar[tuple[float, ...]] = (0.8, 0.5, 0.2)
    identity: ClassVar[dict[str, float]] = {}
    saturation: Annotated[float, Param("share of the colour that is left", 0, 1)] = 0.5
    contrast: Annotated[float, Param("share of the contrast that is left", 0, 1)] = 0.75
    warmth: Annotated[float, Param("share by which red rises and blue falls", 0, 1)] = 0.08

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        gray = luma(pixels)[..., None]
        z = gray + np.float32(self.saturation) * (pixels - gray)
        z = np.float32(0.5) + np.float32(self.contrast) * (z - np.float32(0.5)) + np.float32(0.05)
        if pixels.shape[2] == 1:
            return z
        return z * np.array([1 + self.warmth, 1, 1 - self.warmth], dtype=np.float32)


@OPERATORS.add("grain")
@dataclass(frozen=True)
class Grain(Checked):
    """Add film grain: one soft field for all channels, strongest in the middle tones.

    White noise under a Gaussian of sigma 0.8 pixels, brought back to unit variance, times
    1 − 0.6 · |2 Y − 1| at luma Y.
    """

    stage: ClassVar[str] = "processing"
    rank: ClassVar[int] = 2
    shown: ClassVar[tuple[float, ...]] = (8, 15, 30)
    identity: ClassVar[dict[str, float]] = {"sigma": 0}
    sigma: Annotated[float, Param("standard deviation at middle gray", 0, 255, "8-bit levels")] = 15.0

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        field = blurred(normal(rng, pixels.shape[:2]), 0.8) / np.square(gaussian(0.8)).sum()
        strength = 1 - np.float32(0.6) * np.abs(2 * luma(pixels) - 1)
        return pixels + (np.float32(self.sigma / 255) * strength * field)[..., None]
