"""Restoration of pictures of any size: tiles, blending, precision, ensembles."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gir_cli.devices import (
    compile_in_place,
    described,
    device_of,
    fast_precision,
    free_memory,
    give_back_freed_memory,
    keep_freed_memory,
    place_channels_last,
    use_threads,
)
from gir_cli.errors import GirError, UsageError
from gir_cli.estimate import noise_level
from gir_cli.image import Levels
from gir_cli.models import Description
from gir_cli.models.whole import Counted, Found, Place, found, shared
from gir_cli.remembered import remembered
from gir_cli.views import VIEWS, Ends, Seen, View, counts, reduced, sample
from gir_cli.weights import Model, load

BAND = 16  # pixels over which neighbouring tiles are blended that agree
WIDE_BAND = 64  # of models that see more than tiles can overlap by, whose tiles differ
LARGEST_TILE = 2048
LARGEST_FORWARD = 1 << 30  # bytes of a forward pass on the CPU, where tiles are for memory's sake alone
SMALLEST_TILE = 64
SAMPLE = 1024  # side of what stands for the whole of a picture, where a tile is for memory's sake alone
LARGE = 1 << 24  # pixels from which on a picture needs the memory that others leave to the next
AGREEMENT = 45.0  # dB between low precision and fp32 on the self-check, below which fp32 is taken


PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Pixels = np.ndarray | Levels


@dataclass(frozen=True)
class Way:
    """How pictures are restored.

    `tile` is a side in pixels, "off", or None for one chosen from free memory; `overlap` None is
    what the model needs for its tiles to agree. `noise_level` is for models that are told it, a
    standard deviation in 8-bit levels; None estimates it from each picture. Without `clip` the model
    is given values beyond [0, 1] too, as published tables of denoising give them; but never one trained
    here, which has not seen any. Raises UsageError for values that mean nothing.
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
    compile: bool = False
    clip: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(f"strength={self.strength} is out of range (0 to 1)")
        if self.passes < 1:
            raise UsageError(f"passes={self.passes} is out of range (at least 1)")
        if self.precision not in ("auto", *PRECISIONS):
            raise UsageError(f"precision={self.precision} is none of auto, {', '.join(PRECISIONS)}")
        if self.tile not in (None, "off") and (isinstance(self.tile, str) or self.tile < 1):
            raise UsageError(f"tile={self.tile} is no side in pixels, None or 'off'")


@dataclass(frozen=True)
class Span:
    """One tile's extent along one axis, and its share in the result there; shares of all tiles sum to 1."""

    start: int
    stop: int
    share: np.ndarray


