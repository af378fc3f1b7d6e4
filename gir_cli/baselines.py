"""Classical methods that need no training, so that a network is seen beside what OpenCV gives for nothing.

Each is a dataclass of parameters that is called on pixels, float32 (H, W, 3) sRGB, clips them to [0, 1], and
returns as much. A blur that is to be undone is told, as if it were known; noise is estimated if it is not told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

import cv2
import numpy as np

from gir_cli.catalog import Catalog
from gir_cli.chain import spelled
from gir_cli.color import luma
from gir_cli.estimate import noise_level
from gir_cli.params import Checked, Param


class Baseline(Protocol):
    """A method with its parameters."""

    name: str

    def __call__(self, pixels: np.ndarray) -> np.ndarray: ...


BASELINES: Catalog[type[Baseline]] = Catalog("baseline", __name__)


def baseline(text: str) -> Baseline:
    """Return the method that `text`, such as ``wiener:sigma=1.2``, spells; UsageError if there is no such."""
    name, values = spelled(text, BASELINES)
    return BASELINES[name](**values)


def _levels(pixels: np.ndarray) -> np.ndarray:
    """Return `pixels` as OpenCV's 8-bit functions take them."""
    return np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)


def _float(levels: np.ndarray) -> np.ndarray:
    return levels.astype(np.float32) / np.float32(255)


@BASELINES.add("nlm")
@dataclass(frozen=True)
class NonLocalMeans(Checked):
    """Mean of patches that look alike (Buades et al., 2005), with OpenCV's strength set to the noise."""

    sigma: Annotated[float | None, Param("deviation of the noise; estimated if not given", 0, 255)] = None

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        sigma = noise_level(pixels.clip(0, 1)) if self.sigma is None else self.sigma
        return _float(cv2.fastNlMeansDenoisingColored(_levels(pixels), None, 0.6 * sigma, 0.6 * sigma, 7, 21))


@BASELINES.add("bilateral")
@dataclass(frozen=True)
class Bilateral(Checked):
    """Mean of near pixels of like colour (Tomasi and Manduchi, 1998), like meaning within 4 deviations of the noise."""

    sigma: Annotated[float | None, Param("deviation of the noise; estimated if not given", 0, 255)] = None
    reach: Annotated[float, Param("deviation of the distances, in pixels", 0.1, 50)] = 2.0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        sigma = noise_level(pixels.clip(0, 1)) if self.sigma is None else self.sigma
        likeness = max(4 * sigma / 255, 1e-3)  # OpenCV takes 0 for 1
        return cv2.bilateralFilter(pixels.clip(0, 1), -1, likeness, self.reach).clip(0, 1)


@BASELINES.add("wiener")
@dataclass(frozen=True)
class Wiener(Checked):
    """Undo a Gaussian blur by the linear filter of least squared error, H / (H² + noise), mirrored at the borders."""

    sigma: Annotated[float, Param("deviation of the blur, in pixels", 0.1, 50)] = 2.0
    noise: Annotated[float, Param("power of the noise over that of the picture", 0, 1)] = 0.002

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        rim = int(4 * self.sigma) + 1
        wide = cv2.copyMakeBorder(pixels.clip(0, 1), rim, rim, rim, rim, cv2.BORDER_REFLECT)
        down, across = np.fft.fftfreq(wide.shape[0])[:, None], np.fft.rfftfreq(wide.shape[1])
        passed = np.exp(-2 * (np.pi * self.sigma) ** 2 * (down**2 + across**2))
        inverse = passed / (passed**2 + self.noise + 1e-12)  # where nothing passes, nothing comes back
        sharp = np.fft.irfft2(np.fft.rfft2(wide, axes=(0, 1)) * inverse[..., None], wide.shape[:2], axes=(0, 1))
        return sharp[rim : rim + height, rim : rim + width].clip(0, 1).astype(np.float32)


