"""A sensor behind a colour filter array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np

from gir_cli.color import to_linear, to_srgb
from gir_cli.ops import OPERATORS
from gir_cli.ops.noise import sensor_noise
from gir_cli.params import Checked, Param
from gir_cli.rng import Rng

#: First row and first column of each colour's sites, RGGB: (channel, row, column).
SITES = ((0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1))
TENT = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32) / 4
#: Green has twice as many sites.
SHARE = np.array([1, 0.5, 1], dtype=np.float32)


def mosaicked(noise: np.ndarray) -> np.ndarray:
    """Return `noise` (H, W, 3), H, W ≥ 2, taken at the sites of an RGGB filter array and spread by a tent.

    Red and blue are kept at their sites and bilinear between them. Green is the mean of four sites between its
    own, and at them half itself, half the mean of its four diagonal neighbours. Borders are reflected without
    repeating the edge, which keeps the pattern going.
    """
    sites = np.zeros_like(noise)
    for channel, row, column in SITES:
        sites[row::2, column::2, channel] = noise[row::2, column::2, channel]
    return cv2.filter2D(sites, -1, TENT, borderType=cv2.BORDER_REFLECT_101) * SHARE


@OPERATORS.add("camera")
@dataclass(frozen=True)
class Camera(Checked):
    """Add the noise of a camera: variance shot · y + read in linear light y, coarse from demosaicking.

    Each pixel has the noise of the one colour that its RGGB filter lets through, green's averaged with
    that of its diagonal neighbours; the other two are interpolated between neighbours. The sensor's
    values end at black and white; the picture itself keeps its detail. Gray pictures, and those one
    pixel high or wide, get independent noise.
    """

    stage: ClassVar[str] = "sensor"
    rank: ClassVar[int] = 4
    shown: ClassVar[tuple[float, ...]] = (0.002, 0.006, 0.02)
    identity: ClassVar[dict[str, float]] = {}
    shot: Annotated[float, Param("variance of the noise per unit of light", 0, 1)] = 0.006
    read: Annotated[float, Param("variance of the noise in the dark", 0, 1)] = 0.0004

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        light = to_linear(pixels)
        raw = np.clip(light + sensor_noise(light, self.shot, self.read, rng), 0, 1)
        if pixels.shape[2] == 1 or min(pixels.shape[:2]) == 1:
            return to_srgb(raw)
        return to_srgb(light + mosaicked(raw - light))
