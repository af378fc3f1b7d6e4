"""Convolution on a batch, with a kernel for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gir_cli.device_ops import TWINS
from gir_cli.rng import Rng


def stacked(kernels: Sequence[np.ndarray]) -> np.ndarray:
    """Return odd square kernels as one array, float32 (N, K, K), each in the middle of zeros."""
    side = max(len(kernel) for kernel in kernels)
    stack = np.zeros((len(kernels), side, side), dtype=np.float32)
    for place, kernel in zip(stack, kernels, strict=True):
        border = (side - len(kernel)) // 2
        place[border : side - border, border : side - border] = kernel
    return stack


def reflected(pixels: Tensor, border: int) -> Tensor:
    """Return `pixels` (N, C, H, W) with a border on each side, reflected without repeating the edge.

    As OpenCV's BORDER_REFLECT_101, and unlike torch's own padding, the border may be wider than the picture.
    """
    rows, columns = (_there_and_back(size, border, pixels.device) for size in pixels.shape[-2:])
    return pixels[..., rows[:, None], columns]


def _there_and_back(size: int, border: int, device: torch.device) -> Tensor:
    period = max(2 * (size - 1), 1)
    place = torch.arange(-border, size + border, device=device) % period
    return torch.minimum(place, period - place)


def filtered(pixels: Tensor, kernels: Tensor) -> Tensor:
    """Return `pixels` (N, C, H, W) convolved with `kernels` (N, K, K), K odd; borders are reflected.

    By the Fourier transform, whose time doesn't depend on K and whose result not on the batch.
    """
    height, width = pixels.shape[-2:]
    border = kernels.shape[-1] // 2
    wide = reflected(pixels, border)
    size = wide.shape[-2:]
    # What the transform carries around the edge falls on the border alone.
    product = torch.fft.rfft2(wide) * torch.fft.rfft2(kernels, s=size)[:, None]
    first = 2 * border
    return torch.fft.irfft2(product, s=size)[..., first : first + height, first : first + width]


@TWINS.add("blur")
@TWINS.add("motion")
@TWINS.add("defocus")
@TWINS.add("ringing")
@dataclass(frozen=True)
class Filter:
    """Convolve each picture with its kernel: `kernels` (N, K, K)."""

    alike: ClassVar[tuple[str, ...]] = ()
    only: ClassVar[dict[str, tuple[Any, ...]]] = {}
    kernels: Tensor

    @staticmethod
    def packed(operators: Sequence[Any], rngs: Sequence[Rng], side: int) -> dict[str, Any]:
        return {"kernels": stacked([operator.kernel() for operator in operators])}

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        return filtered(pixels, self.kernels)
