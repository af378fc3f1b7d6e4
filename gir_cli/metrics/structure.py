"""Structural similarity, at one scale and at several."""

from __future__ import annotations

import cv2
import numpy as np

from gir_cli.color import video_luma
from gir_cli.metrics import METRICS, Undefined, facts, size

WINDOW, SIGMA = 11, 1.5
STEADY_MEAN, STEADY_SPREAD = 0.01**2, 0.03**2  # C1 and C2 with K = .01, .03 and a peak of 1
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first


@METRICS.add("ssim")
@facts(perfect=1.0)
def ssim(restored: np.ndarray, clean: np.ndarray) -> float:
    """Structural similarity (Wang et al., 2004), mean over the channels and over whole windows.

    Gaussian window of 11×11 with sigma 1.5; raises Undefined where the picture is smaller.
    """
    likeness, structure = _compared(restored, clean)
    return float(np.mean(likeness * structure))


@METRICS.add("ssim-y")
@facts(perfect=1.0)
def ssim_y(restored: np.ndarray, clean: np.ndarray) -> float:
    """SSIM of the luma of video range, unrounded, with 255 as its peak."""
    return ssim(video_luma(restored), video_luma(clean))


@METRICS.add("ms-ssim")
@facts(perfect=1.0)
def ms_ssim(restored: np.ndarray, clean: np.ndarray) -> float:
    """Multi-scale SSIM (Wang et al., 2003): structure at five scales, luminance at the coarsest; mean over channels.

    Each scale halves by 2×2 means. Negative terms count as 0, for their powers would not be real.
    Raises Undefined unless both sides are over 160 pixels.
    """
    least = (WINDOW - 1) * 2 ** (len(WEIGHTS) - 1)
    if min(restored.shape[:2]) <= least:
        raise Undefined(f"ms-ssim needs more than {least} pixels a side, not {size(restored)}")
    product = np.ones(restored.shape[2])
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            restored, clean = _halved(restored), _halved(clean)
        likeness, structure = _compared(restored, clean)
        term = likeness * structure if scale == len(WEIGHTS) - 1 else structure
        product *= np.maximum(term.mean((0, 1)), 0) ** weight
    return float(product.mean())


def _compared(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the luminance term and the contrast-structure term of SSIM in every whole window."""
    mean_x, mean_y = _smooth(x), _smooth(y)
    square_x, square_y, both = mean_x * mean_x, mean_y * mean_y, mean_x * mean_y
    spread = _smooth(x * x + y * y) - square_x - square_y  # the two variances are only ever summed
    together = _smooth(x * y) - both
    likeness = (2 * both + STEADY_MEAN) / (square_x + square_y + STEADY_MEAN)
    return likeness, (2 * together + STEADY_SPREAD) / (spread + STEADY_SPREAD)


def _smooth(planes: np.ndarray) -> np.ndarray:
    """Return Gaussian means of float64 `planes` (H, W, C) where the window is whole: (H - 10, W - 10, C)."""
    height, width = planes.shape[:2]
    if min(height, width) < WINDOW:
        raise Undefined(f"ssim needs {WINDOW} pixels a side, not {size(planes)}")
    window = cv2.getGaussianKernel(WINDOW, SIGMA)
    rim = WINDOW // 2
    smooth = cv2.sepFilter2D(planes, cv2.CV_64F, window, window).reshape(planes.shape)
    return smooth[rim : height - rim, rim : width - rim]


def _halved(planes: np.ndarray) -> np.ndarray:
    """Return 2×2 means; an odd side gets a line of zeros at its start, as in pytorch-msssim, whose scores are usual."""
    height, width = planes.shape[:2]
    even = np.pad(planes, ((height % 2, 0), (width % 2, 0), (0, 0)))
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
