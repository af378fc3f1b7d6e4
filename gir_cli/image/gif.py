"""GIF, read only: a palette of 256 colours is no place for a restored photograph."""

from __future__ import annotations

import struct

from gir_cli.image import opencv
from gir_cli.image.header import Header
from gir_cli.image.samples import Samples, whole


def header(data: bytes) -> Header:
    """Read the screen's size and count the frames."""
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("gif", width, height, 4, 8, frames=_frames(data))


def _frames(data: bytes) -> int:
    """Count image descriptors by walking over the blocks (GIF89a, appendix A)."""
    at = 13 + _palette(data[10])
    frames = 0
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x2C:
            frames += 1
            at = _after_blocks(data, at + 11 + _palette(data[at + 9]))
        elif data[at] == 0x21:
            at = _after_blocks(data, at + 2)
        else:
            break
    return max(frames, 1)


def _palette(flags: int) -> int:
    return 3 << (1 + (flags & 7)) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def read(data: bytes, header: Header) -> Samples:
    """Decode the first frame."""
    notes = (f"animated: only the first of {header.frames} frames is read",) if header.frames > 1 else ()
    values = opencv.unpack(data, "GIF")
    if values.shape[2] == 4 and values[:, :, 3].min() == 255:
        values = values[:, :, :3].copy()
    return whole(values, notes=notes)
