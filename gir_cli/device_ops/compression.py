"""JPEG on a batch, equal bit for bit to libjpeg-turbo's "islow" coder and decoder.

All values are whole numbers. The two passes of a transform are matrix products in float64, where
they are exact, and are rounded where libjpeg rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gir_cli.device_ops import TWINS
from gir_cli.ops import compression
from gir_cli.rng import Rng

#: ISO/IEC 10918-1, tables K.1 and K.2: luminance, chrominance.
TABLES = np.array(
    [
        [
            [16, 11, 10, 16, 24, 40, 51, 61],
            [12, 12, 14, 19, 26, 58, 60, 55],
            [14, 13, 16, 24, 40, 57, 69, 56],
            [14, 17, 22, 29, 51, 87, 80, 62],
            [18, 22, 37, 56, 68, 109, 103, 77],
            [24, 35, 55, 64, 81, 104, 113, 92],
            [49, 64, 78, 87, 103, 121, 120, 101],
            [72, 92, 95, 98, 112, 100, 103, 99],
        ],
        [
            [17, 18, 24, 47, 99, 99, 99, 99],
            [18, 21, 26, 66, 99, 99, 99, 99],
            [24, 26, 56, 99, 99, 99, 99, 99],
            [47, 66, 99, 99, 99, 99, 99, 99],
            *[[99] * 8] * 4,
        ],
    ]
)


@lru_cache(maxsize=100)
def tables(quality: int) -> np.ndarray:
    """Return the quantisation tables (2, 8, 8) of `quality`, luminance and chrominance (libjpeg's jcparam.c)."""
    share = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((TABLES * share + 50) // 100, 1, 255)


def _fixed(value: float, bits: int) -> int:
    return round(value * (1 << bits))


def _transform() -> np.ndarray:
    """Return the transform of 8 samples to 8 coefficients as whole numbers (8, 8), 2^13 · √8 times the DCT.

    The sums follow jfdctint.c, since its constants are rounded one by one.
    """
    identity = np.eye(8)
    (a, b, c, d), (i, j, k, l) = identity[:4] + identity[:3:-1], identity[:4] - identity[:3:-1]  # noqa: E741
    turn = (a + d - a - d) + (a - d + b - c) * _fixed(0.541196100, 13)
    whole = (i + j + k + l) * _fixed(1.175875602, 13)
    outer, inner = (i + l) * _fixed(0.899976223, 13), (j + k) * _fixed(2.562915447, 13)
    first, second = whole - (j + l) * _fixed(1.961570560, 13), whole - (i + k) * _fixed(0.390180644, 13)
    return np.stack(
        [
            (a + b + c + d) * (1 << 13),
            i * _fixed(1.501321110, 13) - outer + second,
            turn + (a - d) * _fixed(0.765366865, 13),
            j * _fixed(3.072711026, 13) - inner + first,
            (a + d - b - c) * (1 << 13),
            k * _fixed(2.053119869, 13) - inner + second,
            turn - (b - c) * _fixed(1.847759065, 13),
            l * _fixed(0.298631336, 13) - outer + first,
        ]
    )


@cache
def _matrix(device: torch.device) -> Tensor:
    return torch.from_numpy(_transform()).to(device)


def _passed(blocks: Tensor, matrix: Tensor, shift: int) -> Tensor:
    """Return the rows of `blocks` (…, 8, 8) times `matrix`, over 2^shift and rounded, as columns."""
    return torch.floor(blocks @ matrix * 0.5**shift + 0.5).mT


def coded(planes: Tensor, table: Tensor) -> Tensor:
    """Return `planes`, int32 levels (N, C, H, W), after transform, quantisation by `table` (N, 8, 8), and back.

    Sizes that are no multiple of 8 are extended by their last row and column (jcsample.c, jfdctint.c,
    jcdctmgr.c, jidctint.c). The two passes leave coefficients 8 times too large, so 8 divides with them.
    """
    height, width = planes.shape[-2:]
    whole = extended(planes, -height % 8, -width % 8).double() - 128
    matrix = _matrix(planes.device)
    blocks = whole.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)).transpose(-3, -2)
    found = _passed(_passed(blocks, matrix.T, 11), matrix.T, 15)
    step = table.double()[:, None, None, None]
    kept = torch.sign(found) * torch.floor((found.abs() + 4 * step) / (8 * step)) * step
    levels = _passed(_passed(kept.mT, matrix, 11), matrix, 18).mT + 128
    joined = levels.transpose(-3, -2).flatten(-2).flatten(-3, -2)
    return joined[..., :height, :width].clamp(0, 255).int()


