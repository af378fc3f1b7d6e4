"""Training data: folders of clean photographs to batches of (worse, clean), addressed by index.

Photographs are decoded once into one file of uint8 values that is mapped into memory. Sample *i*
is a pure function of (seed, i): its crop, flips, chain and noise. No sampler, worker or generator
state exists, so a resumed run, any number of workers and any number of processes see the same
batches.

Where samples are degraded on the device, workers make only crops and the plan of their chains; crop,
chain, and all that is drawn on the host still depend on (seed, i) alone, random fields on the seed and
the batch's address.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import math
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import zip_longest
from multiprocessing import active_children, resource_tracker
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from gir_cli import device_chain, figures, files
from gir_cli.chain import PRESETS, Chain, Distribution, Mixture, apply, draw, in_crops, parse, preset
from gir_cli.color import to_linear, to_srgb
from gir_cli.errors import GirError, InputError, UsageError
from gir_cli.image import by_extension, decode, recognise
from gir_cli.image.formats import MAGIC_LENGTH
from gir_cli.ops import Operator
from gir_cli.rng import Rng, below, quick_stream, seed_of
from gir_cli.suite import task_called

HELD_OUT = 32  # one photograph in so many is kept for validation
LEVELS = np.arange(256, dtype=np.float32) / 255
UNTOUCHED = 0.3  # share of clean pictures in a preset's mixture; with 0.15, clear ones were changed too often


def photographs_in(folders: Iterable[Path]) -> list[Path]:
    """Return the image files under `folders`, descending, in byte order; hidden and other files are skipped.

    A file that is called an image but is none is returned, for decoding to complain of it. Raises
    InputError naming a folder that is missing or holds no image.
    """
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder of photographs")
        here = [path for path in folder.rglob("*") if _visible(path, folder) and _is_image(path)]
        if not here:
            raise InputError(f"{folder}: holds no images")
        found += sorted(here, key=os.fsencode)
    return found


def _visible(path: Path, folder: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)


def _is_image(path: Path) -> bool:
    try:
        return bool(recognise(files.read(str(path), MAGIC_LENGTH)))
    except InputError:
        return by_extension(str(path)) is not None


@dataclass(frozen=True)
class Photographs:
    """Clean photographs: the file of all their uint8 RGB values, and where in it each one lies.

    `places` are (first value, height, width); `digest` is the SHA-256 of all values and shapes and
    names the data in the weights' record. The file is mapped at first use, in each process anew.
    """

    file: Path
    places: tuple[tuple[int, int, int], ...]
    digest: str

    @cached_property
    def _values(self) -> np.ndarray:
        return np.memmap(self.file, dtype=np.uint8, mode="r")

    def __getstate__(self) -> dict[str, object]:
        return {"file": self.file, "places": self.places, "digest": self.digest}

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return photograph `index`, uint8 (H, W, 3), a view of the map."""
        first, height, width = self.places[index]
        return self._values[first : first + 3 * height * width].reshape(height, width, 3)

    def crop(self, rng: Rng, side: int, zoom: float = 1.0) -> np.ndarray:
        """Return a random square of a random photograph in a random one of its 8 orientations.

        It shows up to `zoom` times as much, reduced to `side` by the mean over areas, where there is as much.
        """
        photograph = self[below(rng, len(self))]
        height, width = photograph.shape[:2]
        most = min(zoom, height / side, width / side)
        seen = round(side * rng.uniform(1, most)) if most > 1 else side
        top, left = below(rng, height - seen + 1), below(rng, width - seen + 1)
        square = photograph[top : top + seen, left : left + seen]
        if seen > side:
            square = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
        turned = np.rot90(square, below(rng, 4))
        return np.ascontiguousarray(turned[:, ::-1] if rng.uniform() < 0.5 else turned)

    def held_out(self, share: int) -> tuple[Photographs, Photographs]:
        """Return (the rest, every `share`-th one); a single photograph is both."""
        kept = self.places[::share]
        rest = tuple(place for index, place in enumerate(self.places) if index % share) or kept
        return replace(self, places=rest), replace(self, places=kept)


