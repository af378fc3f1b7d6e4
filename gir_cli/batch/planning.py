"""Operands -> plan: which file is read, where its result goes, and what may not happen.

Paths are str as `os.fsdecode` gives them, so every name works. Nothing is written here; all that can
be refused is refused before any work.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar

from gir_cli import files
from gir_cli.batch.inputs import STDIN, Found, inputs
from gir_cli.errors import GirError, OutputError, UsageError
from gir_cli.image.formats import Format, by_extension, named
from gir_cli.params import Checked, Param

STDOUT = "-"
_STDOUTS = (STDOUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
Thing = TypeVar("Thing")
_STREAMS = ("png", "pnm", "pam", "pfm")
_FIELD = re.compile(r"\{(\w*)\}")
_FRAME = re.compile(r"\d{6,}\.\w+")  # what `framed` calls a frame


@dataclass(frozen=True)
class Placing(Checked):
    """Where results go."""

    output: Annotated[str | None, Param("file or directory to write; - is standard output")] = None
    format: Annotated[str | None, Param("format to write, by name or extension")] = None
    name: Annotated[str, Param("how results are called, of {stem}, {suffix} and {ext}")] = "{stem}{suffix}.{ext}"
    suffix: Annotated[str | None, Param("text for {suffix}")] = None
    recursive: Annotated[bool, Param("descend into directories and mirror them")] = False
    in_place: Annotated[bool, Param("replace each input by its result")] = False
    skip_existing: Annotated[bool, Param("leave out inputs whose output is there")] = False
    update: Annotated[bool, Param("leave out inputs whose output is newer")] = False
    shard: Annotated[str | None, Param("K/N takes the K-th of every N inputs")] = None


@dataclass(frozen=True)
class Item:
    """One input and what becomes of it.

    `source` is a path or '-' (standard input). `target` is a path, '-' (standard output), or, for
    standard input into a directory, that directory with a '/' at its end: `framed` names the frames.
    `key` is the path relative to its operand, the address of its random stream. `format` names the
    output's format, or is None where the picture decides (`image.stdout_format`). `fault` tells why
    nothing can be done, `skipped` why nothing need be.
    """

    source: str
    target: str
    key: str
    format: str | None = None
    fault: GirError | None = None
    skipped: str | None = None


def plan(
    operands: Sequence[str],
    placing: Placing,
    *,
    terminal: bool = False,
    suffix: str = ".out",
    since: float = 0.0,
    beside: str | None = None,
) -> list[Item]:
    """Return the items of a run, in order.

    `terminal` tells whether standard output is one; `suffix` marks a result that lands in the current
    directory; `since` is when the weights changed, in seconds, for `placing.update`; `beside` is a
    file that the run writes beside the results. Raises UsageError where the request itself is wrong:
    several inputs without a place, two results in one file, a result or `beside` over an input.
    """
    _check(operands, placing)
    if is_stdout(placing.output):
        placing = replace(placing, output=STDOUT)
    many = len(operands) > 1 or any(os.path.isdir(operand) for operand in operands)
    places = _Places(placing, many, terminal, suffix)
    if many and places.path and os.path.isfile(places.path):
        raise UsageError(f"{files.shown(places.path)} is a file; several inputs need a directory")
    output = files.identity(places.path) if places.path else None
    items = [places.item(found) for operand in operands for found in inputs(operand, placing.recursive, output)]
    _refuse_collisions(items, placing)
    if beside is not None:
        _refuse_to_meet(beside, items)
    return [_judged(item, placing, since) for item in shared(items, placing.shard)]


def is_stdout(path: str | None) -> bool:
    """Tell whether `path` is '-' or another name of standard output, which pictures reach by no file."""
    return path in _STDOUTS


def _check(operands: Sequence[str], placing: Placing) -> None:
    if list(operands).count(STDIN) > 1:
        raise UsageError("standard input can be read once only")
    if placing.in_place and (placing.output is not None or placing.format is not None):
        raise UsageError("--in-place excludes -o and -f")
    if placing.in_place and STDIN in operands:
        raise UsageError("standard input cannot be replaced in place")
    if placing.skip_existing and placing.update:
        raise UsageError("--skip-existing excludes --update")
    if placing.in_place and (placing.skip_existing or placing.update):
        raise UsageError("--in-place excludes --skip-existing and --update")
    if placing.format is not None:
        named(placing.format)
    if placing.output == "":
        raise UsageError("the output has no name")
    _rendered(placing.name, {"stem": "x", "suffix": placing.suffix or "", "ext": "png"})


@dataclass(frozen=True)
class _Places:
    """Where results go: what was asked for, and what it was asked of.

    `many` tells that there may be more than one input; `terminal` that standard output is none to
    write pictures to; `suffix` marks a result in the current directory.
    """

    placing: Placing
    many: bool
    terminal: bool
    suffix: str

    @property
    def path(self) -> str | None:
        """The path asked for; None for standard output or where none was."""
        return None if self.placing.output == STDOUT else self.placing.output

    @property
    def is_folder(self) -> bool:
        """Tell whether the path is a directory's, there or not."""
        return self.path is not None and (self.many or self.path.endswith("/") or os.path.isdir(self.path))

    def item(self, found: Found) -> Item:
        """Return the item of an input."""
        item = Item(found.source, STDOUT, found.key, fault=found.fault)
        if found.fault:
            return item
        form = self.format(found)
        try:
            return replace(item, target=self.target(found, form), format=form.name if form else None)
        except OutputError as error:
            return replace(item, fault=error)

    def format(self, found: Found) -> Format | None:
        """Return the format to write, or None where only the decoded picture can tell."""
        if self.placing.format is not None:
            return named(self.placing.format)
        extension = os.path.splitext(self.path)[1] if self.path and not self.is_folder else ""
        if extension:
            return named(extension[1:])
        return found.form if found.form is None or found.form.writes else named("png")

    def target(self, found: Found, form: Format | None) -> str:
        """Return the path to write to, or '-'; standard input gets the directory alone."""
        if self.placing.in_place:
            if form is not found.form:
                raise OutputError("a format that is read only cannot be written in place")
            if found.top is not None:
                _refuse_to_leave(found.top, found.source)
            return os.path.realpath(found.source)
        if self.placing.output is None:
            return self.beside(found, form)
        if self.path is None or not self.is_folder:
            return self.placing.output
        if found.source == STDIN:
            return os.path.join(self.path, "")
        folder = os.path.join(self.path, found.folder)
        _refuse_to_leave(self.path, folder)
        return os.path.join(folder, self.name(found, form, ""))

    def beside(self, found: Found, form: Format | None) -> str:
        """Return where a result goes that was given no place: standard output, or a file if that is a terminal."""
        if self.many:
            raise UsageError("several inputs need -o DIR/ or --in-place")
        return self.name(found, form, self.suffix) if self.terminal else STDOUT

    def name(self, found: Found, form: Format | None, suffix: str) -> str:
        """Return the result's name in its directory."""
        stem, extension = os.path.splitext(os.path.basename(found.source))
        form = form or named("png")
        keeps = by_extension(f"x{extension}") is form
        fields = {
            "stem": "stdin" if found.source == STDIN else stem,
            "suffix": suffix if self.placing.suffix is None else self.placing.suffix,
            "ext": extension[1:] if keeps else form.extension,
        }
        return _rendered(self.placing.name, fields)


