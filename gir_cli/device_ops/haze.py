"""Haze by a made-up depth, on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gir_cli.device_ops import TWINS, each
from gir_cli.ops.haze import CELLS, Haze, between, grids, nodes
from gir_cli.rng import Rng


@lru_cache(maxsize=16)
def all_between(side: int) -> np.ndarray:
    """Return the interpolation weights of all grids side by side, (side, nodes of all grids)."""
    return np.concatenate([between(nodes(side, cell), cell, side) for cell in CELLS], axis=1)


def diagonal(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Return square `blocks` along the diagonal of one matrix."""
    side, start = sum(len(block) for block in blocks), 0
    matrix = np.zeros((side, side), dtype=np.float32)
    for block in blocks:
        matrix[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    return matrix


@TWINS.add("haze")
@dataclass(frozen=True)
class HazeByDepth:
    """Mix each picture with airlight by its depth.

    `grid` (N, M, M) holds the nodes of the smooth noise in the depth, and `weights` (side, M) interpolate
    between them; the rest, (N, 1, 1, 1), are the operator's parameters.
    """

    alike: ClassVar[tuple[str, ...]] = ()
    only: ClassVar[dict[str, tuple[Any, ...]]] = {"depth": (None,)}
    beta: Tensor
    airlight: Tensor
    top: Tensor
    span: Tensor
    grid: Tensor
    weights: Tensor

    @staticmethod
    def packed(operators: Sequence[Haze], rngs: Sequence[Rng], side: int) -> dict[str, Any]:
        grid = [diagonal(grids(rng, side, side)) for rng in rngs]
        plain = {name: each(operators, name) for name in ("beta", "airlight", "top", "span")}
        return {**plain, "grid": np.stack(grid), "weights": all_between(side)}

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        clear = torch.exp(-self.beta * self._depth(pixels.shape[-2]))
        return pixels * clear + self.airlight * (1 - clear)

    def _depth(self, height: int) -> Tensor:
        field = (self.weights @ self.grid @ self.weights.T)[:, None]
        field = field - field.amin((-2, -1), keepdim=True)
        field = field / field.amax((-2, -1), keepdim=True).clamp(min=1e-6)
        rows = torch.arange(height, device=field.device)[:, None] / height
        depth = 0.8 * (1 - self.top - self.span * rows).clamp(min=0) ** 2 + 0.2 * field
        return depth / torch.where(self.span == 1, depth.amax((-2, -1), keepdim=True).clamp(min=1e-6), 0.9)
