"""Restoration of pictures of any size: tiles, blending, precision, ensembles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gir_cli.devices import device_of, fast_precision, free_memory, keep_freed_memory, place_channels_last, use_threads
from gir_cli.errors import GirError, UsageError
from gir_cli.models import Description
from gir_cli.weights import Model, load

BAND = 16  # pixels over which neighbouring tiles are blended
LARGEST_TILE = 2048
SMALLEST_TILE = 64
AGREEMENT = 45.0  # dB between low precision and fp32 on the self-check, below which fp32 is taken


@dataclass(frozen=True)
class Way:
    """How pictures are restored.

    `tile` is a side in pixels, "off", or None for one chosen from free memory; `overlap` None is
    what the model needs for its tiles to agree. `noise_level` is for models that are told it, a
    standard deviation in 8-bit levels; None estimates it from each picture.
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    tile: int | str | None = None
    overlap: int | None = None
    strength: float = 1.0
    tta: bool = False
    passes: int = 1
    noise_level: float | None = None


@dataclass(frozen=True)
class Span:
    """One tile's extent along one axis, and its share in the result there; shares of all tiles sum to 1."""

    start: int
    stop: int
    share: np.ndarray


def spans(size: int, tile: int, overlap: int, multiple: int = 1) -> list[Span]:
    """Return the tiles along an axis of `size` pixels.

    Neighbours share at least `overlap` pixels and are blended over the BAND in the middle of what they
    share, so that each is used only away from its cut edges. Starts are multiples of `multiple`, which
    keeps a network's own grid where it lies in the whole picture.
    """
    if tile >= size:
        return [Span(0, size, np.ones(size, np.float32))]
    # Wide enough for the overlap and one step of the grid, or the tiles would never get on.
    step = max((tile - overlap) // multiple, 1) * multiple
    tile = max(tile, overlap + step)
    starts = list(range(0, max(size - tile, 0) + step, step))
    extents = [(start, min(start + tile, size)) for start in starts if start == 0 or start + overlap < size]
    edges = [(extents[i + 1][0] + extents[i][1]) / 2 for i in range(len(extents) - 1)]
    band = max(min(BAND, overlap), 1)
    position = np.arange(size) + 0.5
    rises = [np.ones(size), *(np.clip((position - edge) / band + 0.5, 0, 1) for edge in edges), np.zeros(size)]
    shares = [rises[i] - rises[i + 1] for i in range(len(extents))]
    return [Span(a, b, share[a:b].astype(np.float32)) for (a, b), share in zip(extents, shares, strict=True)]


def noise_level(pixels: np.ndarray) -> float:
    """Return an estimate of the standard deviation of white noise in `pixels` (H, W, C), in 8-bit levels.

    The median of the absolute diagonal Haar details, which the noise outnumbers edges in, divided by that of
    the normal distribution (Donoho and Johnstone, 1994, Sec. 5). Texture counts as noise; pictures without
    details, or of less than two rows or columns, have none.
    """
    even = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
    details = (even[::2, ::2] - even[1::2, ::2] - even[::2, 1::2] + even[1::2, 1::2]) / 2
    return 255 * float(np.median(np.abs(details))) / 0.6745 if details.size else 0.0


class Restorer:
    """A model made ready for a device: called on pixels (H, W, 3), float32 sRGB in [0, 1]."""

    def __init__(self, path: Path | str, way: Way = Way()) -> None:
        keep_freed_memory()
        self.way = way
        self.device = device_of(way.device)
        use_threads(way.threads)
        path = Path(path)
        model = load(path)
        _check_usable(model.description, path, way)
        place_channels_last(model.network.to(self.device))
        self.model: Model = model
        if way.strength != 1 and self.scale != 1:
            raise UsageError(f"--strength needs a model that keeps the size; this one enlarges {self.scale} times")

    @property
    def scale(self) -> int:
        """How many times larger the result is."""
        return self.model.description.scale

    @property
    def name(self) -> str:
        """The model's name in its record."""
        return str(self.model.record.get("name", ""))

    @property
    def digest(self) -> str:
        """SHA-256 of the weights file."""
        return self.model.digest

    @property
    def facts(self) -> dict[str, Any]:
        """What a log says of this restorer."""
        return {
            "model": self.name,
            "device": str(self.device),
            "precision": str(self.precision).removeprefix("torch."),
            "tile": self.tile,
        }

    def told(self, pixels: np.ndarray) -> dict[str, Any]:
        """Return what a log says of the noise level that the model is told for this picture; empty for blind models."""
        if not self.model.description.noise_level:
            return {}
        return {"noise_level": round(self._level(pixels), 2), "noise_estimated": self.way.noise_level is None}

    def _level(self, pixels: np.ndarray) -> float:
        asked = self.way.noise_level
        return noise_level(np.clip(pixels, 0, 1)) if asked is None else asked

    @cached_property
    def precision(self) -> torch.dtype:
        """The type of the arithmetic: what was asked for, or the fast one if it agrees with fp32."""
        asked = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}.get(self.way.precision)
        if asked:
            return asked
        fast = fast_precision(self.device) if self.model.description.half_safe else torch.float32
        return fast if fast == torch.float32 or self._agrees(fast) else torch.float32

    @cached_property
    def tile(self) -> int | None:
        """The side of the tiles in pixels; None for whole pictures."""
        if self.way.tile == "off":
            return None
        return self.way.tile or self._affordable()

    @property
    def overlap(self) -> int:
        """How many pixels neighbouring tiles share."""
        if self.way.overlap is not None:
            return self.way.overlap
        reach = self.model.description.reach
        return 2 * reach + BAND if reach is not None else 64

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the restored picture, float32 (H · scale, W · scale, 3) in [0, 1].

        Values of the input beyond [0, 1] are clipped first. Raises GirError if the result isn't finite
        even in fp32, or memory runs out at the smallest tile.
        """
        if not np.isfinite(pixels).all():
            raise GirError("holds NaN or infinite values")
        clipped = np.clip(pixels, 0, 1)
        restored = clipped
        for _ in range(self.way.passes):
            sigma = self._level(restored) / 255 if self.model.description.noise_level else None
            restored = self._ensemble(restored, sigma) if self.way.tta else self._once(restored, sigma)
        if self.way.strength == 1:
            return restored
        return clipped + np.float32(self.way.strength) * (restored - clipped)

    def _ensemble(self, pixels: np.ndarray, sigma: float | None) -> np.ndarray:
        """Return the mean over the 8 flips and rotations (geometric self-ensemble; Lim et al., 2017)."""
        total = np.float32(0)
        for turns in range(4):
            for mirrored in (False, True):
                view = np.rot90(pixels[:, ::-1] if mirrored else pixels, turns)
                back = np.rot90(self._once(np.ascontiguousarray(view), sigma), -turns)
                total = total + (back[:, ::-1] if mirrored else back) / 8
        return np.ascontiguousarray(total)

    def _once(self, pixels: np.ndarray, sigma: float | None) -> np.ndarray:
        while True:
            try:
                return self._tiled(pixels, sigma)
            except (torch.OutOfMemoryError, MemoryError):
                self._shrink(max(pixels.shape[:2]))

    def _shrink(self, side: int) -> None:
        """Halve the tile after memory ran out; a tile that was asked for is never changed."""
        smaller = min(self.tile or side, side) // 2
        if self.way.tile is not None or smaller < SMALLEST_TILE:
            raise GirError("memory ran out; a smaller --tile would need less") from None
        self.tile = smaller

    def _tiled(self, pixels: np.ndarray, sigma: float | None) -> np.ndarray:
        height, width = pixels.shape[:2]
        scale = self.scale
        rows, columns = (self._spans(size) for size in (height, width))
        if len(rows) == len(columns) == 1:
            return self._run(pixels, sigma)
        out = np.zeros((height * scale, width * scale, 3), np.float32)
        for row, column in ((row, column) for row in rows for column in columns):
            done = self._run(pixels[row.start : row.stop, column.start : column.stop], sigma)
            share = np.repeat(row.share, scale)[:, None, None] * np.repeat(column.share, scale)[None, :, None]
            out[row.start * scale : row.stop * scale, column.start * scale : column.stop * scale] += share * done
        return out

    def _spans(self, size: int) -> list[Span]:
        return spans(size, self.tile or size, self.overlap, self.model.description.multiple)

    def _run(self, pixels: np.ndarray, sigma: float | None) -> np.ndarray:
        """Return one tile restored; in fp32 where low precision gives NaN."""
        batch = self._batch(pixels)
        restored = self._forward(batch, self.precision, sigma)
        if not torch.isfinite(restored).all() and self.precision != torch.float32:
            restored = self._forward(batch, torch.float32, sigma)
        if not torch.isfinite(restored).all():
            raise GirError("the model's result is not finite")
        planes = restored.flatten(0, 1).expand(3, -1, -1)
        return planes.permute(1, 2, 0).contiguous().cpu().numpy()

    def _batch(self, pixels: np.ndarray) -> Tensor:
        """Return `pixels` (H, W, 3) as the model takes them: one picture, or for gray models each channel as one."""
        planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        if self.model.description.channels == 1:
            gray = bool((planes[0] == planes[1]).all() and (planes[0] == planes[2]).all())
            planes = planes[: 1 if gray else 3, None]
        else:
            planes = planes[None]
        return planes.to(self.device).contiguous(memory_format=torch.channels_last)

    def _forward(self, batch: Tensor, precision: torch.dtype, sigma: float | None = None) -> Tensor:
        with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
            return self.model(batch, sigma=sigma)

    def _agrees(self, precision: torch.dtype) -> bool:
        """Say whether `precision` gives the same as fp32 on a small, busy picture."""
        side = max(64, self.model.description.minimum)
        y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
        batch = self._batch(np.dstack([x, y, (np.sin(40 * x * y) + 1) / 2]))
        exact, fast = self._forward(batch, torch.float32), self._forward(batch, precision)
        error = (exact - fast).square().mean()
        return bool(torch.isfinite(error)) and float(error) < 10 ** (-AGREEMENT / 10)

    def _affordable(self) -> int:
        """Return the largest tile of which a quarter of free memory holds one forward pass."""
        pixels = free_memory(self.device) / 4 / self.model.description.bytes_per_pixel
        multiple = max(self.model.description.multiple, 8)
        side = min(int(pixels**0.5), LARGEST_TILE) // multiple * multiple
        return max(side, SMALLEST_TILE)


def _check_usable(description: Description, path: Path, way: Way) -> None:
    """Raise UsageError if pictures cannot be given to the model, or it has no use for what is told."""
    if description.channels not in (1, 3):
        raise UsageError(f"{path}: takes {description.channels} channels at once; pictures have 1 or 3")
    if way.noise_level is not None and not description.noise_level:
        raise UsageError(f"--noise-level={way.noise_level:g}: this model is blind; it is not told the noise")
