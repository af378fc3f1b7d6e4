"""gir restore: restore images with one model."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gir_cli import provenance, records
from gir_cli.batch import STDIN, Item, Placing, ordered
from gir_cli.cli.batch import Batch, Running
from gir_cli.cli.options import spread
from gir_cli.cli.places import DEFAULT_MODEL, cache, weights_places
from gir_cli.cli.work import Job, Jobs, Result, tried
from gir_cli.errors import GirError, UsageError
from gir_cli.image import Image, Saving, check_size, named, room
from gir_cli.params import Checked, Param, params_of

if TYPE_CHECKING:
    from gir_cli.restore import Crew, Restorer

TOGETHER = 1 << 18  # pixels of small images that go through the model as one batch
BESIDE = 1 << 24  # pixels of images that are restored beside each other
MOST = 4  # restorers beside each other, for each needs memory of its own
FEW = 8  # files: with fewer, cores that are idle while the last one is restored cost more than is won

EPILOG = """Examples:

  gir restore in.jpg                              in.restored.jpg here, or stdout in a pipe
  gir restore -r photos/ -o better/               a tree, mirrored
  gir degrade --noise 25 in.png | gir restore > out.png
  gir restore -m official.pth in.png              weights that others published
  gir restore --strength 0.6 old.tif -o new.tif   keeps 40 % of the input
