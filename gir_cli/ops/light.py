"""Too little light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from gir_cli.ops import OPERATORS
from gir_cli.params import Checked, Param
from gir_cli.rng import Rng


@OPERATORS.add("dark")
@dataclass(frozen=True)
class Dark(Checked):
    """Darken by a power law: x ^ gamma, on sRGB values. Negative values count as 0."""

    stage: ClassVar[str] = "scene"
    rank: ClassVar[int] = 3
    gamma: Annotated[float, Param("exponent; 1 leaves the picture as it is", 1, 10)] = 2.0

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        return np.power(np.maximum(pixels, 0), np.float32(self.gamma))
