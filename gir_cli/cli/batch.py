"""What degrade and restore share: operands in, files or streams out, and everything said about it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from gir_cli import files
from gir_cli.batch import STDIN, STDOUT, Item, Placing, framed, listed, listing, ordered, plan
from gir_cli.cli.terminal import is_terminal, product, progress, say
from gir_cli.errors import GirError, UsageError, WeightsError
from gir_cli.image import (
    FORMATS,
    MAX_PIXELS,
    Encoded,
    Image,
    Saving,
    decode_all,
    encode,
    frames,
    read_header,
    recognise,
    stdout_format,
)
from gir_cli.params import Checked, Param


@dataclass(frozen=True)
class Running(Checked):
    """How a batch runs."""

    files_from: Annotated[str | None, Param("read operands from a file, one a line; - is standard input")] = None
    null: Annotated[bool, Param("operands in that file end with NUL, not newline")] = False
    jobs: Annotated[int, Param("images decoded and encoded at a time", 1, 256)] = max(1, min(os.cpu_count() or 1, 8))
    dry_run: Annotated[bool, Param("print INPUT<TAB>OUTPUT for what would be done, and touch nothing")] = False
    fail_fast: Annotated[bool, Param("stop at the first image that fails")] = False
    orient: Annotated[
        Literal["apply", "keep"], Param("turn pixels upright and set the tag to 1, or leave both as they are")
    ] = "apply"
    max_pixels: Annotated[int, Param("largest image accepted, checked before decoding", 1, unit="pixels")] = MAX_PIXELS
    json: Annotated[bool, Param("say everything as JSON Lines: on stdout, or on stderr if images go there")] = False
    quiet: Annotated[bool, Param("say nothing but errors")] = False
    verbose: Annotated[int, Param("say a line for each file (-vv: more)", 0)] = 0


@dataclass(frozen=True)
class Job:
    """An opened input: its item, its bytes, its pages."""

    item: Item
    data: bytes
    pages: list[Image]


@dataclass(frozen=True)
class Result:
    """A finished output: its item and pages.

    `record` goes into the file, `facts` into what --json says, `replay` into the file of --record.
    """

    item: Item
    pages: list[Image]
    record: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    replay: tuple[str, ...] = ()
    encoded: Encoded | None = None


Act = Callable[[Job], Result]


class Batch:
    """A run over operands: plans, opens, hands each job on, writes, reports, and counts."""

    def __init__(self, placing: Placing, saving: Saving, running: Running, *, suffix: str, since: float = 0.0) -> None:
        self.placing, self.saving, self.running = placing, saving, running
        self.suffix, self.since = suffix, since
        self.done = self.failed = self.skipped = 0
        self.told: set[str] = set()
        self.replay: list[str] = []
        _ = saving.colour  # a wrong background is found before any work

    def run(self, operands: list[str], act: Act, *, inside: bool) -> int:
        """Work on all operands and return the exit status.

        `inside` says that `act` may run in the worker threads; else it runs in this one, between them.
        """
        items = plan(
            self._operands(operands), self.placing, terminal=is_terminal(1), suffix=self.suffix, since=self.since
        )
        if self.running.dry_run:
            print("\n".join(listing(items)))
            return 0
        with product(hush=self.running.verbose < 2) as out:
            self.out = out
            self.on_stdout = any(item.target == STDOUT for item in items)
            many = len(items) > 1
            outcomes = self._outcomes(items, act, inside)
            for thing, outcome in progress(outcomes, total=len(items), unit="image", shown=many and not self._terse):
                self._finish(thing, outcome)
                if self.failed and self.running.fail_fast:
                    break
            self._summary(many)
        return 1 if self.failed else 0

    def _operands(self, operands: list[str]) -> list[str]:
        source = self.running.files_from
        if source is not None:
            data = sys.stdin.buffer.read() if source == STDIN else _named_file(source)
            return [*operands, *listed(data, null=self.running.null)]
        if operands:
            return operands
        if is_terminal(0):
            raise UsageError("nothing to read: name a file, a directory, or - for standard input")
        return [STDIN]

    # ---- the stages

    def _outcomes(self, items: list[Item], act: Act, inside: bool) -> Iterator[tuple[Item, Result | GirError]]:
        """Yield each item with its encoded result or its fault, in order."""
        given = self._opened(items)
        jobs = self.running.jobs
        if inside:
            made = ordered(lambda opened: self._encode(act(self._decode(opened))), given, workers=jobs)
            yield from ((opened[0], outcome) for opened, outcome in made)
            return
        decoded = ordered(self._decode, given, workers=jobs)
        acted = ((opened[0], _tried(act, job)) for opened, job in decoded)
        for (item, _), outcome in ordered(lambda pair: _tried(self._encode, pair[1]), acted, workers=jobs):
            yield item, outcome

    @property
    def _terse(self) -> bool:
        return self.running.quiet or self.running.json or self.running.verbose > 0

    def _opened(self, items: list[Item]) -> Iterator[tuple[Item, bytes | None]]:
        """Yield items, standard input's frame by frame with their bytes."""
        for item in items:
            if item.source != STDIN or item.fault:
                yield item, None
                continue
            number = 0
            try:
                for number, data in enumerate(frames(sys.stdin.buffer, max_pixels=self.running.max_pixels), 1):
                    form = FORMATS[item.format] if item.format else recognise(data)
                    yield framed(item, number, (form if form.writes else FORMATS["png"]).extension), data
            except GirError as error:
                yield replace(item, key=str(number + 1), fault=error), None

    def _decode(self, opened: tuple[Item, bytes | None]) -> Job:
        item, data = opened
        if item.fault:
            raise item.fault
        if item.skipped:
            return Job(item, b"", [])
        data = files.read(item.source) if data is None else data
        read_header(data, max_pixels=self.running.max_pixels)
        upright = self.running.orient == "apply"
        return Job(item, data, decode_all(data, max_pixels=self.running.max_pixels, orient=upright))

    def _encode(self, result: Result) -> Result:
        if result.item.skipped:
            return result
        form = result.item.format
        if form is None or (result.item.target == STDOUT and self.placing.format is None):
            form = stdout_format(result.pages[0])
        encoded = encode(result.pages, form, self.saving, record=result.record)
        if result.item.target != STDOUT:
            files.write(result.item.target, encoded.data)
        return replace(result, encoded=encoded)

    # ---- what is said

    def _finish(self, item: Item, outcome: Result | GirError) -> None:
        if isinstance(outcome, GirError):
            self.failed += 1
            self._tell(item, {"status": "failed", "error": str(outcome)})
            if not self.running.json:
                say(f"gir: {_shown(item)}: {outcome}")
        elif item.skipped:
            self.skipped += 1
            self._tell(item, {"status": "skipped", "error": item.skipped})
        else:
            self.done += 1
            self.replay += outcome.replay
            self._deliver(outcome)

    def _deliver(self, result: Result) -> None:
        item, image = result.item, result.pages[0]
        if item.target == STDOUT:
            self.out.write(result.encoded.data)
            self.out.flush()
        for note in (*image.notes, *result.encoded.notes):
            self._note(item, note)
        if self.running.json:
            size = {"width": image.width, "height": image.height, "depth": image.depth}
            self._tell(item, {"status": "done", "error": None, **size, **result.facts})
        elif not self.running.quiet and (self.running.verbose or self._unasked(item)):
            say(f"{_shown(item)} -> {files.shown(item.target)}")

    def _unasked(self, item: Item) -> bool:
        """Say whether the user did not name the place that `item` is written to."""
        return self.placing.output is None and not self.placing.in_place and item.target != STDOUT

    def _note(self, item: Item, note: str) -> None:
        if note not in self.told and not self._silent:
            self.told.add(note)
            say(f"gir: {_shown(item)}: {note}")

    @property
    def _silent(self) -> bool:
        return self.running.quiet or self.running.json

    def _tell(self, item: Item, facts: dict[str, Any]) -> None:
        if self.running.json:
            named = {"input": _shown(item), "output": files.shown(item.target)}
            self._print(json.dumps(named | facts))

    def _print(self, line: str) -> None:
        """Print a line of --json: on stdout, unless images go there."""
        if self.on_stdout:
            say(line)
        else:
            self.out.write(f"{line}\n".encode())
            self.out.flush()

    def _summary(self, many: bool) -> None:
        counts = {"done": self.done, "failed": self.failed, "skipped": self.skipped}
        if self.running.json:
            self._print(json.dumps({"summary": counts}))
        elif many and not self.running.quiet:
            said = [f"{self.done} done", *(f"{n} {name}" for name, n in counts.items() if n and name != "done")]
            say(f"gir: {', '.join(said)}")


def _tried(work: Callable[[Any], Any], thing: Any) -> Any:
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


def _named_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # a pipe is as good as a file here: --files-from <(find …)
            return file.read()
    except OSError as error:
        raise UsageError(f"{files.shown(path)}: {files.reason(error)}") from None


def _shown(item: Item) -> str:
    if item.source != STDIN:
        return files.shown(item.source)
    return "<stdin>" if item.key in ("0", "1") else f"<stdin> frame {item.key}"
