"""Standard streams: the product goes to stdout alone, everything that is said goes to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, TypeVar

from gir_cli.image.quiet import hushed

Thing = TypeVar("Thing")


def say(line: str) -> None:
    """Print one line on standard error, above a progress bar if one is drawn."""
    if bar := sys.modules.get("tqdm"):
        bar.tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr, flush=True)


def is_terminal(number: int) -> bool:
    """Say whether file descriptor `number` is a terminal."""
    try:
        return os.isatty(number)
    except OSError:
        return False


@contextmanager
def product(*, hush: bool = True) -> Iterator[BinaryIO]:
    """Yield the real stdout for bytes; until the end, file descriptor 1 leads where 2 does.

    So no library's print can corrupt an image. With `hush`, descriptor 2 leads nowhere meanwhile, for
    libjpeg, libpng and libtiff have remarks of their own; `sys.stderr` still reaches the user.
    """
    sys.stdout.flush()
    heard, real, loud = sys.stderr, os.dup(1), os.dup(2)
    if hush:
        sys.stderr = hushed()
    os.dup2(2, 1)
    stream = os.fdopen(os.dup(real), "wb")
    try:
        yield stream
        stream.flush()
    finally:
        _close(stream)
        for number, saved in ((1, real), (2, loud)):
            os.dup2(saved, number)
            os.close(saved)
        if hush:
            sys.stderr.close()
        sys.stderr = heard


def _close(stream: BinaryIO) -> None:
    with suppress(BrokenPipeError):  # said already, by the write that met it
        stream.close()


def progress(things: Iterable[Thing], *, total: int | None, unit: str, shown: bool) -> Iterator[Thing]:
    """Yield `things` under a progress bar on stderr, which is drawn only on a terminal."""
    if not (shown and sys.stderr.isatty()):
        yield from things
        return
    from tqdm import tqdm

    yield from tqdm(things, total=total, unit=unit, file=sys.stderr, dynamic_ncols=True, smoothing=0.1)
