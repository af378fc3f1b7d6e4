"""SIGINT and SIGTERM: each raises an exception, and is remembered in case that is lost on its way.

Python drops what is raised while it runs a finaliser or a weak reference's callback; there, work would go on.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_arrived: list[int] = []


class Terminated(BaseException):
    """SIGTERM arrived; raised so that temporaries are removed on the way out."""


@contextmanager
def raised() -> Iterator[None]:
    """Have SIGINT raise KeyboardInterrupt and SIGTERM Terminated, and once more at the end if that was lost.

    An ignored SIGINT, as shells give it to work in the background, stays ignored.
    """
    _arrived.clear()
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        numbers.append(signal.SIGINT)
    before = [(number, signal.signal(number, _note)) for number in numbers]
    try:
        yield
        heed()
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def heed() -> None:
    """Raise what the first signal that has come stands for, if one has."""
    if _arrived:
        raise KeyboardInterrupt if _arrived[0] == signal.SIGINT else Terminated


def _note(number: int, frame: FrameType | None) -> None:
    _arrived.append(number)
    heed()
