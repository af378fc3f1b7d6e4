"""Wear of the print, on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gir_cli.device_ops import TWINS
from gir_cli.ops import damage
from gir_cli.rng import Rng


@TWINS.add("holes")
@dataclass(frozen=True)
class Holes:
    """Cover each picture where `mask` (N, 1, H, W) is true by `white` (N, 1, 1, 1), 0 or 1.

    Bands are filled on the host: that is quick, and done by OpenCV's rules alone.
    """

    alike: ClassVar[tuple[str, ...]] = ()
    only: ClassVar[dict[str, tuple[Any, ...]]] = {}
    white: Tensor
    mask: Tensor

    @staticmethod
    def packed(operators: Sequence[damage.Holes], rngs: Sequence[Rng], side: int) -> dict[str, Any]:
        drawn = [operator.bands(rng, side, side) for operator, rng in zip(operators, rngs, strict=True)]
        white, masks = zip(*drawn, strict=True)
        return {
            "white": np.array(white, dtype=np.float32).reshape(-1, 1, 1, 1),
            "mask": np.stack(masks)[:, None] > 0,
        }

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        return torch.where(self.mask, self.white, pixels)
