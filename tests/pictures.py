"""What tests share: pictures to and from bytes, and how far apart they are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parent.parent


def encoded(values: np.ndarray, extension: str = ".png") -> bytes:
    """Return `values` (H, W, 3) RGB or (H, W) as a file's bytes."""
    return cv2.imencode(extension, values[..., ::-1] if values.ndim == 3 else values)[1].tobytes()


def decoded(data: bytes) -> np.ndarray:
    """Return the file's values, RGB or gray, as they are."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert values is not None
    return values[..., ::-1] if values.ndim == 3 else values


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return the PSNR of two uint8 arrays in dB."""
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))
