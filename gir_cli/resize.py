"""Another size for a picture: kernels and antialiasing as in MATLAB's imresize and Pillow."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

ROWS = 64  # output rows made by one matrix product; keeps the cost of a resize proportional to its pixels


def bicubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -0.5, the kernel of MATLAB's imresize and of Pillow."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _bilinear(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0.0)


def _box(x: np.ndarray) -> np.ndarray:
    return ((x > -0.5) & (x <= 0.5)).astype(float)


KERNELS = {"bicubic": (bicubic, 2.0), "bilinear": (_bilinear, 1.0), "box": (_box, 0.5)}


@lru_cache(maxsize=64)
def _blocks(before: int, after: int, kernel: str) -> tuple[tuple[int, int, np.ndarray], ...]:
    """Return (first, last, weights) for each block of output rows: weights @ rows[first:last].

    When shrinking, the kernel is stretched by the factor, so that it is a low-pass filter
    (antialiasing). Weights beyond the border are dropped and the rest sum to 1.
    """
    function, support = KERNELS[kernel]
    factor = before / after
    stretch = max(factor, 1.0)
    blocks = []
    for start in range(0, after, ROWS):
        centres = (np.arange(start, min(start + ROWS, after)) + 0.5) * factor
        first = max(math.floor(centres[0] - support * stretch), 0)
        last = min(math.ceil(centres[-1] + support * stretch) + 1, before)
        taps = np.arange(first, last) + 0.5
        weights = function((taps[None] - centres[:, None]) / stretch)
        blocks.append((first, last, (weights / weights.sum(1, keepdims=True)).astype(np.float32)))
    return tuple(blocks)


def _resized_rows(pixels: np.ndarray, after: int, kernel: str) -> np.ndarray:
    rows = pixels.reshape(len(pixels), -1)
    parts = [weights @ rows[first:last] for first, last, weights in _blocks(len(pixels), after, kernel)]
    return np.concatenate(parts).reshape(after, *pixels.shape[1:])


def resized(pixels: np.ndarray, width: int, height: int, kernel: str = "bicubic") -> np.ndarray:
    """Return `pixels` (H, W, C) at another size.

    `bicubic`, `bilinear` and `box` are antialiased when shrinking, as in MATLAB and Pillow;
    `nearest` takes one pixel; `area` is OpenCV's mean of what a pixel covers, also when enlarging: blocks.
    """
    if kernel == "nearest":
        return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).reshape(height, width, -1)
    if kernel == "area":
        return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, -1)
    tall = _resized_rows(pixels, height, kernel)
    wide = _resized_rows(cv2.transpose(tall), width, kernel)
    return cv2.transpose(wide).reshape(height, width, -1)