def extended(planes: Tensor, down: int, right: int) -> Tensor:
    """Return `planes` (…, H, W) with the last row `down` times more and the last column `right` times more."""
    height, width = planes.shape[-2:]
    rows = torch.arange(height + down, device=planes.device).clamp(max=height - 1)
    columns = torch.arange(width + right, device=planes.device).clamp(max=width - 1)
    return planes[..., rows[:, None], columns]


def to_ycc(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Return luma (N, 1, H, W) and chroma (N, 2, H, W) of int32 levels `rgb` (N, 3, H, W) (jccolor.c)."""
    red, green, blue = rgb.unbind(1)
    half, centre = 1 << 15, (128 << 16) + (1 << 15) - 1
    y = _fixed(0.299, 16) * red + _fixed(0.587, 16) * green + _fixed(0.114, 16) * blue + half
    cb = _fixed(0.5, 16) * blue - _fixed(0.168735892, 16) * red - _fixed(0.331264108, 16) * green + centre
    cr = _fixed(0.5, 16) * red - _fixed(0.418687589, 16) * green - _fixed(0.081312411, 16) * blue + centre
    return (y >> 16)[:, None], torch.stack([cb, cr], 1) >> 16


def to_rgb(y: Tensor, chroma: Tensor) -> Tensor:
    """Return int32 levels (N, 3, H, W) of luma `y` (N, 1, H, W) and `chroma` (N, 2, H, W) (jdcolor.c)."""
    half = 1 << 15
    cb, cr = (chroma - 128).unbind(1)
    red = (_fixed(1.402, 16) * cr + half) >> 16
    green = (-_fixed(0.34414, 16) * cb - _fixed(0.71414, 16) * cr + half) >> 16
    blue = (_fixed(1.772, 16) * cb + half) >> 16
    return (y + torch.stack([red, green, blue], 1)).clamp(0, 255)


def halved(planes: Tensor) -> Tensor:
    """Return the means of 2×2 levels, halves rounded down and up in turn (jcsample.c).

    The width is extended to whole blocks before; the height, as far as it is odd.
    """
    height, width = planes.shape[-2:]
    even = extended(planes, height % 2, -width % 16)
    sums = even.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).sum((-3, -1), dtype=torch.int32)
    return (sums + 1 + torch.arange(sums.shape[-1], device=sums.device, dtype=torch.int32) % 2) >> 2


def doubled(planes: Tensor) -> Tensor:
    """Return `planes` (…, H, W) at twice the size, 9:3:3:1 from the nearest four (jdsample.c, "fancy" up-sampling).

    As in libjpeg a width of one or two is repeated instead.
    """
    if planes.shape[-1] <= 2:
        return planes.repeat_interleave(2, -2).repeat_interleave(2, -1)
    sums = _leaning(_leaning(planes, -2), -1)
    return (sums + 8 - torch.arange(sums.shape[-1], device=sums.device, dtype=torch.int32) % 2) >> 4


def _leaning(planes: Tensor, dim: int) -> Tensor:
    """Return each line of `planes` along `dim` as two: 3 times itself plus the one before, and plus the one after."""
    place = torch.arange(planes.shape[dim], device=planes.device)
    before = planes.index_select(dim, (place - 1).clamp(min=0))
    after = planes.index_select(dim, (place + 1).clamp(max=len(place) - 1))
    return torch.stack([3 * planes + before, 3 * planes + after], dim).flatten(dim - 1, dim)


@TWINS.add("jpeg")
@dataclass(frozen=True)
class Jpeg:
    """Compress each picture as baseline JPEG; `table` (N, 2, 8, 8) quantises its luma and chroma."""

    alike: ClassVar[tuple[str, ...]] = ("subsampling",)
    only: ClassVar[dict[str, tuple[Any, ...]]] = {"subsampling": ("420", "444"), "dx": (0,), "dy": (0,)}
    subsampling: str
    table: Tensor

    @staticmethod
    def packed(operators: Sequence[compression.Jpeg], rngs: Sequence[Rng], side: int) -> dict[str, Any]:
        table = np.stack([tables(operator.quality) for operator in operators]).astype(np.uint8)
        return {"subsampling": operators[0].subsampling, "table": table}

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        height, width = pixels.shape[-2:]
        y, chroma = to_ycc((pixels.clamp(0, 1) * 255).round().int())
        y = coded(y, self.table[:, 0])
        if self.subsampling == "444":
            chroma = coded(chroma, self.table[:, 1])
        else:
            small = coded(halved(chroma), self.table[:, 1])[..., : (width + 1) // 2]
            chroma = doubled(small)[..., :height, :width]
        return to_rgb(y, chroma).float() / 255
