"""The one picture type of the house."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from gir_cli.image.levels import Levels


@dataclass(frozen=True)
class Image:
    """A picture, upright, and what came with it.

    `pixels` is float32 (H, W, 3), contiguous, RGB, sRGB-encoded, nominally in [0, 1]; a gray picture
    has three equal channels and `gray` set. `stored` holds them: that same array, or `Levels`, which
    is turned into it when `pixels` is first asked for. `alpha` is float32 (H, W) in [0, 1] or None, not
    multiplied into the colours. `depth` is '8', '16' or 'float' and `format` the name of the file's
    format, whose file was `lossless` or not. `icc`, `exif` (the bare TIFF structure) and `xmp` are
    the file's own bytes, `record` the provenance record found in it, `density` the pixels of a metre of the
    original, across and down. `notes` are sentences about
    what reading had to leave out or convert, for the user to be told.
    """

    stored: np.ndarray | Levels
    alpha: np.ndarray | None = None
    depth: str = "8"
    gray: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    format: str = "png"
    lossless: bool = True
    record: str | None = None
    notes: tuple[str, ...] = ()
    density: tuple[float, float] | None = None

    @cached_property
    def pixels(self) -> np.ndarray:
        """The pixels in float32."""
        return np.asarray(self.stored)

    @property
    def overshoots(self) -> bool:
        """Whether values lie beyond [0, 1], as only floats may."""
        floats = isinstance(self.stored, np.ndarray) and self.depth == "float"
        return bool(floats and (self.stored.min() < 0 or self.stored.max() > 1))

    @property
    def width(self) -> int:
        """Columns."""
        return self.stored.shape[1]

    @property
    def height(self) -> int:
        """Lines."""
        return self.stored.shape[0]

    @property
    def hides(self) -> bool:
        """Whether there are colours that alpha hides, among others that it does not."""
        return self.alpha is not None and bool((self.alpha <= 0).any() and (self.alpha > 0).any())

    def visible(self) -> np.ndarray:
        """Return the pixels to work on: where alpha is 0, the hidden colour is filled in from around.

        So a blur or a network does not pull into sight what transparency hides. Without hidden
        pixels these are the pixels themselves.
        """
        if self.alpha is None or not self.hides:
            return self.pixels
        return filled(self.pixels, self.alpha > 0)

    def replaced(self, pixels: np.ndarray | Levels) -> Image:
        """Return this picture with other `pixels` of the same or another size; alpha follows.

        Where alpha is 0 at the same size, the hidden colour stays as it was.
        """
        if self.alpha is None:
            return replace(self, stored=pixels)
        height, width = pixels.shape[:2]
        if self.alpha.shape == (height, width):
            hidden = self.alpha[:, :, None] <= 0
            stored = np.where(hidden, self.pixels, np.asarray(pixels)) if hidden.any() else pixels
            return replace(self, stored=stored)
        shrinks = height * width < self.alpha.size
        alpha = cv2.resize(self.alpha, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return replace(self, stored=pixels, alpha=alpha)


def filled(pixels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return `pixels` (H, W, 3) with those that are not `known` (bool, H, W) filled in smoothly.

    A pyramid: means of the known pixels going up, and going down each hole takes the level above
    (Gortler et al., The Lumigraph, 1996, section 3.4).
    """
    if known.all() or min(known.shape) < 2:
        return pixels
    weight = known.astype(np.float32)
    half = (known.shape[1] + 1) // 2, (known.shape[0] + 1) // 2
    small_weight = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    small = cv2.resize(pixels * weight[:, :, None], half, interpolation=cv2.INTER_AREA)
    small = small / np.maximum(small_weight, np.float32(1e-6))[:, :, None]
    above = filled(small, small_weight > 0)
    large = cv2.resize(above, known.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(known[:, :, None], pixels, large)
