"""Differences pixel by pixel."""

from __future__ import annotations

import math

import numpy as np

from gir_cli.color import video_luma
from gir_cli.metrics import METRICS, facts


@METRICS.add("psnr")
@facts(perfect=math.inf, unit="dB")
def psnr(restored: np.ndarray, clean: np.ndarray) -> float:
    """Peak signal-to-noise ratio over all channels: 10 log10(1 / MSE); infinite for equal pictures."""
    error = np.mean(np.square(restored - clean))
    return math.inf if error == 0 else float(-10 * np.log10(error))


@METRICS.add("psnr-y")
@facts(perfect=math.inf, unit="dB")
def psnr_y(restored: np.ndarray, clean: np.ndarray) -> float:
    """PSNR of the luma of video range, unrounded, with 255 as its peak, as super-resolution is scored."""
    return psnr(video_luma(restored), video_luma(clean))


@METRICS.add("mae")
@facts(perfect=0.0, unit="levels")
def mae(restored: np.ndarray, clean: np.ndarray) -> float:
    """Mean absolute error over all channels, in 8-bit levels."""
    return float(255 * np.mean(np.abs(restored - clean)))