"""


@dataclass(frozen=True)
class Restoring(Checked):
    """How images are restored."""

    model: Annotated[
        str | None, Param("weights: a name that gir models lists, or a file; GIR_MODEL says another default")
    ] = None
    device: Annotated[str, Param("auto, cpu, cuda, cuda:N or mps; several, as cuda:0,1, share out the files")] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"], Param("arithmetic; auto takes what is fast and agrees with fp32")
    ] = "auto"
    threads: Annotated[int | None, Param("threads of the model; all cores if not given", 1, 1024)] = None
    tile: Annotated[str, Param("auto, off, or the side of the tiles in pixels")] = "auto"
    overlap: Annotated[
        int | None, Param("pixels by which tiles overlap; what the model needs if not given", 0, 4096)
    ] = None
    strength: Annotated[float, Param("how much of the result is mixed with the input", 0, 1)] = 1.0
    tta: Annotated[bool, Param("average the 8 flips and rotations, 8 times slower; harms where it rains")] = False
    passes: Annotated[int, Param("how many times the model is applied", 1, 100)] = 1
    noise_level: Annotated[
        float | None,
        Param(
            "for models that are told the noise, its standard deviation; estimated if not given", 0, 255, "8-bit levels"
        ),
    ] = None
    compile: Annotated[
        bool, Param("compile the network first, for up to a minute; pays for a thousand images and more")
    ] = False
    no_provenance: Annotated[bool, Param("leave out the record of what was done")] = False


@spread
def restore(
    operands: Annotated[list[str] | None, typer.Argument(metavar="[FILE|DIR|-]...", show_default=False)] = None,
    restoring: Restoring = Restoring(),
    placing: Placing = Placing(),
    saving: Saving = Saving(),
    running: Running = Running(),
) -> int:
    """Restore images with one model: noise, blur, compression, rain, haze, darkness and damage, in any mixture.

    The shipped models are blind: they are told nothing about what is wrong with an image. Depth, transparency, gray,
    orientation, profile and metadata of the input are kept.
    """
    _tile(restoring.tile)
    weights = records.find(restoring.model or os.environ.get("GIR_MODEL") or DEFAULT_MODEL, weights_places())
    batch = Batch(placing, saving, running, suffix=".restored", since=weights.stat().st_mtime)
    stages = [Restoration(one, saving, weights, cache() / "checks") for one in _for_each_device(restoring)]
    if len(stages) == 1:
        return batch.run(list(operands or ()), lambda work, items: work.between(items, stages[0].over(items)))
    from gir_cli.cli.processes import shared_out

    return batch.run(list(operands or ()), lambda work, items: shared_out(work, _of_files(items), stages))


def _for_each_device(restoring: Restoring) -> list[Restoring]:
    """Return `restoring` with one device each: 'cuda:0,1' means two, as 'cuda:0,cuda:1' does."""
    kind = restoring.device.partition(":")[0]
    devices = [f"{kind}:{name}" if name.isdecimal() else name for name in restoring.device.split(",")]
    if len(devices) == 1:
        return [restoring]
    shared = max(1, (os.cpu_count() or 1) // len(devices))
    threads = [restoring.threads or (shared if name == "cpu" else None) for name in devices]
    return [replace(restoring, device=name, threads=count) for name, count in zip(devices, threads, strict=True)]


def _of_files(items: list[Item]) -> list[Item]:
    """Return `items`, or raise UsageError: processes cannot share a stream."""
    if any(STDIN in (item.source, item.target) for item in items):
        raise UsageError("several devices share out files; standard input and output need a single --device")
    return items


def _tile(text: str) -> int | Literal["off"] | None:
    if text in ("auto", "off"):
        return None if text == "auto" else "off"
    if text.isdecimal() and 16 <= int(text) <= 65536:
        return int(text)
    raise UsageError(f"--tile={text} is none of auto, off, or a number of pixels from 16 to 65536")


@dataclass(frozen=True)
class Restoration:
    """The stage that restores: jobs in, results out. `checks` is where restorers keep what they found out.

    `most` is how many of them work beside each other.
    """

    restoring: Restoring
    saving: Saving
    weights: Path
    checks: Path
    most: int = 1

    def over(self, items: Sequence[Item]) -> Restoration:
        """Return the stage for `items`: several are restored at a time, but for frames, which come when they come."""
        apart = len(items) >= FEW and not any(item.source == STDIN for item in items)
        return replace(self, most=min(MOST, self.restoring.threads or os.cpu_count() or 1)) if apart else self

    def __call__(self, decoded: Jobs) -> Iterator[tuple[Item, Result | GirError]]:
        with ThreadPoolExecutor(1) as beside:  # torch is imported while the first images are read
            loading = beside.submit(self._loaded)
            groups = alike(decoded)
            if self.most == 1:
                for group in groups:
                    yield from self._acted(group, loading)
                return
            acted, halt = partial(self._acted, loading=loading), partial(_dismiss, loading)
            for _, done in ordered(acted, groups, workers=self.most, weight=_pixels, most=BESIDE, halt=halt):
                if isinstance(done, GirError):  # of the command or the weights, and so of all
                    raise done
                yield from done

    def _loaded(self) -> Crew:
        from gir_cli.restore import Crew, Restorer, Way

        asked = {
            field.name: getattr(self.restoring, field.name)
            for field in fields(Way)
            if field.name in params_of(Restoring)
        }
        way = Way(**asked | {"tile": _tile(self.restoring.tile)})
        return Crew(Restorer(self.weights, way, self.checks), self.most)

    def _acted(
        self, group: list[tuple[Item, Job | GirError]], loading: Future[Crew]
    ) -> list[tuple[Item, Result | GirError]]:
        items, jobs = zip(*group, strict=True)
        if items[0].skipped or isinstance(jobs[0], GirError):
            return [(items[0], jobs[0] if isinstance(jobs[0], GirError) else Result(items[0], []))]
        done = tried(lambda jobs: self._results_of_one(jobs, loading.result(), _pixels(group)), jobs)
        if not isinstance(done, GirError):
            return list(zip(items, done, strict=True))
        if len(group) == 1:
            return [(items[0], done)]
        # One of them spoils it for all; alone, each tells.
        return [outcome for pair in group for outcome in self._acted([pair], loading)]

    def _results_of_one(self, jobs: Sequence[Job], crew: Crew, pixels: int) -> list[Result]:
        with crew.one(pixels) as restorer:
            return self._results(jobs, restorer)

    def _results(self, jobs: Sequence[Job], restorer: Restorer) -> list[Result]:
        """Return what comes of `jobs`: one of any number of pages, or several of one page and one size."""
        begun = time.monotonic()
        numbers = range(len(jobs[0].pages))
        pages = [self._restored([job.pages[number] for job in jobs], jobs, restorer) for number in numbers]
        facts = restorer.facts | {"seconds": round((time.monotonic() - begun) / len(jobs), 3)}
        made = zip(*pages, strict=True)
        return [self._result(job, list(of_it), facts, restorer) for job, of_it in zip(jobs, made, strict=True)]

    def _result(
        self, job: Job, made: list[tuple[Image, dict[str, Any]]], facts: dict[str, Any], restorer: Restorer
    ) -> Result:
        """Return what comes of `job`, of whose pages `made` holds the picture and what a log says of it."""
        images, told = zip(*made, strict=True)
        redone = any(page["redone_in_fp32"] for page in told)
        return Result(
            job.item,
            list(images),
            record=self._record(job, restorer),
            facts=facts | told[0] | {"redone_in_fp32": redone},
            incidents=(f"{facts['precision']} gave NaN or infinity: redone in fp32",) if redone else (),
        )

    def _restored(
        self, images: list[Image], jobs: Sequence[Job], restorer: Restorer
    ) -> list[tuple[Image, dict[str, Any]]]:
        """Return `images`, of one size, restored, and what a log says of each."""
        scale = restorer.scale
        for image, job in zip(images, jobs, strict=True):
            check_size(named(job.form), image.width * scale, image.height * scale)
        given = [image.visible() if image.hides else image.stored for image in images]
        rooms = [room(image, job.form, self.saving, scale) for image, job in zip(images, jobs, strict=True)]
        made = restorer.together(given, rooms)
        told = [
            restorer.told(pixels) | {"redone_in_fp32": number in restorer.redone} for number, pixels in enumerate(given)
        ]
        notes = [_notes(restorer, one, image) for one, image in zip(told, images, strict=True)]
        replaced = [image.replaced(pixels) for image, pixels in zip(images, made, strict=True)]
        noted = [replace(image, notes=(*image.notes, *said)) for image, said in zip(replaced, notes, strict=True)]
        return list(zip(noted, told, strict=True))

    def _record(self, job: Job, restorer: Restorer) -> str | None:
        if self.restoring.no_provenance:
            return None
        default = asdict(Restoring())
        options = {name: value for name, value in asdict(self.restoring).items() if value != default[name]}
        return provenance.record(job.digest, options=options, model=restorer.name, weights=restorer.digest)


def _dismiss(loading: Future[Crew]) -> None:
    if loading.done() and not loading.exception():
        loading.result().dismiss()


def alike(decoded: Jobs) -> Iterator[list[tuple[Item, Job | GirError]]]:
    """Yield small files of one size, one after the other, together, and all else alone, in order.

    Frames of a stream are not kept waiting for others.
    """
    for size, run in itertools.groupby(decoded, lambda pair: _size(*pair)):
        most = TOGETHER // size[0] // size[1] if size else 1
        while group := list(itertools.islice(run, most)):
            yield group


def _pixels(group: list[tuple[Item, Job | GirError]]) -> int:
    """Return how many pixels the pages of a group have."""
    jobs = (job for _, job in group if isinstance(job, Job))
    return sum(page.width * page.height for job in jobs for page in job.pages)


def _size(item: Item, job: Job | GirError) -> tuple[int, int] | None:
    """Return height and width of a picture that others may go with, else None."""
    if isinstance(job, GirError) or item.source == STDIN or len(job.pages) != 1:
        return None
    image = job.pages[0]
    return (image.height, image.width) if 2 * image.height * image.width <= TOGETHER else None


def _notes(restorer: Restorer, told: dict[str, Any], image: Image) -> Iterator[str]:
    """Yield what the user should know of the model beside its name, and of what it was given."""
    if image.overshoots:
        yield "values beyond [0, 1] are clipped: models know none"
    record = restorer.model.record
    if "origin" in record:
        terms = record.get("license", "not told")
        yield f"{record['model']} weights that others published; terms of their code: {terms}"
    asked, tile = restorer.way.tile, restorer.facts["tile"]
    if isinstance(asked, int) and tile > asked:
        yield f"tiles of {asked} pixels would be little else than overlap; they have {tile}"
    if told.get("noise_estimated"):
        yield f"noise level estimated as {told['noise_level']:g}; --noise-level would say it"
