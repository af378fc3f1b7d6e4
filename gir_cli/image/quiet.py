"""Keep what C libraries print on file descriptor 2 from the user."""

from __future__ import annotations

import os
from typing import TextIO


def hushed() -> TextIO:
    """Point file descriptor 2 at nothing, and return a stream that still writes where it pointed.

    To be called once, at the start of a program that then makes the result its `sys.stderr`. libjpeg,
    libpng and libtiff print remarks of their own; turning the descriptor aside around every decode
    would not be safe with threads, and costs more.
    """
    heard = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nothing, 2)
    os.close(nothing)
    return open(heard, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
