"""Twins of the degradation operators that act on a whole batch, on any device.

A twin maps `pixels`, float32 `(N, 3, H, W)` sRGB in [0, 1], to pixels of the same shape and type and
leaves its input alone. What its parameters mean is the operator's business: `packed` draws and
computes on the host, by the operator's own functions, all that is small (kernels, tables, angles);
the twin holds it as tensors and does what is done to each pixel. Random fields are drawn on the
device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from gir_cli.catalog import Catalog
from gir_cli.rng import Rng


class Twin(Protocol):
    """What operators of one name do to a batch, a picture each.

    Only operators that agree in the parameters `alike` act together. `only` gives the values of
    parameters that the twin does not know in full.
    """

    alike: ClassVar[tuple[str, ...]]
    only: ClassVar[dict[str, tuple[Any, ...]]]

    @staticmethod
    def packed(operators: Sequence[Any], rngs: Sequence[Rng], side: int) -> dict[str, Any]:
        """Return the twin's fields for side × side pictures: numpy arrays of N, or what is the same for all."""
        ...

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor: ...


TWINS: Catalog[type[Twin]] = Catalog("operator on a device", __name__)


def each(operators: Sequence[Any], name: str) -> np.ndarray:
    """Return parameter `name` of the operators, float32 (N, 1, 1, 1)."""
    return np.array([getattr(operator, name) for operator in operators], dtype=np.float32).reshape(-1, 1, 1, 1)
