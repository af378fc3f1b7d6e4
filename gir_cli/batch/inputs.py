"""Operands -> the images they name: files, standard input, and the images of directories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gir_cli import files
from gir_cli.errors import GirError, InputError
from gir_cli.image.formats import MAGIC_LENGTH, Format, NoImage, by_extension, recognise

STDIN = "-"


@dataclass(frozen=True)
class Found:
    """An input: its path or '-', its key (the path relative to its operand), and its format or its fault.

    `top` is the operand where that is a directory that was scanned.
    """

    source: str
    key: str
    form: Format | None = None
    fault: GirError | None = None
    top: str | None = None

    @property
    def folder(self) -> str:
        """The directory relative to the operand."""
        return os.path.dirname(self.key)


def inputs(operand: str, recursive: bool, output: tuple[int, int] | None) -> Iterator[Found]:
    """Yield what `operand` names, in order; the directory whose identity is `output` is not scanned."""
    if operand == STDIN:
        yield Found(STDIN, "0")
    elif os.path.isdir(operand):
        images = list(_scan(operand, recursive, output))
        hint = "" if recursive else " (-r descends)"
        yield from images or [Found(operand, "", fault=InputError(f"holds no images{hint}"))]
    else:
        yield _examined(operand, os.path.basename(operand))


def _examined(path: str, key: str) -> Found:
    """Return the file at `path` with its format, or with the fault that keeps it from being read."""
    try:
        return Found(path, key, recognise(files.read(path, MAGIC_LENGTH)))
    except InputError as error:
        return Found(path, key, fault=error)


def _scan(top: str, recursive: bool, output: tuple[int, int] | None) -> Iterator[Found]:
    """Yield the images in directory `top` in the order of their paths' bytes."""
    paths: list[str] = []
    faults: list[Found] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(os.path.join(top, folder)))
        except OSError as error:
            faults.append(Found(os.path.join(top, folder), folder, fault=InputError(files.reason(error))))
            continue
        for entry in entries:
            path = os.path.join(folder, entry.name)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if recursive and files.identity(entry.path) != output:
                    folders.append(path)
            elif _may_be_read(entry):
                paths.append(path)
    yield from faults
    for path in sorted(paths, key=os.fsencode):
        found = replace(_examined(os.path.join(top, path), path), top=top)
        # Other files are passed over; one that is called an image and is none has lost its content.
        if not isinstance(found.fault, NoImage) or by_extension(path):
            yield found


def _may_be_read(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads in a circle, or through a closed directory: reading it says so
        return True


def listed(data: bytes, *, null: bool = False) -> list[str]:
    """Return the operands in the list `data`, one a line or, with `null`, ended by NUL bytes."""
    names = data.split(b"\0" if null else b"\n")
    return [os.fsdecode(name) for name in names if name]
