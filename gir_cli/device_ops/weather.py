"""Rain on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gir_cli.device_ops import TWINS, each
from gir_cli.device_ops.blur import filtered, stacked
from gir_cli.ops import weather
from gir_cli.rng import Rng


def seeds(pixels: Tensor, density: Tensor, weakest: float, generator: torch.Generator) -> Tensor:
    """Return zeros (N, 1, H, W), but with probability `density` a strength, uniform from `weakest` to 1."""
    shape = (2, len(pixels), 1, *pixels.shape[-2:])
    hit, strength = torch.rand(shape, generator=generator, device=pixels.device)
    return torch.where(hit < density, weakest + (1 - weakest) * strength, 0)


@TWINS.add("rain")
@dataclass(frozen=True)
class Rain:
    """Add streaks of the shapes `kernels` (N, K, K); `density` and `strength` are (N, 1, 1, 1)."""

    alike: ClassVar[tuple[str, ...]] = ()
    only: ClassVar[dict[str, tuple[Any, ...]]] = {}
    density: Tensor
    strength: Tensor
    kernels: Tensor

    @staticmethod
    def packed(operators: Sequence[weather.Rain], rngs: Sequence[Rng], side: int) -> dict[str, Any]:
        return {
            "density": each(operators, "density"),
            "strength": each(operators, "strength"),
            "kernels": stacked([operator.kernel() for operator in operators]),
        }

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        streaks = filtered(seeds(pixels, self.density, 0.5, generator), self.kernels)
        return pixels + self.strength * streaks.clamp(0, 1)