def _rendered(template: str, fields: dict[str, str]) -> str:
    """Return `template` with its fields filled in: a plain file name, or UsageError."""

    def value(match: re.Match) -> str:
        if match[1] not in fields:
            raise UsageError(f"--name has no field {{{match[1]}}} (there are: {', '.join(fields)})")
        return fields[match[1]]

    name = _FIELD.sub(value, template)
    if "/" in name or "\0" in name or name in ("", ".", ".."):
        raise UsageError(f"'{files.shown(name)}' is no file name (from --name and --suffix)")
    return name


def _refuse_to_leave(root: str, path: str) -> None:
    """Raise OutputError if `path`, beneath `root`, is led elsewhere by a symbolic link."""
    root, path = os.path.realpath(root), os.path.realpath(path)
    if os.path.commonpath([root, path]) != root:
        raise OutputError(f"its output would leave the output directory, for {files.shown(path)}")


def framed(item: Item, number: int, extension: str) -> Item:
    """Return the item of frame `number`, from 1, of standard input."""
    target = item.target
    if target.endswith("/"):
        target = os.path.join(target, f"{number:06d}.{extension}")
    elif number > 1 and target != STDOUT:
        return replace(item, key=str(number), fault=UsageError("a stream of several frames needs -o DIR/ or -o -"))
    return replace(item, target=target, key=str(number))


