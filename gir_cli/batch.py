"""Operands -> plan: which file is read, where its result goes, and what may not happen.

Paths are str as `os.fsdecode` gives them, so every name works. Nothing is written here; all that can
be refused is refused before any work.
"""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar

from gir_cli import files
from gir_cli.errors import GirError, InputError, OutputError, UsageError
from gir_cli.image.formats import MAGIC_LENGTH, Format, NoImage, by_extension, named, recognise
from gir_cli.params import Checked, Param

STDIN = "-"
STDOUT = "-"
_STREAMS = ("png", "pnm", "pam", "pfm")
_FIELD = re.compile(r"\{(\w*)\}")


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


@dataclass(frozen=True)
class _Found:
    """An input before it has a target: `folder` is its directory relative to its operand."""

    source: str
    key: str
    form: Format | None = None
    fault: GirError | None = None

    @property
    def folder(self) -> str:
        return os.path.dirname(self.key)


def plan(
    operands: Sequence[str],
    placing: Placing,
    *,
    terminal: bool = False,
    suffix: str = ".out",
    since: float = 0.0,
) -> list[Item]:
    """Return the items of a run, in order.

    `terminal` tells whether standard output is one; `suffix` marks a result that lands in the current
    directory; `since` is when the weights changed, in seconds, for `placing.update`. Raises UsageError
    where the request itself is wrong: several inputs without a place, two results in one file, a
    result over an input.
    """
    _check(operands, placing)
    scanned = placing.output not in (None, STDOUT) and files.identity(placing.output)
    found = [thing for operand in operands for thing in _inputs(operand, placing.recursive, scanned or None)]
    many = len(operands) > 1 or any(os.path.isdir(operand) for operand in operands)
    if many and placing.output not in (None, STDOUT) and os.path.isfile(placing.output):
        raise UsageError(f"{files.shown(placing.output)} is a file; several inputs need a directory")
    items = [_placed(thing, placing, many, terminal, suffix) for thing in found]
    _refuse_collisions(items, placing)
    return [_judged(item, placing, since) for item in _shard(items, placing.shard)]


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


# ---- inputs


def _inputs(operand: str, recursive: bool, output: tuple[int, int] | None) -> Iterator[_Found]:
    if operand == STDIN:
        yield _Found(STDIN, "0")
    elif os.path.isdir(operand):
        images = list(_scan(operand, recursive, output))
        hint = "" if recursive else " (-r descends)"
        yield from images or [_Found(operand, "", fault=InputError(f"holds no images{hint}"))]
    else:
        yield _examined(operand, os.path.basename(operand))


def _examined(path: str, key: str) -> _Found:
    """Return the file at `path` with its format, or with the fault that keeps it from being read."""
    try:
        return _Found(path, key, recognise(files.read(path, MAGIC_LENGTH)))
    except InputError as error:
        return _Found(path, key, fault=error)


def _scan(top: str, recursive: bool, output: tuple[int, int] | None) -> Iterator[_Found]:
    """Yield the images in directory `top` in the order of their paths' bytes."""
    paths: list[str] = []
    faults: list[_Found] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(os.path.join(top, folder)))
        except OSError as error:
            faults.append(_Found(os.path.join(top, folder), folder, fault=InputError(files.reason(error))))
            continue
        for entry in entries:
            path = os.path.join(folder, entry.name)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if recursive and files.identity(entry.path) != output:
                    folders.append(path)
            elif entry.is_file():
                paths.append(path)
    yield from faults
    for path in sorted(paths, key=os.fsencode):
        found = _examined(os.path.join(top, path), path)
        if not isinstance(found.fault, NoImage):
            yield found


def listed(data: bytes, *, null: bool = False) -> list[str]:
    """Return the operands in the list `data`, one a line or, with `null`, ended by NUL bytes."""
    names = data.split(b"\0" if null else b"\n")
    return [os.fsdecode(name) for name in names if name]


# ---- targets


def _placed(found: _Found, placing: Placing, many: bool, terminal: bool, suffix: str) -> Item:
    item = Item(found.source, STDOUT, found.key, fault=found.fault)
    if found.fault:
        return item
    form = _form(found, placing, many)
    try:
        return replace(
            item, target=_target(found, form, placing, many, terminal, suffix), format=form.name if form else None
        )
    except OutputError as error:
        return replace(item, fault=error)


def _is_folder(output: str, many: bool) -> bool:
    return many or output.endswith("/") or os.path.isdir(output)


def _form(found: _Found, placing: Placing, many: bool) -> Format | None:
    """Return the format to write, or None where only the decoded picture can tell."""
    if placing.format is not None:
        return named(placing.format)
    output = placing.output
    if output not in (None, STDOUT) and not _is_folder(output, many):
        extension = os.path.splitext(output)[1]
        if extension:
            return named(extension[1:])
    if found.form is None:
        return None
    return found.form if found.form.writes else named("png")


