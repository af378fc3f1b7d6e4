"""Images between bytes and pixels. (Being written.)"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from gir_cli.errors import InputError


@dataclass(frozen=True)
class Image:
    pixels: np.ndarray


def decode(data: bytes) -> Image:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError("not an image I can read")
    return Image(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.float32) / 255)
