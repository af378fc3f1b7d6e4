"""WebP: RIFF chunks (RFC 9649)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from gir_cli.errors import InputError
from gir_cli.image import opencv
from gir_cli.image.header import Header
from gir_cli.image.metadata import Metadata, bare_exif, packet, without_record
from gir_cli.image.samples import Options, Samples, whole

Chunk = tuple[bytes, bytes]  # kind, body
_FRAME_HEAD = 16  # bytes of ANMF before the frame's own chunks
_ICC, _ALPHA, _EXIF, _XMP, _ANIMATION = 0x20, 0x10, 0x08, 0x04, 0x02


def chunks(data: bytes) -> Iterator[Chunk]:
    """Yield (kind, body) of every chunk of the RIFF file; raise InputError where one is not whole."""
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise InputError("truncated WebP")
    yield from _listed(data, 12, size + 8)


def _listed(data: bytes, at: int, end: int) -> Iterator[Chunk]:
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        if at + 8 + length > end:
            raise InputError("truncated WebP")
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def header(data: bytes) -> Header:
    """Read the canvas of VP8X, or the only frame's size."""
    parts = list(chunks(data))
    frames = sum(kind == b"ANMF" for kind, _ in parts) or 1
    kind, body = parts[0]
    lossless = any(part == b"VP8L" for part, _ in _with_first_frame(parts))
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(body[at : at + 3], "little") for at in (4, 7))
        return Header("webp", width, height, 4 if body[0] & _ALPHA else 3, 8, "8", frames, lossless)
    return replace(_frame(kind, body), lossless=lossless)


def _with_first_frame(parts: list[Chunk]) -> list[Chunk]:
    """Return `parts` and, of an animation, the chunks of its first frame, the one that is read."""
    first = next((body for kind, body in parts if kind == b"ANMF"), b"")
    return parts + list(_listed(first, _FRAME_HEAD, len(first)))


def _frame(kind: bytes, body: bytes) -> Header:
    if kind == b"VP8L":
        (word,) = struct.unpack_from("<I", body, 1)
        return Header("webp", 1 + (word & 0x3FFF), 1 + (word >> 14 & 0x3FFF), 4 if word >> 28 & 1 else 3, 8)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 6)
        return Header("webp", width & 0x3FFF, height & 0x3FFF, 3, 8)
    raise InputError("damaged WebP")


def read(data: bytes, header: Header) -> Samples:
    """Decode the picture, or an animation's first frame."""
    first = dict(reversed(list(chunks(data))))
    xmp, record = without_record(first.get(b"XMP "))
    metadata = Metadata(first.get(b"ICCP"), bare_exif(first.get(b"EXIF")), xmp, record)
    notes = (f"animated: only the first of {header.frames} frames is read",) if header.frames > 1 else ()
    values = opencv.unpack(data, "WebP")
    return whole(values, metadata, notes)


def write(values: np.ndarray, options: Options) -> bytes:
    """Encode `values` (H, W, 3 or 4), uint8; quality 100 is lossless, colours under full transparency too."""
    if options.quality == 100:
        params = [cv2.IMWRITE_WEBP_LOSSLESS_MODE, cv2.IMWRITE_WEBP_LOSSLESS_PRESERVE_COLOR]
    else:
        params = [cv2.IMWRITE_WEBP_QUALITY, options.quality]
    picture = [part for part in chunks(opencv.pack(".webp", values, params)) if part[0] in (b"VP8 ", b"VP8L", b"ALPH")]
    metadata = options.metadata
    xmp = packet(metadata)
    if not (metadata.icc or metadata.exif or xmp or picture[0][0] == b"ALPH"):
        return _assembled(picture)
    flags = (
        (_ICC if metadata.icc else 0)
        | (_ALPHA if values.shape[2] == 4 else 0)
        | (_EXIF if metadata.exif else 0)
        | (_XMP if xmp else 0)
    )
    height, width, _ = values.shape
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    parts = [(b"VP8X", struct.pack("<I", flags) + size), (b"ICCP", metadata.icc), *picture]
    parts += [(b"EXIF", metadata.exif), (b"XMP ", xmp)]
    return _assembled([(kind, body) for kind, body in parts if body])


def _assembled(parts: list[tuple[bytes, bytes]]) -> bytes:
    packed = (kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for kind, body in parts)
    body = b"".join(packed)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
