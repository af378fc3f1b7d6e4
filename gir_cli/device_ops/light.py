"""Too little light, on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gir_cli.device_ops import TWINS, each
from gir_cli.ops import light
from gir_cli.rng import Rng


@TWINS.add("dark")
@dataclass(frozen=True)
class Dark:
    """Darken by a power law, x ^ `gamma` (N, 1, 1, 1)."""

    alike: ClassVar[tuple[str, ...]] = ()
    only: ClassVar[dict[str, tuple[Any, ...]]] = {}
    gamma: Tensor

    @staticmethod
    def packed(operators: Sequence[light.Dark], rngs: Sequence[Rng], side: int) -> dict[str, Any]:
        return {"gamma": each(operators, "gamma")}

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        return pixels.clamp(min=0) ** self.gamma
