"""Standard streams: the product goes to stdout alone, everything that is said goes to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeVar

Thing = TypeVar("Thing")


def say(line: str) -> None:
    """Print one line on standard error."""
    print(line, file=sys.stderr, flush=True)


def is_terminal(number: int) -> bool:
    """Say whether file descriptor `number` is a terminal."""
    try:
        return os.isatty(number)
    except OSError:
        return False


@contextmanager
def product() -> Iterator[BinaryIO]:
    """Yield the real stdout for bytes; until the end, file descriptor 1 leads to stderr.

    So no library's print can corrupt an image.
    """
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    stream = os.fdopen(os.dup(real), "wb")
    try:
        yield stream
        stream.flush()
    finally:
        _close(stream)
        os.dup2(real, 1)
        os.close(real)


def _close(stream: BinaryIO) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        pass  # said already, by the write that met it


def progress(things: Iterable[Thing], *, total: int | None, unit: str, shown: bool) -> Iterator[Thing]:
    """Yield `things` under a progress bar on stderr, which is drawn only on a terminal."""
    if not (shown and is_terminal(2)):
        yield from things
        return
    from tqdm import tqdm

    yield from tqdm(things, total=total, unit=unit, file=sys.stderr, dynamic_ncols=True, smoothing=0.1)
