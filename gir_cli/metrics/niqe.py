"""How natural a picture looks, without a reference."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from gir_cli.color import video_luma
from gir_cli.errors import InputError
from gir_cli.metrics import METRICS, Undefined, facts, size
from gir_cli.resize import resized

BLOCK = 96
SHARP = 0.75  # blocks of a clean photograph that are used: those with so much of its sharpest one's contrast
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # to the neighbours whose products are described
PRISTINE = Path(__file__).with_name("niqe.npz")


@dataclass(frozen=True)
class Pristine:
    """What clean photographs are like: mean (36,) and covariance (36, 36) of the features of their blocks.

    `record` tells in JSON which photographs they were.
    """

    mean: np.ndarray
    covariance: np.ndarray
    record: str = "{}"

    def packed(self) -> bytes:
        """Return a file's bytes that `unpacked` reads."""
        data = io.BytesIO()
        np.savez(data, mean=self.mean, covariance=self.covariance, record=np.array(self.record))
        return data.getvalue()


def unpacked(data: bytes) -> Pristine:
    """Return what `Pristine.packed` made."""
    with np.load(io.BytesIO(data), allow_pickle=False) as held:
        return Pristine(held["mean"], held["covariance"], str(held["record"]))


@lru_cache(maxsize=1)
def pristine() -> Pristine:
    """Return the parameters that come with the program."""
    return unpacked(PRISTINE.read_bytes())


@METRICS.add("niqe")
@facts(perfect=None)
def niqe(restored: np.ndarray, clean: np.ndarray | None = None) -> float:
    """Distance of `restored` from clean photographs (Mittal et al., 2013); lower is better, `clean` is not looked at.

    Statistics of locally normalised luma in blocks of 96×96 at two scales, against those of `pristine()`,
    which are of our own photographs: values rank as those of other programs, and are not equal to them.
    Raises Undefined under 96 pixels a side, and where no block has any texture.
    """
    return distance(restored, pristine())


def distance(pixels: np.ndarray, model: Pristine) -> float:
    """Return the Mahalanobis-like distance of `pixels` (H, W, 3) from `model`."""
    mean, covariance = _described(_usable(block_features(pixels)[0]))
    apart = mean - model.mean
    return math.sqrt(apart @ np.linalg.pinv((covariance + model.covariance) / 2) @ apart)


def fit(photographs: Iterable[np.ndarray], record: str = "{}") -> Pristine:
    """Return what `photographs`, each (H, W, 3) as `quantised` makes them, have in common in their sharp blocks.

    Those too small or flat are passed over. Raises InputError if fewer blocks than features are left.
    """
    kept = []
    for pixels in photographs:
        if min(pixels.shape[:2]) >= BLOCK:
            features, contrast = block_features(pixels)
            kept.append(features[contrast > SHARP * contrast.max()])
    features = np.concatenate(kept) if kept else np.empty((0, 36))
    features = features[np.isfinite(features).all(1)]
    if len(features) <= features.shape[1]:
        raise InputError(f"{len(features)} sharp blocks are too few; give more photographs")
    return Pristine(*_described(features), record)


def block_features(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, 36) and mean local contrast (N,) of the whole 96×96 blocks of `pixels` (H, W, 3).

    Where a block has no texture, features are not finite.
    """
    if min(pixels.shape[:2]) < BLOCK:
        raise Undefined(f"niqe needs {BLOCK} pixels a side, not {size(pixels)}")
    height, width = (side // BLOCK * BLOCK for side in pixels.shape[:2])
    luma = np.rint(255 * video_luma(pixels[:height, :width])[..., 0])
    normal, contrast = _normalised(luma)
    half = resized(luma.astype(np.float32)[..., None], width // 2, height // 2)[..., 0].astype(np.float64)
    fine, coarse = _blocks(normal, BLOCK), _blocks(_normalised(half)[0], BLOCK // 2)
    return np.concatenate([_features(fine), _features(coarse)], 1), _blocks(contrast, BLOCK).mean((1, 2))


def _normalised(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return luma less its local mean over its local deviation plus one level, and that deviation."""
    mean, square = (cv2.GaussianBlur(v, (7, 7), 7 / 6, borderType=cv2.BORDER_REPLICATE) for v in (luma, luma * luma))
    deviation = np.sqrt(np.abs(square - mean * mean))
    return (luma - mean) / (deviation + 1), deviation


def _blocks(plane: np.ndarray, side: int) -> np.ndarray:
    """Return the blocks (N, side, side) of `plane`, row by row."""
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    return plane.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)


def _features(blocks: np.ndarray) -> np.ndarray:
    """Return (N, 18): the distribution of the values, and of their products with four neighbours."""
    shape, left, right, _ = _fitted(blocks)
    columns = [shape, (left + right) / 2]
    for shift in SHIFTS:
        shape, left, right, ratio = _fitted(blocks * np.roll(blocks, shift, (1, 2)))
        columns += [shape, (right - left) * ratio, left, right]
    return np.stack(columns, 1)


def _fitted(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the asymmetric generalised Gaussian of each block's values by matching moments (Lasmar et al., 2009).

    Shape, scale on the left and on the right of 0, and Γ(2/shape) / Γ(1/shape); NaN where a side is empty.
    """
    squares, negative, positive = blocks * blocks, blocks < 0, blocks > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (
            np.sqrt((squares * side).sum((1, 2)) / side.sum((1, 2)).astype(float)) for side in (negative, positive)
        )
        skew = left / right
        spread = np.abs(blocks).mean((1, 2)) ** 2 / squares.mean((1, 2))
        moment = spread * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shapes, moments, scales, ratios = _shapes()
    nearest = np.searchsorted((moments[1:] + moments[:-1]) / 2, moment)
    return shapes[nearest], left * scales[nearest], right * scales[nearest], ratios[nearest]


@lru_cache(maxsize=1)
def _shapes() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the shapes tried, 0.2 to 10, and of each: E|x|² / E x², scale over deviation, Γ(2/shape) / Γ(1/shape)."""
    shapes = np.arange(200, 10001) / 1000
    one, two, three = (np.array([math.lgamma(k / shape) for shape in shapes]) for k in (1, 2, 3))
    return shapes, np.exp(2 * two - one - three), np.exp((one - three) / 2), np.exp(two - one)


def _usable(features: np.ndarray) -> np.ndarray:
    textured = features[np.isfinite(features).all(1)]
    if not len(textured):
        raise Undefined("niqe has no value for a flat picture")
    return textured


def _described(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the covariance of `features`; that of a single block is 0."""
    mean = features.mean(0)
    off = features - mean
    return mean, off.T @ off / max(len(features) - 1, 1)
