"""Windows of pixels and where pixels lie in them, for attention within windows (Liu et al., 2021, Sec. 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from torch import Tensor
from torch.nn import functional

REMEMBERED = 4  # masks and indices of so many sizes: a U-Net has that many


def remembered(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep the latest results of `function`, but for a network that is being exported.

    There sizes are symbols, and a tensor without values must not come back in a later run.
    """
    kept = lru_cache(maxsize=REMEMBERED)(function)

    @wraps(function)
    def call(*arguments: object) -> Tensor:
        return function(*arguments) if torch.compiler.is_compiling() else kept(*arguments)

    return call


def cut(x: Tensor, side: int) -> Tensor:
    """Return the windows of a picture, row by row: (N, H, W, C) -> (N, windows, side², C)."""
    grid = x.unflatten(2, (-1, side)).unflatten(1, (-1, side))
    return grid.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def joined(windows: Tensor, height: int, width: int) -> Tensor:
    """Return the picture that `cut` made windows of: (N, windows, side², C) -> (N, H, W, C)."""
    side = math.isqrt(windows.shape[2])
    grid = windows.unflatten(2, (side, side)).unflatten(1, (height // side, width // side))
    return grid.transpose(2, 3).flatten(3, 4).flatten(1, 2)


@remembered
def relative_index(side: int, device: torch.device) -> Tensor:
    """Return for each pair of pixels of a window, (side², side²), the row of the bias table that it has.

    Row (dy + side - 1) · (2 · side - 1) + dx + side - 1, for a query that lies (dy, dx) below and right of the key.
    """
    with torch.inference_mode(False):
        row, column = (axis.flatten() for axis in torch.meshgrid(*[torch.arange(side)] * 2, indexing="ij"))
        down, across = (place[:, None] - place[None] + side - 1 for place in (row, column))
        return (down * (2 * side - 1) + across).to(device)


@remembered
def apart(height: int, width: int, side: int, shift: int, device: torch.device) -> Tensor:
    """Return where attention is cut after a cyclic shift: bool (windows, side², side²), true for pairs kept apart.

    Rolling a picture up and left by `shift` puts its first rows and columns behind its last; in the
    windows where they meet, pixels that were no neighbours must not see each other.
    """
    with torch.inference_mode(False):
        down, across = (torch.arange(size) >= size - shift for size in (height, width))
        region = 2 * down[:, None].int() + across.int()
        groups = cut(region[None, ..., None], side)[0, ..., 0]
        return (groups[:, :, None] != groups[:, None]).to(device)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
    """Return attention within windows: (N, windows, heads, L, d) each -> same.

    `bias` (heads, L, L) and `mask` (windows, L, L), if any, are added to the scaled products.
    """
    number, count = query.shape[:2]
    added = bias[None] if mask is None else bias[None] + mask[:, None].to(bias.dtype)
    if mask is not None and number > 1:
        added = added.repeat(number, 1, 1, 1)
    flat = (part.flatten(0, 1) for part in (query, key, value))
    out = functional.scaled_dot_product_attention(*flat, attn_mask=added.to(query.dtype))
    return out.unflatten(0, (number, count))
