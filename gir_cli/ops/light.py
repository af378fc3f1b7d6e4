"""Too little light, seen by the eye (`dark`) and by a sensor (`dim`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from gir_cli.color import to_linear, to_srgb
from gir_cli.ops import OPERATORS
from gir_cli.ops.noise import sensor_noise
from gir_cli.params import Checked, Param
from gir_cli.rng import Rng


@OPERATORS.add("dark")
@dataclass(frozen=True)
class Dark(Checked):
    """Darken by a power law: x ^ gamma, on sRGB values. Negative values count as 0."""

    stage: ClassVar[str] = "scene"
    rank: ClassVar[int] = 4
    shown: ClassVar[tuple[float, ...]] = (1.5, 2, 2.8)
    identity: ClassVar[dict[str, float]] = {"gamma": 1}
    gamma: Annotated[float, Param("exponent; 1 leaves the picture as it is", 1, 10)] = 2.0

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        return np.power(np.maximum(pixels, 0), np.float32(self.gamma))


@OPERATORS.add("dim")
@dataclass(frozen=True)
class Dim(Checked):
    """Expose too short: less light by `gain`, then noise of variance shot · y + read, in linear light y."""

    stage: ClassVar[str] = "scene"
    rank: ClassVar[int] = 5
    shown: ClassVar[tuple[float, ...]] = (0.4, 0.2, 0.1)
    identity: ClassVar[dict[str, float]] = {"gain": 1, "shot": 0, "read": 0}
    gain: Annotated[float, Param("share of the light that is left", 0, 1)] = 0.12
    shot: Annotated[float, Param("variance of the noise per unit of light", 0, 1)] = 0.006
    read: Annotated[float, Param("variance of the noise in the dark", 0, 1)] = 0.0002

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        light = np.float32(self.gain) * to_linear(pixels)
        return to_srgb(light + sensor_noise(light, self.shot, self.read, rng))
