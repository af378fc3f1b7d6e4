"""Fewer pixels and back, on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gir_cli.device_ops import TWINS
from gir_cli.ops import resample
from gir_cli.resize import resized
from gir_cli.rng import Rng


@lru_cache(maxsize=256)
def there_and_back(size: int, small: int, shrink: str, enlarge: str) -> np.ndarray:
    """Return the weights (size, size) that take `size` values to `small` ones and back.

    A linear map is known by what it makes of the identity matrix.
    """
    identity = np.eye(size, dtype=np.float32)[..., None]
    return resized(resized(identity, size, small, shrink), size, size, enlarge)[..., 0]


@TWINS.add("down")
@dataclass(frozen=True)
class Down:
    """Shrink each picture and enlarge it back: `weights` (N, side, side) act on its rows and its columns."""

    alike: ClassVar[tuple[str, ...]] = ()
    only: ClassVar[dict[str, tuple[Any, ...]]] = {}
    weights: Tensor

    @staticmethod
    def packed(operators: Sequence[resample.Down], rngs: Sequence[Rng], side: int) -> dict[str, Any]:
        weights = [
            there_and_back(side, operator.shrunken(side), operator.shrink, operator.enlarge) for operator in operators
        ]
        return {"weights": np.stack(weights)}

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        weights = self.weights[:, None]
        return weights @ pixels @ weights.mT
