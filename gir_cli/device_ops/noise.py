"""Noise of the sensor on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gir_cli.device_ops import TWINS, each
from gir_cli.device_ops.blur import reflected
from gir_cli.ops import noise
from gir_cli.rng import Rng


def normal(pixels: Tensor, channels: int, generator: torch.Generator) -> Tensor:
    """Return standard normal draws (N, channels, H, W) for `pixels` (N, C, H, W)."""
    shape = (len(pixels), channels, *pixels.shape[-2:])
    return torch.randn(shape, generator=generator, device=pixels.device)


@TWINS.add("noise")
@dataclass(frozen=True)
class GaussianNoise:
    """Add noise of one `kind` and of each picture's own `sigma` (N, 1, 1, 1), in 8-bit levels."""

    alike: ClassVar[tuple[str, ...]] = ("kind",)
    only: ClassVar[dict[str, tuple[Any, ...]]] = {}
    kind: str
    sigma: Tensor

    @staticmethod
    def packed(operators: Sequence[noise.GaussianNoise], rngs: Sequence[Rng], side: int) -> dict[str, Any]:
        return {"kind": operators[0].kind, "sigma": each(operators, "sigma")}

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        field = normal(pixels, 1 if self.kind == "gray" else 3, generator)
        if self.kind == "correlated":
            field = 3 * avg_pool2d(reflected(field, 1), 3, stride=1)
        return pixels + self.sigma / 255 * field


@TWINS.add("shot")
@dataclass(frozen=True)
class ShotNoise:
    """Replace each value by the photons counted, at each picture's own `peak` (N, 1, 1, 1)."""

    alike: ClassVar[tuple[str, ...]] = ()
    only: ClassVar[dict[str, tuple[Any, ...]]] = {}
    peak: Tensor

    @staticmethod
    def packed(operators: Sequence[noise.ShotNoise], rngs: Sequence[Rng], side: int) -> dict[str, Any]:
        return {"peak": each(operators, "peak")}

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        return torch.poisson(pixels.clamp(min=0) * self.peak, generator) / self.peak
