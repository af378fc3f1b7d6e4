"""Tasks that repeat, to the draw, how published tables make their inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from gir_cli.color import video_luma
from gir_cli.ops.compression import through
from gir_cli.resize import resized


@dataclass(frozen=True)
class UnclippedNoise:
    """White Gaussian noise that is neither clipped nor rounded, the same field for pictures of one size.

    As KAIR, SwinIR and Restormer make it: `np.random.seed(0)` for each picture, then `normal(0, sigma / 255,
    (H, W, 3))` added to float32 RGB. `sigma` is in 8-bit levels. `seed` is not looked at.
    """

    name: str
    sigma: float
    group: ClassVar[str] = "denoise"
    metric: ClassVar[str] = "psnr"
    border: ClassVar[int] = 0
    gray: ClassVar[bool] = False

    def pair(self, clean: np.ndarray, stem: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `clean` (float32 (H, W, 3)) and it with noise, which leaves [0, 1]."""
        rng = np.random.RandomState(0)
        return clean, (clean + rng.normal(0, self.sigma / 255, clean.shape)).astype(np.float32)


@dataclass(frozen=True)
class Compressed:
    """JPEG at `quality`: of the colours, 4:2:0; or if `gray` of the rounded luma of video range, three equal channels.

    Gray as DnCNN and SwinIR do it to colour pictures (MATLAB's rgb2ycbcr); libjpeg's tables.
    """

    name: str
    quality: int
    gray: bool
    metric: ClassVar[str] = "psnr"
    border: ClassVar[int] = 0

    @property
    def group(self) -> str:
        """Gray and colour scores are not to be averaged."""
        return "gray JPEG" if self.gray else "colour JPEG"

    def pair(self, clean: np.ndarray, stem: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what `clean` (float32 (H, W, 3)) is held against, and it compressed."""
        settings = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        if not self.gray:
            return clean, through(clean, ".jpg", settings)
        plane = np.rint(255 * video_luma(clean)) / np.float32(255)
        return plane.repeat(3, 2), through(plane, ".jpg", settings).repeat(3, 2)


@dataclass(frozen=True)
class Enlarged:
    """A picture shrunk `factor` times by antialiased bicubic, rounded to 8 bits, and enlarged back by bicubic.

    For networks that keep the size: they are given what bicubic enlargement makes of the usual small picture
    (SRCNN's setting). The picture is first cut to multiples of `factor`; scored as the field does, on the luma
    of video range without a border of `factor` pixels.
    """

    name: str
    factor: int
    group: ClassVar[str] = "sr"
    metric: ClassVar[str] = "psnr-y"
    gray: ClassVar[bool] = False

    @property
    def border(self) -> int:
        """Pixels on every side that are not measured."""
        return self.factor

    def pair(self, clean: np.ndarray, stem: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `clean` (float32 (H, W, 3)) cut, and it at the same size with the small picture's detail."""
        height, width = (side // self.factor for side in clean.shape[:2])
        clean = np.ascontiguousarray(clean[: height * self.factor, : width * self.factor])
        small = rounded(resized(clean, width, height))
        return clean, rounded(resized(small, width * self.factor, height * self.factor))


def rounded(pixels: np.ndarray) -> np.ndarray:
    """Return `pixels` as an 8-bit file holds them, float32."""
    return (np.rint(pixels.clip(0, 1) * 255) / 255).astype(np.float32)
