"""A stream of concatenated pictures, cut into one picture's bytes each."""

from __future__ import annotations

import re
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
_ARRIVED = 1 << 16  # bytes taken at a time of what is there, where a frame's length isn't told

_JPEG = b"\xff\xd8\xff"
_EOI, _SOS, _APP2 = 0xD9, 0xDA, 0xE2
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a marker that is no stuffing, restart or filling


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

    def arrive(self) -> bool:
        """Have more of the stream ahead, without waiting for all of a piece; return False at its end."""
        more = getattr(self.stream, "read1", self.stream.read)(_ARRIVED)
        self.ahead += more
        return bool(more)

    def readline(self, size: int = -1) -> bytes:
        line = b""
        while len(line) < size and not line.endswith(b"\n"):
            byte = self.read(1)
            if not byte:
                break
            line += byte
        return line


def frames(stream: BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Iterator[bytes]:
    """Yield the bytes of each picture of `stream`: PNG, PNM, PAM, PFM and JPEG one after the other, or one of any kind.

    What follows a JPEG and is none is taken for a part of it. Only the frame at hand is in memory.
    Raises InputError where the stream is empty, no image, ends within a frame, or a frame's header
    claims more than `max_pixels`; of a JPEG the decoder tells both.
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
        elif form.name == "jpeg":
            _jpeg(source)
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


def _jpeg(source: _Kept) -> None:
    """Read a JPEG to its end, and the rest of the stream if that is no other JPEG (ITU-T T.81, annex B.1).

    A camera's index of pictures (MPF, CIPA DC-007) tells that the JPEGs behind the first belong to it. What
    is damaged is left to the decoder.
    """
    source.read(2)
    alone = False
    while (marker := _marker(source)) not in (None, _EOI):
        body = source.read(max(0, int.from_bytes(source.read(2), "big") - 2))
        alone |= marker == _APP2 and body.startswith(b"MPF\0")
        if marker == _SOS:
            _scan(source)
    while len(source.ahead) < len(_JPEG) and source.arrive():
        pass
    if alone or marker is None or not source.ahead.startswith(_JPEG):
        _rest(source)


def _marker(source: _Kept) -> int | None:
    """Read a marker and return its code, or None where none is."""
    byte = source.read(1)
    if byte != b"\xff":
        return None
    while byte == b"\xff":  # any number of them may fill
        byte = source.read(1)
    return byte[0] if byte else None


def _scan(source: _Kept) -> None:
    """Read entropy-coded data, up to the marker that ends it."""
    while not (end := _SCAN_END.search(source.ahead)):
        source.read(len(source.ahead) - source.ahead.endswith(b"\xff"))
        _check_length(source)
        if not source.arrive():
            return
    source.read(end.start())


def _rest(source: _Kept) -> None:
    while source.read(_PIECE):
        _check_length(source)


def _check_length(source: _Kept) -> None:
    if len(source.kept) > _LARGEST_FILE:
        raise InputError(f"the stream holds more than {_LARGEST_FILE >> 30} GB")