def open_photographs(
    folders: Iterable[Path], cache: Path, side: int, report: Callable[[int, int], None] = lambda done, total: None
) -> Photographs:
    """Return the photographs under `folders`, decoded on the first call and mapped afterwards.

    The map lies under `cache`, named by a digest of the files' paths, sizes and times. `side` is the
    smallest height and width allowed. `report(done, total)` is called while decoding. Raises InputError
    naming the first file that cannot be read or is too small.
    """
    paths = photographs_in(folders)
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    key = hashlib.sha256(json.dumps(stats).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    index = _decoded(cache, key) or _decode_all(paths, cache, key, report)
    for path, (height, width) in zip(paths, index["shapes"], strict=True):
        if min(height, width) < side:
            raise InputError(
                f"{path}: {width}x{height} is too small, patches to train or validate on have {side}x{side} pixels"
            )
    firsts = np.cumsum([0] + [3 * height * width for height, width in index["shapes"]]).tolist()
    places = tuple((first, *shape) for first, shape in zip(firsts, index["shapes"], strict=False))
    return Photographs(cache / f"{key}.u8", places, index["digest"])


@dataclass(frozen=True)
class Pairs:
    """Real photographs twice: `worse` as they were taken, and `clean`; of equal number and sizes."""

    worse: Photographs
    clean: Photographs

    def held_out(self, share: int) -> tuple[Pairs, Pairs]:
        """Return (the rest, every `share`-th one); a single pair is both."""
        (worse, kept_worse), (clean, kept_clean) = self.worse.held_out(share), self.clean.held_out(share)
        return Pairs(worse, clean), Pairs(kept_worse, kept_clean)


def open_pairs(folders: Iterable[Path], cache: Path, side: int) -> Pairs:
    """Return the real pairs of `folders`, each with `lq/NAME` beside `gt/NAME`; the extensions may differ.

    Raises InputError naming the first that has no partner, or one of another size.
    """
    folders = list(folders)
    halves = [[folder / half for folder in folders] for half in ("lq", "gt")]
    paths = [photographs_in(half) for half in halves]
    for one, other in zip_longest(*paths):
        if one is None or other is None or one.stem != other.stem:
            raise InputError(f"{one or other}: is not in both lq/ and gt/, or out of order")
    worse, clean = (open_photographs(half, cache, side) for half in halves)
    for path, (_, *size), (_, *other) in zip(paths[0], worse.places, clean.places, strict=True):
        if size != other:
            raise InputError(f"{path}: is {size[1]}x{size[0]}, its partner in gt/ {other[1]}x{other[0]}")
    return Pairs(worse, clean)


def _decoded(cache: Path, key: str) -> dict[str, Any] | None:
    """Return the table of a map that is there and whole, or None."""
    try:
        index = json.loads((cache / f"{key}.json").read_text())
    except (OSError, ValueError):
        return None
    wanted = sum(3 * height * width for height, width in index["shapes"])
    return index if files.size(str(cache / f"{key}.u8")) == wanted else None


def _decode_all(paths: list[Path], cache: Path, key: str, report: Callable[[int, int], None]) -> dict[str, Any]:
    """Write the map, then its table, which is returned; both aside first, then renamed."""
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f"{key}.{os.getpid()}.partial"
    shapes, digest = [], hashlib.sha256()
    try:
        with open(partial, "wb") as out:
            for done, path in enumerate(paths):
                values = _levels(path)
                shapes.append(values.shape[:2])
                digest.update(repr(values.shape).encode() + values.tobytes())
                out.write(values.tobytes())
                report(done + 1, len(paths))
        os.replace(partial, cache / f"{key}.u8")
        index = {"shapes": shapes, "digest": digest.hexdigest()}
        partial.write_text(json.dumps(index))
        os.replace(partial, cache / f"{key}.json")
        return index
    finally:
        partial.unlink(missing_ok=True)


def _levels(path: Path) -> np.ndarray:
    try:
        pixels = decode(files.read(str(path))).pixels
    except GirError as error:
        raise InputError(f"{path}: {error}") from None
    return quantised(pixels)


def quantised(pixels: np.ndarray) -> np.ndarray:
    """Return `pixels` clipped and rounded to uint8 levels, as a saved file would hold them."""
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


@lru_cache(maxsize=64)
def mixture(
    distribution: str, side: int, counts: tuple[float, ...] = (), often: tuple[tuple[str, float], ...] = ()
) -> Distribution:
    """Return what `distribution` draws for side × side crops: a preset's name, single:TASK, or a chain's text.

    `counts[k]` is the probability of k + 1 steps of a chain, or of a preset that is a mixture; if there are none,
    all steps of a chain act, and a preset knows its own. `often` are pairs of a step's name and how often it comes
    beside others, in place of the preset's own or of 1. More of a preset mixture's pictures stay clean than where
    it is drawn from by `gir degrade --random`. Raises UsageError for `counts` and `often` where nothing is mixed.
    """
    kind, _, name = distribution.partition(":")
    found = preset(distribution, side, side) if distribution in PRESETS else None
    if isinstance(found, Mixture):
        found = replace(found, clean=UNTOUCHED, counts=counts or found.counts)
    elif (counts or often) and (found or kind == "single"):
        raise UsageError(f"--counts and --often are for mixtures, and {distribution} is none")
    elif kind == "single":
        found = all_of(in_crops(parse(task_called(name).chain), side))
    elif found is None:
        chain = parse(distribution)
        if often and not counts:
            raise UsageError("--often is of no use for a chain of which all steps act; say --counts too")
        found = Mixture(chain, counts) if counts else all_of(chain)
    return _weighted(found, dict(often)) if often else found


def _weighted(found: Mixture, often: dict[str, float]) -> Mixture:
    """Return `found` with its steps as often as `often` has them, by name."""
    names = [step.name for step in found.steps]
    if unknown := set(often) - set(names):
        raise UsageError(f"--often: {min(unknown)} is none of the steps ({', '.join(dict.fromkeys(names))})")
    before = found.weights or (1.0,) * len(names)
    return replace(found, weights=tuple(often.get(name, weight) for name, weight in zip(names, before, strict=True)))


def all_of(chain: Chain) -> Mixture:
    """Return the distribution in which every step of `chain` acts."""
    return Mixture(chain, counts=(0.0,) * (len(chain) - 1) + (1.0,))


def exposure(clean: np.ndarray, rng: Rng) -> np.ndarray:
    """Return a photograph, uint8 (H, W, 3), as if it had been taken with less light, or of pale things, or edited.

    A fifth of the draws each leave a fifth to nine tenths of the light; compress the values evenly to between
    0.05 to 0.3 and 0.75 to 1; stretch what is between 0 to 0.2 and 0.7 to 1 over all values; bend them, half
    of these by a power of 0.4 to 1, half to more contrast; and leave only 16 to 250 values, evenly spread. Of the
    last three there are gaps in the histogram.
    """
    kind = rng.uniform()
    if kind < 0.2:
        levels = to_srgb(np.float32(rng.uniform(0.2, 0.9)) * to_linear(LEVELS))
    elif kind < 0.4:
        black, white = rng.uniform(0.05, 0.3), rng.uniform(0.75, 1)
        levels = np.float32(black) + np.float32(white - black) * LEVELS
    elif kind < 0.6:
        black, white = rng.uniform(0, 0.2), rng.uniform(0.7, 1)
        levels = ((LEVELS - np.float32(black)) / np.float32(white - black)).clip(0, 1)
    elif kind < 0.7:
        levels = LEVELS ** np.float32(rng.uniform(0.4, 1))
    elif kind < 0.8:
        levels = LEVELS - np.float32(rng.uniform(0, 0.9) / (2 * np.pi)) * np.sin(np.float32(2 * np.pi) * LEVELS)
    else:
        most = np.float32(round(rng.uniform(15, 249)))
        levels = np.rint(most * LEVELS) / most
    return np.rint(255 * levels).astype(np.uint8)[clean]


@dataclass(frozen=True)
class Samples(Dataset):
    """Batches of training samples; indexed by (first sample, number of samples, side).

    A batch is (worse, clean), two uint8 tensors (N, 3, side, side). `role` separates the streams
    of training and validation. A share of the samples is cut from real `pairs`, if there are any; all
    where there are no photographs beside them. Photographs, not pairs, are shown reduced by up to `zoom`, and
    a share of them, `exposed`, as `exposure` has them; on a share, `figured`, figures are drawn.
    """

    photographs: Photographs | None
    distribution: str
    seed: int
    role: str = "train"
    pairs: Pairs | None = None
    pairs_share: float = 0.5
    counts: tuple[float, ...] = ()
    often: tuple[tuple[str, float], ...] = ()
    zoom: float = 1.0
    exposed: float = 0.0
    figured: float = 0.0

    def drawn(self, index: int, side: int) -> tuple[np.ndarray, list[Operator], Rng]:
        """Return what sample `index` is made of: clean uint8 (side, side, 3), its operators, and their stream."""
        rng = quick_stream(self.seed, self.role, index)
        clean = self.photographs.crop(rng, side, self.zoom)
        if self.exposed:
            own = quick_stream(self.seed, self.role, index, "exposure")
            clean = exposure(clean, own) if own.uniform() < self.exposed else clean
        if self.figured:
            own = quick_stream(self.seed, self.role, index, "figures")
            clean = figures.drawn(clean, own) if own.uniform() < self.figured else clean
        return clean, draw(self.mixture(side).draw(rng), rng), rng

    def mixture(self, side: int) -> Distribution:
        """Return what chains are drawn from for crops of side × side."""
        return mixture(self.distribution, side, self.counts, self.often)

    def sample(self, index: int, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Return sample `index`: (worse, clean), uint8 (side, side, 3)."""
        if self._is_real(index):
            # Two streams of one address cut both pictures at one place.
            worse, clean = (
                half.crop(quick_stream(self.seed, self.role, index), side)
                for half in (self.pairs.worse, self.pairs.clean)
            )
            return worse, clean
        clean, operators, rng = self.drawn(index, side)
        return quantised(apply(operators, clean.astype(np.float32) / np.float32(255), rng)), clean

    def _is_real(self, index: int) -> bool:
        """Say whether sample `index` is cut from a real pair."""
        if self.pairs is None or self.photographs is None:
            return self.pairs is not None
        return quick_stream(self.seed, self.role, index, "pair").uniform() < self.pairs_share

    def __getitem__(self, address: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        first, count, side = address
        worse, clean = zip(*(self.sample(index, side) for index in range(first, first + count)), strict=True)
        return stacked(worse), stacked(clean)

    def pair(self, batch: tuple[torch.Tensor, torch.Tensor], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (worse, clean) of an item, for training on `device`."""
        return batch


@dataclass(frozen=True)
class Sources:
    """What a run learns from: clean photographs, real pairs, or both."""

    photographs: Photographs | None
    pairs: Pairs | None = None

    @property
    def digest(self) -> str:
        """Names all the data: SHA-256."""
        digests = [self.photographs.digest] if self.photographs else []
        digests += [self.pairs.worse.digest, self.pairs.clean.digest] if self.pairs else []
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    def samples(
        self,
        distribution: str,
        seed: int,
        pairs_share: float = 0.5,
        counts: tuple[float, ...] = (),
        often: tuple[tuple[str, float], ...] = (),
        zoom: float = 1.0,
        exposed: float = 0.0,
        figured: float = 0.0,
    ) -> tuple[Samples, Samples]:
        """Return (training samples, validation samples); they share no picture unless there is only one."""
        kinds = [kind.held_out(HELD_OUT) if kind else (None, None) for kind in (self.photographs, self.pairs)]
        return tuple(
            Samples(photographs, distribution, seed, role, pairs, pairs_share, counts, often, zoom, exposed, figured)
            for role, photographs, pairs in zip(("train", "valid"), *kinds, strict=True)
        )


def stacked(images: Sequence[np.ndarray]) -> torch.Tensor:
    """Return images (H, W, 3) as one batch (N, 3, H, W), channels last in memory, as networks like them."""
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class Planned:
    """A batch that is not degraded yet: clean uint8 (N, 3, side, side), and how it will be."""

    clean: torch.Tensor
    stages: list[device_chain.Stage]
    seed: int


@dataclass(frozen=True)
class DeviceSamples(Dataset):
    """The batches of `samples`, degraded on the device where `pair` wants them."""

    samples: Samples

    def __getitem__(self, address: tuple[int, int, int]) -> Planned:
        first, count, side = address
        drawn = [self.samples.drawn(index, side) for index in range(first, first + count)]
        clean, chains, rngs = zip(*drawn, strict=True)
        seed = seed_of(self.samples.seed, self.samples.role, "fields", *address)
        return Planned(stacked(clean), device_chain.planned(chains, rngs, side), seed)

    def pair(self, batch: Planned, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (worse, clean) of an item, uint8 on `device`."""
        clean = batch.clean.to(device, non_blocking=True)
        generator = torch.Generator(device).manual_seed(batch.seed)
        worse = device_chain.apply(batch.stages, clean.contiguous().float() / 255, generator)
        return worse.clamp(0, 1).mul(255).round().byte(), clean


def batches(samples: Samples | DeviceSamples, addresses: Iterable[tuple[int, int, int]], workers: int) -> Iterator:
    """Yield the batch at each address, in order, made by `workers` processes (0: this one)."""
    loader = DataLoader(
        samples,
        batch_size=None,
        sampler=addresses,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
        # A forked worker would wait for ever on OpenCV's threads, which stay behind in the parent.
        multiprocessing_context="spawn" if workers else None,
    )
    with _signals_held():
        made = iter(loader)  # starts the workers
    yield from made


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back while the block lasts; processes that are started in it never get them.

    A terminal and schedulers send them to workers too, which must not end before this process has saved its state.
    """
    resource_tracker.ensure_running()  # Python 3.11 lets signals through again when it starts that
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@atexit.register
def _end_workers() -> None:
    """Kill the workers that an exception left running: the interpreter's end asks by SIGTERM, and waits for them."""
    for process in active_children():
        if process.daemon:
            process.kill()


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def to_float(batch: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Return uint8 (N, 3, H, W) levels on `device` as float32 in [0, 1], channels last."""
    return batch.to(device, non_blocking=True).float().div_(255).contiguous(memory_format=torch.channels_last)


def psnr(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the PSNR (N,) in dB of batches (N, 3, H, W) in [0, 1] after rounding to 8 bits, at most 60."""
    error = (a.clamp(0, 1).mul(255).round() - b.clamp(0, 1).mul(255).round()).div(255).square().mean((1, 2, 3))
    return -10 * torch.log10(error.clamp_min(1e-6)) if math.isfinite(float(error.sum())) else error * math.nan