def _target(found: _Found, form: Format | None, placing: Placing, many: bool, terminal: bool, suffix: str) -> str:
    if placing.in_place:
        if form is not found.form:
            raise OutputError("a format that is read only cannot be written in place")
        return os.path.realpath(found.source)
    if placing.output == STDOUT:
        return STDOUT
    if placing.output is None:
        if many:
            raise UsageError("several inputs need -o DIR/ or --in-place")
        if not terminal:
            return STDOUT
        return _named(found, form or named("png"), placing, suffix)
    if not _is_folder(placing.output, many):
        return placing.output
    if found.source == STDIN:
        return os.path.join(placing.output, "")
    folder = os.path.join(placing.output, found.folder)
    _refuse_to_leave(placing.output, folder)
    return os.path.join(folder, _named(found, form or named("png"), placing, ""))


def _named(found: _Found, form: Format, placing: Placing, suffix: str) -> str:
    """Return the output's name in its directory."""
    stem, extension = os.path.splitext(os.path.basename(found.source))
    if found.source == STDIN:
        stem = "stdin"
    keeps = by_extension(extension and f"x{extension}") is form
    fields = {
        "stem": stem,
        "suffix": suffix if placing.suffix is None else placing.suffix,
        "ext": extension[1:] if keeps else form.extension,
    }
    return _rendered(placing.name, fields)


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


def _refuse_to_leave(root: str, folder: str) -> None:
    """Raise OutputError if `folder`, beneath `root`, is led elsewhere by a symbolic link."""
    root, folder = os.path.realpath(root), os.path.realpath(folder)
    if os.path.commonpath([root, folder]) != root:
        raise OutputError(f"its output would leave the output directory, for {files.shown(folder)}")


def framed(item: Item, number: int, extension: str) -> Item:
    """Return the item of frame `number`, from 1, of standard input."""
    target = item.target
    if target.endswith("/"):
        target = os.path.join(target, f"{number:06d}.{extension}")
    elif number > 1 and target != STDOUT:
        return replace(item, key=str(number), fault=UsageError("a stream of several frames needs -o DIR/ or -o -"))
    return replace(item, target=target, key=str(number))


# ---- refusals


def _refuse_collisions(items: list[Item], placing: Placing) -> None:
    """Raise UsageError if two results would meet in one file, or a result an input."""
    writing = [item for item in items if item.fault is None and item.target != STDOUT]
    _refuse_mixed_stream(items)
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


def _refuse_mixed_stream(items: list[Item]) -> None:
    """Several pictures on standard output must be of a format that can be cut apart again."""
    out = [item for item in items if item.target == STDOUT and not item.fault]
    if len(out) > 1 and any(item.format not in _STREAMS for item in out):
        raise UsageError(f"several pictures on standard output need -f with one of {', '.join(_STREAMS)}")


def _place(path: str) -> object:
    """Return what two names of one file have in common, whether it is there or not."""
    found = files.identity(path)
    return found or os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _said(item: Item) -> str:
    return f"{files.shown(item.source)} -> {files.shown(item.target)}"


def _shard(items: list[Item], shard: str | None) -> list[Item]:
    if shard is None:
        return items
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"shard={shard} is not K/N with K from 1 to N")
    return items[int(match[1]) - 1 :: int(match[2])]


def _judged(item: Item, placing: Placing, since: float) -> Item:
    """Return the item, marked if what it would write is there or new enough."""
    if item.fault or item.target == STDOUT or item.source == STDIN:
        return item
    try:
        there = os.stat(item.target)
    except OSError:
        return item
    if placing.skip_existing and stat.S_ISREG(there.st_mode):
        return replace(item, skipped="the output exists")
    if placing.update and there.st_mtime >= max(since, os.stat(item.source).st_mtime):
        return replace(item, skipped="the output is newer")
    return item


def listing(items: Iterable[Item]) -> Iterator[str]:
    """Yield a line for each item that would be worked on: input, tab, output."""
    for item in items:
        if not item.fault and not item.skipped:
            yield f"{files.shown(item.source)}\t{files.shown(item.target)}"


# ---- work

Given = TypeVar("Given")
Made = TypeVar("Made")


def ordered(
    work: Callable[[Given], Made], given: Iterable[Given], *, workers: int = 1
) -> Iterator[tuple[Given, Made | GirError]]:
    """Yield (thing, work(thing)) for each of `given`, in its order, worked on by `workers` threads.

    A GirError that `work` raises is yielded in the result's place; anything else is raised. At most
    twice as many things as workers are under way, so memory does not grow with their number. `given`
    is drawn from in the calling thread: a stage between two `ordered` calls runs there, beside both.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="gir")
    under_way: deque[tuple[Given, Future]] = deque()
    try:
        for thing in given:
            under_way.append((thing, pool.submit(work, thing)))
            if len(under_way) >= 2 * workers:
                yield _outcome(*under_way.popleft())
        while under_way:
            yield _outcome(*under_way.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _outcome(thing: Given, future: Future) -> tuple[Given, Made | GirError]:
    try:
        return thing, future.result()
    except GirError as error:
        return thing, error