def _refuse_collisions(items: list[Item], placing: Placing) -> None:
    """Raise UsageError if two results would meet in one file, or a result an input."""
    writing = [item for item in items if item.fault is None and item.target != STDOUT]
    _refuse_mixed_stream(items)
    _refuse_frames_over_others(items)
    sources = {files.identity(item.source) for item in items if item.source != STDIN} - {None}
    taken: dict[object, Item] = {}
    pairs = []
    for item in writing:
        place = _place(item.target)
        if place in taken:
            pairs.append(f"{_said(taken[place])} and {_said(item)}")
        taken[place] = item
    if pairs:
        raise UsageError("two inputs would write one output: " + "; ".join(pairs))
    overwritten = [item for item in writing if not placing.in_place and files.identity(item.target) in sources]
    if overwritten:
        said = "; ".join(_said(item) for item in overwritten)
        raise UsageError(f"an input would be overwritten (--in-place allows it): {said}")


def _refuse_frames_over_others(items: list[Item]) -> None:
    """Frames of standard input, whose number nobody knows yet, must not get the name of another's file."""
    for frames in (item for item in items if item.target.endswith("/")):
        for item in items:
            if item is not frames and (_meets(item.source, frames.target) or _meets(item.target, frames.target)):
                raise UsageError(f"a frame of standard input may meet another file in {_said(frames)}: {_said(item)}")


def _refuse_to_meet(path: str, items: list[Item]) -> None:
    """Raise UsageError if `path` is an input or a result."""
    for item in items:
        names = {item.source, item.target} - {STDIN, STDOUT}
        if any(_meets(path, name) for name in names):
            raise UsageError(f"{files.shown(path)} is an input or a result: {_said(item)}")


def _refuse_mixed_stream(items: list[Item]) -> None:
    """Several pictures on standard output must be of a format that can be cut apart again."""
    out = [item for item in items if item.target == STDOUT and not item.fault]
    if len(out) > 1 and any(item.format not in _STREAMS for item in out):
        raise UsageError(f"several pictures on standard output need -f with one of {', '.join(_STREAMS)}")


def _place(path: str) -> object:
    """Return what two names of one file have in common, whether it is there or not."""
    found = files.identity(path)
    return found or os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _meets(path: str, target: str) -> bool:
    """Tell whether what goes to `target` may be written to `path`; frames get any number in their directory."""
    if not target.endswith("/"):
        return _place(path) == _place(target)
    folder, name = os.path.split(os.path.realpath(path))
    return folder == os.path.realpath(target) and _FRAME.fullmatch(name) is not None


def _said(item: Item) -> str:
    return f"{files.shown(item.source)} -> {files.shown(item.target)}"


def shared(things: Sequence[Thing], shard: str | None) -> Sequence[Thing]:
    """Return the part of `things` that `shard`, K/N, takes: the K-th of every N; all if None."""
    if shard is None:
        return things
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard={shard} is not K/N with K from 1 to N")
    return things[int(match[1]) - 1 :: int(match[2])]


def _judged(item: Item, placing: Placing, since: float) -> Item:
    """Return the item, marked if what it would write is there or new enough."""
    if item.fault or item.target == STDOUT:
        return item
    try:
        there = os.stat(item.target)
    except OSError:
        return item
    if placing.skip_existing and stat.S_ISREG(there.st_mode):
        return replace(item, skipped="the output exists")
    if placing.update and item.source != STDIN and there.st_mtime >= max(since, os.stat(item.source).st_mtime):
        return replace(item, skipped="the output is newer")
    return item


def listing(items: Iterable[Item]) -> Iterator[str]:
    """Yield a line for each item that would be worked on: input, tab, output."""
    for item in items:
        if not item.fault and not item.skipped:
            yield f"{files.shown(item.source)}\t{files.shown(item.target)}"
