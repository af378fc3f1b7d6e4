"""Boxes: the structure that AVIF, JPEG 2000 and JPEG XL share (ISO/IEC 14496-12, 4.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gir_cli.errors import InputError


def boxes(data: bytes, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, body) of every box in `data` from `start` on; raise InputError where one is not whole."""
    at = start
    while at < len(data):
        if at + 8 > len(data):
            raise InputError("truncated file")
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        length = length or len(data) - at
        if length < head or at + length > len(data):
            raise InputError("truncated file")
        yield kind, data[at + head : at + length]
        at += length


def box(kind: bytes, body: bytes) -> bytes:
    """Return one box."""
    return struct.pack(">I4s", len(body) + 8, kind) + body
