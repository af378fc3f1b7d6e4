"""The stages of an image's way: opened, decoded, worked on, encoded and written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gir_cli import files, provenance
from gir_cli.batch import STDIN, STDOUT, Item, framed, ordered
from gir_cli.errors import GirError, InputError, UsageError, WeightsError
from gir_cli.image import FORMATS, Image, Saving, decode_all, encode, frames, read_header, recognise, stdout_format

MOST = 64 << 20  # bytes of files that are decoded or encoded at a time; their pixels take about eight times as much


@dataclass(frozen=True)
class Job:
    """An opened input: its item, its pages, the name of the format they go to, and its bytes' SHA-256."""

    item: Item
    pages: list[Image]
    form: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Result:
    """What was made of a job: its item and pages.

    `record` goes into the file, `facts` into what --json says, `replay` into the file of --record. `incidents`
    are sentences for the user that are said of each picture, where the notes of its pages are said once a run.
    """

    item: Item
    pages: list[Image]
    record: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    replay: tuple[str, ...] = ()
    incidents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Written:
    """What remains of a result whose file is written: what is to be said, and for standard output its bytes."""

    item: Item
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    replay: tuple[str, ...] = ()
    incidents: tuple[str, ...] = ()
    data: bytes = b""


Act = Callable[[Job], Result]
Outcomes = Generator[tuple[Item, Written | GirError], None, None]
Jobs = Iterator[tuple[Item, Job | GirError]]
#: A stage between decoding and encoding, in the calling thread: jobs or their faults in, results or faults out.
Stage = Callable[[Jobs], Iterator[tuple[Item, Result | GirError]]]


@dataclass(frozen=True)
class Work:
    """How images are read and written.

    `chosen` says that the user chose the format, `in_place` that each file is replaced.
    """

    saving: Saving
    jobs: int
    max_pixels: int
    upright: bool
    chosen: bool
    in_place: bool = False

    def inside(self, items: Sequence[Item], act: Act) -> Outcomes:
        """Yield each item with what was written or its fault, in order; `act` runs in the worker threads."""
        made = self._ordered(lambda opened: self._encode(act(self._decode(opened))), self._opened(items), _file_size)
        yield from ((opened[0], outcome) for opened, outcome in made)

    def between(self, items: Sequence[Item], stage: Stage) -> Outcomes:
        """Yield each item with what was written or its fault, in order; `stage` runs in this thread.

        Images are decoded ahead of it and encoded behind it. It is not begun where there is nothing to do.
        """
        if all(item.skipped or item.fault for item in items):
            yield from self.inside(items, lambda job: Result(job.item, []))
            return
        decoded = self._ordered(self._decode, self._opened(items), _file_size)
        acted = stage((opened[0], job) for opened, job in decoded)
        for (item, _), outcome in self._ordered(lambda pair: tried(self._encode, pair[1]), acted, _size_as_a_file):
            yield item, outcome

    def _ordered(self, work: Callable, given: Iterable, weight: Callable[[Any], int]) -> Iterator[tuple[Any, Any]]:
        return ordered(work, given, workers=self.jobs, weight=weight, most=MOST)

    def _opened(self, items: Iterable[Item]) -> Iterator[tuple[Item, bytes | None]]:
        """Yield items, standard input's frame by frame with their bytes."""
        for item in items:
            if item.source != STDIN or item.fault or item.skipped:
                yield item, None
                continue
            number = 0
            try:
                for number, data in enumerate(frames(sys.stdin.buffer, max_pixels=self.max_pixels), 1):
                    form = FORMATS[item.format] if item.format else recognise(data)
                    yield framed(item, number, (form if form.writes else FORMATS["png"]).extension), data
            except GirError as error:
                yield replace(item, key=str(number + 1), fault=error), None

    def _decode(self, opened: tuple[Item, bytes | None]) -> Job:
        item, data = opened
        if item.fault:
            raise item.fault
        if item.skipped:
            return Job(item, [])
        data = files.read(item.source) if data is None else data
        read_header(data, max_pixels=self.max_pixels)
        pages = decode_all(data, max_pixels=self.max_pixels, orient=self.upright)
        # What reading leaves out or changes, such as all frames but the first, would be lost with the file.
        if self.in_place and (notes := [note for page in pages for note in page.notes]):
            raise InputError(f"not replaced in place: {'; '.join(dict.fromkeys(notes))}")
        return Job(item, pages, self._format(item, pages[0]), provenance.digest(data))

    def _format(self, item: Item, image: Image) -> str:
        """Return the name of the format to write: on standard output, unless chosen, the picture decides."""
        if item.format is None or (item.target == STDOUT and not self.chosen):
            return stdout_format(image)
        return item.format

    def _encode(self, result: Result) -> Written:
        item = result.item
        if item.skipped:
            return Written(item)
        image = result.pages[0]
        encoded = encode(result.pages, self._format(item, image), self.saving, record=result.record)
        if item.target != STDOUT:
            files.write(item.target, encoded.data)
        size = {"width": image.width, "height": image.height, "depth": image.depth}
        notes, data = (*image.notes, *encoded.notes), encoded.data if item.target == STDOUT else b""
        return Written(item, notes, size | result.facts, result.replay, result.incidents, data)


def _file_size(opened: tuple[Item, bytes | None]) -> int:
    item, data = opened
    return files.size(item.source) if data is None else len(data)


def _size_as_a_file(pair: tuple[Item, Result | GirError]) -> int:
    """Return how long a file with the pixels of a result would be, as `MOST` reckons."""
    pages = pair[1].pages if isinstance(pair[1], Result) else ()
    return sum(3 * page.width * page.height for page in pages) // 8


def tried(work: Callable[[Any], Any], thing: Any) -> Any:
    """Return work(thing), or the fault: `thing` itself where it is one, or what `work` raises.

    What is wrong with the command or the weights, and so with every image, is raised.
    """
    if isinstance(thing, GirError):
        return thing
    try:
        return work(thing)
    except (UsageError, WeightsError):
        raise
    except GirError as error:
        return error
