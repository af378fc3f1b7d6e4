"""What scaling and sharpening leave at edges: ringing and halos."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np

from gir_cli.ops import OPERATORS
from gir_cli.ops.blur import blurred, filtered
from gir_cli.params import Checked, Param
from gir_cli.rng import Rng

REACH = 10  # the sinc kernel is 21 × 21


def bessel(x: np.ndarray) -> np.ndarray:
    """Return J1(x), the Bessel function of the first kind, for |x| up to 100.

    By Bessel's integral, the mean of cos(t − x sin t) over a turn; the sum over equal steps
    converges faster than any power of their number.
    """
    t = np.linspace(0, 2 * math.pi, 256, endpoint=False)
    return np.cos(t - x[..., None] * np.sin(t)).mean(-1)


@lru_cache(maxsize=64)
def sinc(cutoff: float) -> np.ndarray:
    """Return the ideal circular low-pass filter of `cutoff` radians per pixel, cut to 21 × 21, summing to 1."""
    y, x = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1]
    r = np.maximum(np.hypot(x, y), 1e-3)  # J1(c r) / r tends to c / 2 at the centre
    kernel = bessel(cutoff * r) / r
    return (kernel / kernel.sum()).astype(np.float32)


@OPERATORS.add("ringing")
@dataclass(frozen=True)
class Ringing(Checked):
    """Cut the high frequencies off sharply, which makes edges ring.

    The kernel is cutoff · J1(cutoff · r) / (2 π r), after Real-ESRGAN (Wang et al., 2021, eq. 6).
    """

    stage: ClassVar[str] = "sampling"
    rank: ClassVar[int] = 1
    shown: ClassVar[tuple[float, ...]] = (2, 1.2, 0.8)
    identity: ClassVar[dict[str, float]] = {}
    cutoff: Annotated[float, Param("highest frequency that passes", 0.1, math.pi, "radians per pixel")] = 1.2

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        return filtered(pixels, self.kernel())

    def kernel(self) -> np.ndarray:
        """Return the kernel, square, odd, summing to 1."""
        return sinc(self.cutoff)


@OPERATORS.add("sharpen")
@dataclass(frozen=True)
class Sharpen(Checked):
    """Sharpen by an unsharp mask: x + amount · (x − blurred x)."""

    stage: ClassVar[str] = "sampling"
    rank: ClassVar[int] = 2
    shown: ClassVar[tuple[float, ...]] = (0.5, 1, 2)
    identity: ClassVar[dict[str, float]] = {"amount": 0}
    amount: Annotated[float, Param("how much is added; 0 leaves the picture as it is", 0, 20)] = 0.8
    sigma: Annotated[float, Param("deviation of the Gaussian", 0, 100, "pixels")] = 1.0

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        return pixels + np.float32(self.amount) * (pixels - blurred(pixels, self.sigma))
