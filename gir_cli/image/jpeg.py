"""JPEG: segments, CMYK, profiles of any size (ITU-T T.81; ICC.1 annex B.4; EXIF 3.0; XMP part 3)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np

from gir_cli.errors import InputError
from gir_cli.image import opencv
from gir_cli.image.header import Header
from gir_cli.image.metadata import INCHES, Metadata, bare_exif, density_of, packet, without_record
from gir_cli.image.samples import Options, Samples, whole

_JFIF = b"JFIF\0"
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE\0"
_LARGEST = 65533  # bytes a segment holds beside its length
_MOST_SCANS = 500  # more is no photograph but an attack on the decoder's time
_APP0, _APP1, _APP2, _APP14, _COM = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
_SOS, _EOI = 0xDA, 0xD9
_AFTER_CODES = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")  # a marker that ends entropy-coded data, and has a length
_UNITS = {1: INCHES, 2: 100.0}  # of JFIF's density, to the metre
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield (marker, body, offset) of every segment up to and including the first scan's header."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise InputError("damaged JPEG")
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if at + 2 + length > len(data):
            break
        yield marker, data[at + 4 : at + 2 + length], at
        if marker == _SOS:
            return
        at += 2 + length
    raise InputError("truncated JPEG")


def header(data: bytes) -> Header:
    """Read the frame header."""
    for marker, body, _ in segments(data):
        if marker in _FRAMES:
            bits, height, width, channels = struct.unpack_from(">BHHB", body)
            if bits != 8 or marker not in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):
                raise InputError(f"a {bits}-bit or lossless JPEG is not supported")
            return Header("jpeg", width, height, channels, bits, lossless=False)
    raise InputError("damaged JPEG (it has no frame)")


def read(data: bytes, header: Header) -> Samples:
    """Decode; libjpeg sees no metadata, so it has less to complain about."""
    parts = list(segments(data))
    rest = data[parts[-1][2] + _length(parts[-1]) :]
    if _scans(rest) > _MOST_SCANS:
        raise InputError(f"a JPEG of more than {_MOST_SCANS} scans is refused")
    pixels = [part for part in parts if not (_APP0 < part[0] <= 0xEF and part[0] != _APP14) and part[0] != _COM]
    values = opencv.unpack(b"\xff\xd8" + _joined(pixels) + rest, "JPEG")
    metadata = _metadata(parts)
    notes = ("CMYK is converted to RGB, without its profile",) if header.channels == 4 else ()
    if header.channels == 4:
        metadata = replace(metadata, icc=None)
    return whole(values, metadata, notes)


def _scans(rest: bytes) -> int:
    """Count the scans from the first one's entropy-coded data up to the picture's end; a trailer may hold anything."""
    scans, at = 1, 0
    while (found := _AFTER_CODES.search(rest, at)) and rest[found.start() + 1] != _EOI:
        scans += rest[found.start() + 1] == _SOS
        at = found.end() + int.from_bytes(rest[found.end() : found.end() + 2], "big")
    return scans


def _length(part: tuple[int, bytes, int]) -> int:
    return 4 + len(part[1])


def _joined(parts: Iterable[tuple]) -> bytes:
    return b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body, *_ in parts)


def _metadata(parts: list[tuple[int, bytes, int]]) -> Metadata:
    exif = xmp = density = None
    profile: dict[int, bytes] = {}
    for marker, body, _ in parts:
        if marker == _APP1 and body.startswith(b"Exif\0"):
            exif = exif or bare_exif(body)
        elif marker == _APP0 and body.startswith(_JFIF) and len(body) >= 12 and body[7] in _UNITS:
            density = density_of(*struct.unpack_from(">HH", body, 8), _UNITS[body[7]])
        elif marker == _APP1 and body.startswith(_XMP):
            xmp = xmp or body[len(_XMP) :]
        elif marker == _APP2 and body.startswith(_ICC) and len(body) > 14:
            profile[body[12]] = body[14:]
    icc = b"".join(profile[number] for number in sorted(profile)) or None
    xmp, record = without_record(xmp)
    return Metadata(icc, exif, xmp, record, density)


def write(values: np.ndarray, options: Options) -> bytes:
    """Encode `values` (H, W, 1 or 3), uint8, without chroma subsampling."""
    params = [
        cv2.IMWRITE_JPEG_QUALITY,
        options.quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    data = opencv.pack(".jpg", values, params)
    start = 4 + struct.unpack_from(">H", data, 4)[0] if data[3] == _APP0 else 2  # EXIF and ICC follow JFIF
    if options.metadata.density and data[6:11] == _JFIF:
        inches = (min(max(round(pixels / INCHES), 1), 65535) for pixels in options.metadata.density)
        data = data[:13] + struct.pack(">BHH", 1, *inches) + data[18:]
    return data[:start] + _joined(_segments_of(options.metadata)) + data[start:]


def _segments_of(metadata: Metadata) -> Iterator[tuple[int, bytes]]:
    if metadata.exif:
        yield _APP1, _EXIF + metadata.exif
    if xmp := packet(metadata):
        yield _APP1, _XMP + xmp
    room = _LARGEST - len(_ICC) - 2
    icc = metadata.icc or b""
    pieces = [icc[at : at + room] for at in range(0, len(icc), room)]
    for number, piece in enumerate(pieces, 1):
        yield _APP2, _ICC + bytes([number, len(pieces)]) + piece


def room_for(metadata: Metadata) -> Metadata:
    """Return `metadata` without what a JPEG has no room for: EXIF and XMP of 64 KB, ICC of 16 MB."""
    room = _LARGEST - len(_XMP)
    xmp = metadata.xmp if len(packet(metadata) or b"") <= room else None
    record = metadata.record if len(packet(replace(metadata, xmp=xmp)) or b"") <= room else None
    exif = metadata.exif if len(metadata.exif or b"") <= _LARGEST - len(_EXIF) else None
    icc = metadata.icc if len(metadata.icc or b"") <= 255 * (_LARGEST - 14) else None
    return Metadata(icc, exif, xmp, record, metadata.density)