@BASELINES.add("richardson-lucy")
@dataclass(frozen=True)
class RichardsonLucy(Checked):
    """Undo a Gaussian blur by the iteration that makes Poisson counts most likely (Richardson, 1972; Lucy, 1974)."""

    sigma: Annotated[float, Param("deviation of the blur, in pixels", 0.1, 50)] = 2.0
    steps: Annotated[int, Param("iterations", 1, 1000)] = 20

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        seen = np.maximum(pixels.clip(0, 1), np.float32(1e-4))
        found = seen
        for _ in range(self.steps):
            found = found * self._blurred(seen / self._blurred(found))
        return found.clip(0, 1)

    def _blurred(self, pixels: np.ndarray) -> np.ndarray:
        return np.maximum(cv2.GaussianBlur(pixels, (0, 0), self.sigma), np.float32(1e-6))


@BASELINES.add("clahe")
@dataclass(frozen=True)
class Clahe(Checked):
    """Spread the histogram of lightness, tile by tile (Zuiderveld, 1994)."""

    limit: Annotated[float, Param("how far contrast is raised", 0, 40)] = 2.0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        lab = cv2.cvtColor(_levels(pixels), cv2.COLOR_RGB2LAB)
        lab[..., 0] = cv2.createCLAHE(self.limit, (8, 8)).apply(lab[..., 0])
        return _float(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


@BASELINES.add("gamma")
@dataclass(frozen=True)
class Gamma(Checked):
    """Raise values to the power that brings the mean luma to `target`; brighter pictures stay as they are."""

    target: Annotated[float, Param("mean luma wanted", 0.01, 0.99)] = 0.42

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        pixels = pixels.clip(0, 1)
        mean = float(luma(pixels).mean())
        power = np.log(self.target) / np.log(max(mean, 1e-3)) if mean < self.target else 1.0
        return pixels ** np.float32(power)


@BASELINES.add("dark-channel")
@dataclass(frozen=True)
class DarkChannel(Checked):
    """Remove haze as far as every patch then holds something dark (He et al., 2009), edges by the guided filter."""

    strength: Annotated[float, Param("share of the haze that is removed", 0, 1)] = 0.95
    least: Annotated[float, Param("least transmission", 0.01, 1)] = 0.1

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        pixels = pixels.clip(0, 1)
        dark = _darkest(pixels)
        count = max(dark.size // 1000, 1)  # the haziest 0.1 % tell the airlight
        haziest = np.argpartition(dark.ravel(), -count)[-count:]
        air = np.maximum(pixels.reshape(-1, 3)[haziest].mean(0), np.float32(0.05))
        clear = _guided(1 - np.float32(self.strength) * _darkest(pixels / air), luma(pixels))
        clear = np.maximum(clear, np.float32(self.least))[..., None]
        return ((pixels - air) / clear + air).clip(0, 1)


def _darkest(pixels: np.ndarray, side: int = 15) -> np.ndarray:
    return cv2.erode(pixels.min(2), np.ones((side, side), np.uint8))


def _guided(plane: np.ndarray, guide: np.ndarray, side: int = 81, flat: float = 1e-3) -> np.ndarray:
    """Return `plane` (H, W) smoothed but for the edges of `guide` (H, W) (He et al., 2010)."""
    means = (cv2.blur(each, (side, side)) for each in (guide, plane, guide * plane, guide * guide))
    mean_guide, mean, both, square = means
    slope = (both - mean_guide * mean) / (square - mean_guide**2 + flat)
    offset = mean - slope * mean_guide
    return cv2.blur(slope, (side, side)) * guide + cv2.blur(offset, (side, side))


@BASELINES.add("inpaint")
@dataclass(frozen=True)
class Inpaint(Checked):
    """Fill areas that are purely black or white, at least 3 pixels wide, from around them (Telea, 2004)."""

    radius: Annotated[float, Param("how far around is looked, in pixels", 1, 50)] = 3.0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        levels = _levels(pixels)
        pure = ((levels == 0).all(2) | (levels == 255).all(2)).astype(np.uint8)
        pure = cv2.morphologyEx(pure, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        return _float(cv2.inpaint(levels, pure, self.radius, cv2.INPAINT_TELEA))
