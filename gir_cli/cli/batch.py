"""What degrade and restore share: operands in, files or streams out, and everything said about it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from gir_cli import files
from gir_cli.batch import STDIN, STDOUT, Item, Placing, listed, listing, plan
from gir_cli.cli.signals import heed
from gir_cli.cli.terminal import is_terminal, product, progress, say
from gir_cli.cli.work import Outcomes, Work, Written
from gir_cli.errors import GirError, UsageError
from gir_cli.image import MAX_PIXELS, Saving
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


class Batch:
    """A run over operands: plans, opens, hands each job on, writes, reports, and counts."""

    def __init__(
        self,
        placing: Placing,
        saving: Saving,
        running: Running,
        *,
        suffix: str,
        since: float = 0.0,
        beside: str | None = None,
    ) -> None:
        self.placing, self.saving, self.running = placing, saving, running
        self.suffix, self.since, self.beside = suffix, since, beside
        self.done = self.failed = self.skipped = 0
        self.told: set[str] = set()
        self.replay: list[str] = []
        _ = saving.colour  # a wrong background is found before any work

    def run(self, operands: list[str], outcomes: Callable[[Work, list[Item]], Outcomes]) -> int:
        """Work on all operands and return the exit status; `outcomes` says how the planned items are worked on."""
        items = plan(
            self._operands(operands),
            self.placing,
            terminal=is_terminal(1),
            suffix=self.suffix,
            since=self.since,
            beside=self.beside,
        )
        if self.running.dry_run:
            return _dry_run(items)
        with product(hush=self.running.verbose < 2) as out:
            self.out = out
            self.on_stdout = any(item.target == STDOUT and not item.fault for item in items)
            many = len(items) > 1
            with closing(outcomes(self._work, items)) as done:
                for thing, outcome in progress(done, total=len(items), unit="image", shown=many and not self._terse):
                    self._finish(thing, outcome)
                    heed()
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

    @property
    def _work(self) -> Work:
        running = self.running
        upright, chosen = running.orient == "apply", self.placing.format is not None
        return Work(self.saving, running.jobs, running.max_pixels, upright, chosen, self.placing.in_place)

    @property
    def _terse(self) -> bool:
        return self.running.quiet or self.running.json or self.running.verbose > 0

    # ---- what is said

    def _finish(self, item: Item, outcome: Written | GirError) -> None:
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

    def _deliver(self, written: Written) -> None:
        item = written.item
        if item.target == STDOUT:
            self.out.write(written.data)
            self.out.flush()
        for note in written.notes:
            self._note(item, note)
        for incident in () if self._silent else written.incidents:
            say(f"gir: {_shown(item)}: {incident}")
        if self.running.json:
            self._tell(item, {"status": "done", "error": None, **written.facts})
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
            named = {"input": _shown(item), "output": None if item.fault else files.shown(item.target)}
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


def _dry_run(items: list[Item]) -> int:
    """Print what would be done, say what could not be, and return the exit status."""
    for line in listing(items):
        print(line)
    faulty = [item for item in items if item.fault]
    for item in faulty:
        say(f"gir: {_shown(item)}: {item.fault}")
    return 1 if faulty else 0


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
