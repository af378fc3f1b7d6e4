"""Lossy compression, by the codec itself; each quantises its own input to 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import cv2
import numpy as np

from gir_cli.errors import InputError
from gir_cli.ops import OPERATORS
from gir_cli.params import Checked, Param
from gir_cli.rng import Rng

SUBSAMPLING = {
    "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}


#: The longest side that a format can hold, in pixels.
LIMITS = {".jpg": 65500, ".webp": 16383}


def through(pixels: np.ndarray, extension: str, settings: list[int]) -> np.ndarray:
    """Return `pixels` after 8-bit encoding as `extension` with OpenCV's `settings`, and decoding.

    Raises InputError where the format can't hold the size.
    """
    levels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    height, width, channels = levels.shape
    if max(height, width) > LIMITS[extension]:
        raise InputError(f"{width} × {height} pixels are more than a {extension[1:]} file can hold")
    # OpenCV keeps colour as BGR.
    done, data = cv2.imencode(extension, levels[..., ::-1], settings)
    assert done and data is not None
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    return decoded.reshape(levels.shape)[..., ::-1].astype(np.float32) / np.float32(255)


@OPERATORS.add("jpeg")
@dataclass(frozen=True)
class Jpeg(Checked):
    """Compress as baseline JPEG with libjpeg's tables.

    `dx` and `dy` shift the 8×8 grid against the picture's corner, as when an already compressed
    picture was cropped: the picture is extended by reflection and cut back.
    """

    stage: ClassVar[str] = "storage"
    rank: ClassVar[int] = 0
    shown: ClassVar[tuple[float, ...]] = (40, 20, 10)
    identity: ClassVar[dict[str, float]] = {}
    quality: Annotated[int, Param("quality", 1, 100)] = 40
    subsampling: Annotated[Literal["420", "422", "444"], Param("chroma subsampling")] = "420"
    dx: Annotated[int, Param("shift of the grid to the left", 0, 15, "pixels")] = 0
    dy: Annotated[int, Param("shift of the grid upwards", 0, 15, "pixels")] = 0

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        border = (self.dy, 0, self.dx, 0)
        shifted = cv2.copyMakeBorder(pixels, *border, cv2.BORDER_REFLECT_101) if any(border) else pixels
        shifted = shifted.reshape(*shifted.shape[:2], -1)
        sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SUBSAMPLING[self.subsampling]]
        coded = through(shifted, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, self.quality, *sampling])
        return coded[self.dy :, self.dx :]


@OPERATORS.add("webp")
@dataclass(frozen=True)
class WebP(Checked):
    """Compress as lossy WebP, whose chroma is always halved."""

    stage: ClassVar[str] = "storage"
    rank: ClassVar[int] = 1
    shown: ClassVar[tuple[float, ...]] = (50, 20, 5)
    identity: ClassVar[dict[str, float]] = {}
    quality: Annotated[int, Param("quality", 1, 100)] = 30

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray:
        return through(pixels, ".webp", [cv2.IMWRITE_WEBP_QUALITY, self.quality])
