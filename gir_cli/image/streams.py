"""A stream of concatenated pictures, cut into one picture's bytes each."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from gir_cli.errors import InputError
from gir_cli.image import pnm
from gir_cli.image.formats import MAGIC_LENGTH, recognise
from gir_cli.image.header import MAX_PIXELS
from gir_cli.image.png import SIGNATURE

_LARGEST_FILE = 1 << 32
_PIECE = 1 << 20


class _Kept:
    """A reader that keeps what it has read, and begins with bytes that were read already."""

    def __init__(self, start: bytes, stream: BinaryIO) -> None:
        self.stream, self.ahead, self.kept = stream, start, bytearray()

    def read(self, size: int = -1) -> bytes:
        piece = bytearray(self.ahead[:size])
        self.ahead = self.ahead[size:]
        while len(piece) < size:
            more = self.stream.read(min(size - len(piece), _PIECE))
            if not more:
                break
            piece += more
        self.kept += piece
        return bytes(piece)

    def readline(self, size: int = -1) -> bytes:
        line = b""
        while len(line) < size and not line.endswith(b"\n"):
            byte = self.read(1)
            if not byte:
                break
            line += byte
        return line


def frames(stream: BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Iterator[bytes]:
    """Yield the bytes of each picture of `stream`: PNG, PNM, PAM and PFM one after the other, or one of any kind.

    Only the frame at hand is in memory. Raises InputError where the stream is empty, no image, ends
    within a frame, or a frame's header claims more than `max_pixels`.
    """
    start = _start(stream)
    recognise(start)
    while start:
        form = recognise(start)
        source = _Kept(start, stream)
        if form.name == "png":
            _png(source, max_pixels)
        elif form.module.endswith(".pnm") and not _is_plain(start):
            _pnm(source, max_pixels)
        else:
            _rest(source)
        yield bytes(source.kept)
        start = source.ahead + _start(stream, len(source.ahead))


def _start(stream: BinaryIO, have: int = 0) -> bytes:
    """Read the bytes that tell a format."""
    piece = b""
    while len(piece) + have < MAGIC_LENGTH:
        more = stream.read(MAGIC_LENGTH - have - len(piece))
        if not more:
            break
        piece += more
    return piece


def _is_plain(start: bytes) -> bool:
    return start[1:2] in b"123"


def _exactly(source: _Kept, size: int, name: str) -> bytes:
    piece = source.read(size)
    if len(piece) < size:
        raise InputError(f"truncated {name}")
    return piece


def _png(source: _Kept, max_pixels: int) -> None:
    _exactly(source, len(SIGNATURE), "PNG")
    kind = b""
    limit = 16 * max_pixels + _PIECE  # no honest chunk is longer than the pixels it could hold
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", _exactly(source, 8, "PNG"))
        if length > limit:
            raise InputError(f"damaged PNG (a chunk of {length} bytes)")
        _exactly(source, length + 4, "PNG")


def _pnm(source: _Kept, max_pixels: int) -> None:
    found = pnm.layout(source)
    pixels = found.width * found.height
    if pixels > max_pixels:
        raise InputError(f"{found.width}x{found.height} is {pixels} pixels (at most {max_pixels} are allowed)")
    _exactly(source, found.size or 0, found.name.upper())


def _rest(source: _Kept) -> None:
    while source.read(_PIECE):
        if len(source.kept) > _LARGEST_FILE:
            raise InputError(f"the stream holds more than {_LARGEST_FILE >> 30} GB")
