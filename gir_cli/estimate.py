"""What can be told of a degradation from the picture alone."""

from __future__ import annotations

import numpy as np

from gir_cli.image import Levels

ENOUGH = 1 << 24  # pixels that the noise is estimated from at most


def noise_level(pixels: np.ndarray | Levels) -> float:
    """Return an estimate of the standard deviation of white noise in `pixels` (H, W, C), in 8-bit levels.

    The median of the absolute diagonal Haar details, which the noise outnumbers edges in, divided by that of
    the normal distribution (Donoho and Johnstone, 1994, Sec. 5). Texture counts as noise; pictures without
    details, or of less than two rows or columns, have none. Of large pictures a part of the rows is looked at.
    """
    height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
    step = 2 * (1 + height * width // ENOUGH)
    found = [np.abs(_details(pixels[top : top + 2, :width])).ravel() for top in range(0, height, step)]
    return 255 * float(np.median(np.concatenate(found))) / 0.6745 if width and found else 0.0


def _details(pair: np.ndarray) -> np.ndarray:
    """Return the diagonal Haar details of two rows."""
    pair = np.clip(pair, 0, 1)
    return (pair[0, ::2] - pair[1, ::2] - pair[0, 1::2] + pair[1, 1::2]) / 2