def least_tile(overlap: int, multiple: int = 1) -> int:
    """Return the side of the smallest tiles that get on: in smaller steps, most would be done over and over."""
    return overlap + -(-max(overlap // 4, 1) // multiple) * multiple


def spans(size: int, tile: int, overlap: int, multiple: int = 1, band: int = BAND) -> list[Span]:
    """Return the tiles along an axis of `size` pixels.

    Neighbours share at least `overlap` pixels and are blended over the `band` in the middle of what they
    share, so that each is used only away from its cut edges. Starts are multiples of `multiple`, which
    keeps a network's own grid where it lies in the whole picture.
    """
    if tile >= size:
        return [Span(0, size, np.ones(size, np.float32))]
    tile = max(tile, least_tile(overlap, multiple))
    step = (tile - overlap) // multiple * multiple
    starts = list(range(0, max(size - tile, 0) + step, step))
    extents = [(start, min(start + tile, size)) for start in starts if start == 0 or start + overlap < size]
    edges = [(extents[i + 1][0] + extents[i][1]) / 2 for i in range(len(extents) - 1)]
    band = max(min(band, overlap), 1)
    position = np.arange(size) + 0.5
    rises = [np.ones(size), *(np.clip((position - edge) / band + 0.5, 0, 1) for edge in edges), np.zeros(size)]
    shares = [rises[i] - rises[i + 1] for i in range(len(extents))]
    return [Span(a, b, share[a:b].astype(np.float32)) for (a, b), share in zip(extents, shares, strict=True)]


def _not_finite(restored: np.ndarray) -> list[int]:
    """Return the numbers of the tiles (N, h, w, 3) that hold NaN or infinity, which their sum keeps."""
    return np.flatnonzero(~np.isfinite(restored.sum((1, 2, 3)))).tolist()


def _check(picture: Pixels) -> None:
    """Raise UsageError if `picture` is none that a restorer takes."""
    plain = isinstance(picture, np.ndarray)
    if plain and not (picture.dtype == np.float32 and picture.ndim == 3 and picture.shape[2] == 3 and picture.size):
        raise UsageError(f"a picture is float32 of shape (H, W, 3), not {picture.dtype} of {picture.shape}")


def _transposed(pixels: Any) -> Any:
    """Return pixels (…, H, W, C) with lines and columns swapped, without a copy."""
    return pixels.swapaxes(-3, -2)


def _as_it_is(pixels: Any) -> Any:
    return pixels


class Restorer:
    """A model made ready for a device: called on pixels (H, W, 3), float32 sRGB in [0, 1], or `Levels`.

    `checks` is a folder in which it is kept whether low precision agrees with fp32, so that the next need not
    find out again. `redone` holds the numbers of those pictures of the last call of which low precision made
    NaN or infinity somewhere, so that it was done again in fp32. Not for several threads at a time.
    """

    def __init__(self, path: Path | str, way: Way = Way(), checks: Path | None = None) -> None:
        keep_freed_memory()
        self.way, self.checks = way, checks
        self.redone: set[int] = set()
        self.mates = 1
        self.dismissed = False
        self.device = device_of(way.device)
        use_threads(way.threads)
        path = Path(path)
        model = load(path)
        _check_usable(model.description, path, way)
        place_channels_last(model.network.to(self.device))
        if way.compile:
            compile_in_place(model.network)
        self.model: Model = model
        if way.strength != 1 and self.scale != 1:
            raise UsageError(f"--strength needs a model that keeps the size; this one enlarges {self.scale} times")

    @property
    def scale(self) -> int:
        """How many times larger the result is."""
        return self.model.description.scale**self.way.passes

    @property
    def _clips(self) -> bool:
        return self.way.clip or "train" in self.model.record

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
            "tile": self._tile,
        }

    def told(self, pixels: Pixels) -> dict[str, Any]:
        """Return what a log says of the noise level that the model is told for this picture; empty for blind models."""
        if not self.model.description.noise_level:
            return {}
        return {"noise_level": round(self._level(pixels), 2), "noise_estimated": self.way.noise_level is None}

    def _level(self, pixels: Pixels) -> float:
        asked = self.way.noise_level
        return noise_level(pixels) if asked is None else asked

    @cached_property
    def precision(self) -> torch.dtype:
        """The type of the arithmetic: what was asked for, or the fast one if it agrees with fp32."""
        asked = PRECISIONS.get(self.way.precision)
        if asked:
            return asked
        fast = fast_precision(self.device) if self.model.description.half_safe else torch.float32
        if fast == torch.float32:
            return fast
        facts = {
            "weights": self.digest,
            "precision": str(fast),
            "agreement": str(AGREEMENT),
            "torch": torch.__version__,
            "device": described(self.device),
        }
        return fast if remembered(self.checks, facts, lambda: self._agrees(fast)) else torch.float32

    @cached_property
    def tile(self) -> int | None:
        """The side of the tiles in pixels; None for whole pictures."""
        if isinstance(self.way.tile, str):
            return None
        return self.way.tile or self._affordable()

    @property
    def _tile(self) -> int | None:
        """The side of the tiles, which get on even where `tile` is little else than overlap."""
        return self.tile and max(self.tile, least_tile(self.overlap, self.model.description.multiple))

    @property
    def _shares(self) -> bool:
        """Whether tiles are to share what the model takes of the whole picture."""
        return self.model.description.shared_reach is not None

    @property
    def _sees_all(self) -> bool:
        """Whether every pixel of a tile may change with every other, so that one tile is best."""
        return self.model.description.reach is None

    @property
    def overlap(self) -> int:
        """How many pixels neighbouring tiles share."""
        if self.way.overlap is not None:
            return self.way.overlap
        reach, shared_reach = self.model.description.reach, self.model.description.shared_reach
        if reach is not None:
            return 2 * reach + BAND
        usual = WIDE_BAND + 2 * BAND
        if shared_reach is None:
            return usual
        half = (self.tile or 0) // 2  # of small tiles, which would be little else than overlap
        return min(2 * shared_reach + BAND, max(half, usual))

    def __call__(self, pixels: Pixels, out: Pixels | None = None) -> Any:
        """Return the restored picture, (H · scale, W · scale, 3) in [0, 1]: `out` if it is given, else float32.

        Of `Levels` only a band of tiles is in float at a time, and no more is needed beside `pixels` and
        `out`, but that further passes keep what is between them in float32. Values of the input beyond
        [0, 1] are clipped first, unless the way says otherwise. Raises UsageError for arrays of another type or
        shape, GirError if values of the input or, even in fp32, of the result are not finite, or memory runs out
        at the smallest tile.
        """
        return self.together([pixels], [out])[0]

    def together(self, pictures: Sequence[Pixels], outs: Sequence[Pixels | None]) -> list[Pixels]:
        """Return `pictures`, all of one size, restored as by a call each; they go through the model as one batch."""
        given = list(pictures)
        for picture in given:
            _check(picture)
        self.redone = set()
        large = given[0].shape[0] * given[0].shape[1] >= LARGE
        if large:  # what reading took
            give_back_freed_memory()
        for left in reversed(range(self.way.passes)):
            sigmas = [self._level(picture) / 255 for picture in given] if self.model.description.noise_level else None
            height, width = (side * self.model.description.scale for side in given[0].shape[:2])
            made = [np.empty((height, width, 3), np.float32) if left or out is None else out for out in outs]
            self._once(given, made, sigmas, pictures if self.way.strength < 1 and not left else ())
            given = made
        if large:  # what the model took
            give_back_freed_memory()
        return given

    def _once(self, pictures: Sequence, outs: Sequence, sigmas: list[float] | None, mixed: Sequence) -> None:
        while True:
            try:
                return self._tiled(pictures, outs, sigmas, mixed)
            except (torch.OutOfMemoryError, MemoryError):
                self._shrink(max(pictures[0].shape[:2]))

    def _shrink(self, side: int) -> None:
        """Halve the tile after memory ran out; a tile that was asked for is never changed."""
        smaller = min(self.tile or side, side) // 2
        if self.way.tile is not None or smaller < SMALLEST_TILE:
            raise GirError("memory ran out; a smaller --tile would need less") from None
        self.tile = smaller

    def _tiled(self, pictures: Sequence, outs: Sequence, sigmas: list[float] | None, mixed: Sequence) -> None:
        """Restore `pictures` into `outs` by bands of tiles along the longer side, of which one is in float at a time.

        `mixed` are the pictures that the result is mixed with, or none.
        """
        height, width = pictures[0].shape[:2]
        if len(self._spans(height)) == len(self._spans(width)) == 1:
            return self._whole(pictures, outs, sigmas, mixed)
        turn = _transposed if width > height else _as_it_is
        sources, sinks, mixed = ([turn(picture) for picture in some] for some in (pictures, outs, mixed))
        rows, scale = self._spans(max(height, width)), self.model.description.scale
        wholes = self._found(pictures, sigmas)
        waiting = np.zeros((1, 0, 1, 1), np.float32)  # what the next band overlaps
        for row, following in itertools.zip_longest(rows, rows[1:]):
            band = self._band(sources, row, turn, sigmas, wholes)
            band[:, : waiting.shape[1]] += waiting
            stop = following.start if following else row.stop
            ready = (stop - row.start) * scale
            for number, sink in enumerate(sinks):
                if mixed:
                    self._mix(band[number, :ready], mixed[number][row.start : stop, :])
                sink[row.start * scale : stop * scale, :] = band[number, :ready]
            waiting = band[:, ready:].copy()
            del band  # before there is another

    def _whole(self, pictures: Sequence, outs: Sequence, sigmas: list[float] | None, mixed: Sequence) -> None:
        """Restore `pictures` into `outs` as a tile each, that is blended with no other."""
        place = Ends.all_of(pictures[0].shape[0]), Ends.all_of(pictures[0].shape[1])
        done = self._restored(np.stack([picture[:, :] for picture in pictures]), sigmas, [], place)
        for number, out in enumerate(outs):
            if mixed:
                self._mix(done[number], mixed[number][:, :])
            out[:, :] = done[number]

    def _found(self, pictures: Sequence, sigmas: list[float] | None) -> list[Found]:
        """Return what the model takes of the whole pictures, for each view; nothing where no tiles share it.

        A sample stands for the whole, so that this needs no more memory than a tile does.
        """
        if not self._shares or not self.tile:
            return []
        side = self.tile if self._sees_all else min(self.tile, SAMPLE)
        wholes: list[Found] = []
        for view in self._views:
            seen = [Seen(picture, view, self.model.description, clips=self._clips) for picture in pictures]
            samples = np.stack([self._sample(whole, side) for whole in seen])
            with found(self.model.network) as quantities:
                self._run(self._clipped(samples), sigmas, apart=True)
            counted = {
                layer: torch.stack([counts(whole, layer) for whole in seen]).to(self.device)
                for layer in self.model.network.modules()
                if isinstance(layer, Counted)  # a sample has other counts
            }
            wholes.append(quantities | counted)
        return wholes

    def _sample(self, source: Any, side: int) -> np.ndarray:
        """Return at most `side` by `side` pixels in which the model finds what it would in all of `source`."""
        description = self.model.description
        return reduced(source, side, description.multiple) if description.means_alone else sample(source, side)

    def _band(
        self, sources: Sequence, row: Span, turn: Callable, sigmas: list[float] | None, wholes: list[Found]
    ) -> np.ndarray:
        """Return the share that the tiles of `row` have in the result there; pictures lie as `turn` turns them."""
        scale, (height, width) = self.model.description.scale, sources[0].shape[:2]
        band = np.zeros((len(sources), (row.stop - row.start) * scale, width * scale, 3), np.float32)
        for column in self._spans(width):
            tiles = np.stack([source[row.start : row.stop, column.start : column.stop] for source in sources])
            ends = Ends(row.start, row.stop, height), Ends(column.start, column.stop, width)
            place = ends if turn is _as_it_is else ends[::-1]
            done = turn(self._restored(turn(tiles), sigmas, wholes, place))
            done *= np.repeat(row.share, scale)[:, None, None]
            done *= np.repeat(column.share, scale)[:, None]
            band[:, :, column.start * scale : column.stop * scale] += done
        return band

    def _mix(self, restored: np.ndarray, original: np.ndarray) -> None:
        """Mix `original` into `restored`, in its place, by the strength asked for."""
        original = np.clip(original, 0, 1) if self._clips else original
        restored -= original
        restored *= np.float32(self.way.strength)
        restored += original

    def _spans(self, size: int) -> list[Span]:
        tile, multiple = self._tile or size, self.model.description.multiple
        if self.way.tta:  # seen from the far end, too, tiles lie on the network's own grid
            tile += (size - tile) % multiple
        band = WIDE_BAND if self._sees_all and not self._shares else BAND
        return spans(size, tile, self.overlap, multiple, band)

    @property
    def _views(self) -> tuple[View, ...]:
        """The picture as it is, or its 8 flips and rotations (geometric self-ensemble; Lim et al., 2017)."""
        return VIEWS if self.way.tta else VIEWS[:1]

    def _restored(
        self, tiles: np.ndarray, sigmas: list[float] | None, wholes: list[Found], place: tuple[Ends, Ends]
    ) -> np.ndarray:
        """Return `tiles` (N, h, w, 3), clipped in place, restored; the mean over their views if that is asked for."""
        tiles = self._clipped(tiles)
        restored: np.ndarray | float = 0.0
        for view, whole in itertools.zip_longest(self._views, wholes):
            done = view.back(self._seen(view.of(tiles), sigmas, whole, view.ends(*place)))
            if not self.way.tta:
                return done
            restored = restored + done / len(self._views)
        return np.asarray(restored)

    def _seen(
        self, tiles: np.ndarray, sigmas: list[float] | None, whole: Found | None, ends: tuple[Ends, Ends]
    ) -> np.ndarray:
        """Return tiles restored with what was found in the `whole` of which they have `ends`."""
        if whole is None:
            return self._run(tiles, sigmas)
        place = Place(*(axis.shares(self.model.description) for axis in ends))
        with shared(self.model.network, whole, place):
            return self._run(tiles, sigmas, apart=True)

    def _clipped(self, tiles: np.ndarray) -> np.ndarray:
        """Return `tiles` clipped in place, where the model is to be given nothing beyond [0, 1]."""
        if not np.isfinite(tiles).all():
            raise GirError("holds NaN or infinite values")
        return np.clip(tiles, 0, 1, out=tiles) if self._clips else tiles

    def _run(self, tiles: np.ndarray, sigmas: list[float] | None, *, apart: bool = False) -> np.ndarray:
        """Return tiles restored; in fp32 those that are not finite in low precision, of which `redone` then tells."""
        if self.dismissed:
            raise GirError("interrupted")
        restored = self._network(tiles, sigmas, self.precision, apart)
        failed = _not_finite(restored)
        if failed and self.precision != torch.float32:
            self.redone.update(failed)
            # All of the batch, for what tiles share of whole pictures is of all of them.
            restored[failed] = self._network(tiles, sigmas, torch.float32, apart)[failed]
            failed = _not_finite(restored)
        if failed:
            raise GirError("the model's result is not finite")
        return np.clip(restored, 0, 1, out=restored)

    def _network(
        self, tiles: np.ndarray, sigmas: list[float] | None, precision: torch.dtype, apart: bool
    ) -> np.ndarray:
        """Return what the model makes of `tiles` (N, h, w, 3), as it is."""
        batch = self._batch(tiles, apart=apart)
        sigma = None
        if sigmas is not None:
            each = torch.tensor(sigmas, device=self.device).repeat_interleave(len(batch) // len(tiles))
            sigma = each[:, None, None, None]
        restored = self._forward(batch, precision, sigma)
        planes = restored.reshape(len(tiles), -1, *restored.shape[-2:]).expand(-1, 3, -1, -1)
        return planes.permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def _batch(self, tiles: np.ndarray, *, apart: bool = False) -> Tensor:
        """Return `tiles` (N, h, w, 3) as the model takes them; gray models, each channel as a picture.

        Where all three are the same, only one, unless they are to stay `apart`.
        """
        planes = torch.from_numpy(np.array(tiles, order="C")).permute(0, 3, 1, 2)  # a view may have negative strides
        if self.model.description.channels == 1:
            gray = not apart and bool((planes[:, :1] == planes).all())
            planes = planes[:, : 1 if gray else 3].reshape(-1, 1, *planes.shape[-2:])
        return planes.to(self.device).contiguous(memory_format=torch.channels_last)

    def _forward(self, batch: Tensor, precision: torch.dtype, sigma: Tensor | None = None) -> Tensor:
        with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
            return self.model(batch, sigma=sigma, clamp=False)

    def _agrees(self, precision: torch.dtype) -> bool:
        """Say whether `precision` gives the same as fp32 on a small, busy picture."""
        side = max(64, self.model.description.minimum)
        y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
        batch = self._batch(np.dstack([x, y, (np.sin(40 * x * y) + 1) / 2])[None])
        exact, fast = (self._forward(batch, each).clamp(0, 1) for each in (torch.float32, precision))
        error = (exact - fast).square().mean()
        return bool(torch.isfinite(error)) and float(error) < 10 ** (-AGREEMENT / 10)

    def _affordable(self) -> int:
        """Return the largest tile of which a quarter of free memory holds one forward pass."""
        memory = free_memory(self.device) / 4 / self.mates
        if self.device.type == "cpu" and not self._sees_all:  # the model's own figure is for fp32
            memory = min(memory, LARGEST_FORWARD * 4 / self.precision.itemsize)
        side = int((memory / self.model.description.bytes_per_pixel) ** 0.5)
        multiple = max(self.model.description.multiple, 8)
        side = (side if self._sees_all else min(side, LARGEST_TILE)) // multiple * multiple
        return max(side, SMALLEST_TILE)


class Crew:
    """A restorer and, on CPUs, twins of it that share its weights, `most` in all, each with its share of the threads.

    Pictures restored beside each other, by few threads each, are done sooner than one after the other by all:
    threads need not wait for each other, nor for what is done by one of them.
    """

    def __init__(self, restorer: Restorer, most: int) -> None:
        self.first, self.threads = restorer, torch.get_num_threads()
        alone = restorer.device.type != "cpu" or restorer.way.compile
        count = 1 if alone else min(most, self.threads)
        self.all = [restorer, *(_twin(restorer) for _ in range(count - 1))]
        self.idle: SimpleQueue[Restorer] = SimpleQueue()
        for one in self.all:
            one.mates = count
            self.idle.put(one)

    @contextmanager
    def one(self, pixels: int) -> Iterator[Restorer]:
        """Yield one that is idle, for a picture of so many `pixels`, waiting for it; a large picture gets all threads.

        Nothing else should be under way beside a large picture.
        """
        restorer = self.idle.get()
        try:
            if len(self.all) > 1:  # operations take the number of the thread that calls them
                use_threads(self.threads if pixels >= LARGE else self.threads // len(self.all))
            yield restorer
        finally:
            self.idle.put(restorer)

    def dismiss(self) -> None:
        """Have those at work stop at their next tile, with a GirError."""
        for one in self.all:
            one.dismissed = True


def _twin(restorer: Restorer) -> Restorer:
    """Return a restorer that shares all tensors with `restorer`, and no layer, for tiles hang hooks on these."""
    _ = restorer.precision  # is found out once for all
    network = restorer.model.network
    kept = {id(tensor): tensor for tensor in itertools.chain(network.parameters(), network.buffers())}
    twin = copy.copy(restorer)
    twin.model = replace(restorer.model, network=copy.deepcopy(network, kept))
    twin.redone = set()
    return twin


def _check_usable(description: Description, path: Path, way: Way) -> None:
    """Raise UsageError if pictures cannot be given to the model, or it has no use for what is told."""
    if description.channels not in (1, 3):
        raise UsageError(f"{path}: takes {description.channels} channels at once; pictures have 1 or 3")
    if way.noise_level is not None and not description.noise_level:
        raise UsageError(f"--noise-level={way.noise_level:g}: this model is blind; it is not told the noise")
