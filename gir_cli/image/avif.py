"""AVIF (AV1 Image File Format 1.1; ISO/IEC 23008-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import cv2
import numpy as np

from gir_cli.errors import InputError
from gir_cli.image import opencv
from gir_cli.image.boxes import boxes
from gir_cli.image.header import Header
from gir_cli.image.metadata import Metadata, bare_exif, packet, without_record
from gir_cli.image.samples import Options, Samples

_ICC, _EXIF, _XMP = cv2.IMAGE_METADATA_ICCP, cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_XMP
_XMP_TYPE = b"application/rdf+xml\0"
# (irot's quarter turns anticlockwise, imir's axis or None) -> EXIF orientation; turned first, then mirrored
_TURNS: dict[tuple[int, int | None], int] = {(0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6}
_TURNS |= {(0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7, (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5}


def _first(found: Iterable[tuple[bytes, bytes]], kind: bytes) -> bytes:
    for name, body in found:
        if name == kind:
            return body
    raise InputError(f"damaged AVIF (no {kind.decode()})")


def _meta(data: bytes) -> list[tuple[bytes, bytes]]:
    return list(boxes(_first(boxes(data), b"meta")[4:]))


def _properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the item properties."""
    return list(boxes(_first(boxes(_first(_meta(data), b"iprp")), b"ipco")))


def header(data: bytes) -> Header:
    """Read the largest picture's size, the depth (av1C) and the channels from the item properties."""
    properties = _properties(data)
    sizes = [struct.unpack_from(">II", body, 4) for kind, body in properties if kind == b"ispe"]
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    flags = _first(properties, b"av1C")[2]
    bits = 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    channels = (1 if flags & 0x10 else 3) + any(kind == b"auxC" for kind, _ in properties)
    frames = 2 if data[8:12] == b"avis" else 1
    return Header("avif", width, height, channels, bits, "8" if bits == 8 else "16", frames, False)


def read(data: bytes, header: Header) -> Samples:
    """Decode; samples of 10 and 12 bits keep their own scale.

    OpenCV's decoder refuses some files with XMP, for it looks at their first 500 bytes alone, and it
    returns no ICC: it gets the file with the XMP under another name, and both are read here.
    """
    hidden = data.replace(_XMP_TYPE, b"application/hidden+\0", 1)
    try:
        values, kinds, blobs = cv2.imdecodeWithMetadata(np.frombuffer(hidden, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    if values is None or values.size == 0:
        raise InputError("truncated or damaged AVIF")
    found = {kind: np.asarray(blob).tobytes() for kind, blob in zip(kinds, blobs, strict=True)}
    xmp, record = without_record(_xmp(data))
    notes = ("animated: only the first frame is read",) if header.frames > 1 else ()
    metadata = Metadata(_profile(data), bare_exif(found.get(_EXIF)), xmp, record)
    return Samples(opencv.rgb(values), float((1 << header.bits) - 1), metadata, _turned(data), notes)


def _turned(data: bytes) -> int:
    """Return the orientation that irot and imir tell; AVIF's EXIF orientation means nothing."""
    properties = dict(_properties(data))
    turns = properties[b"irot"][0] & 3 if b"irot" in properties else 0
    return _TURNS[turns, properties[b"imir"][0] & 1 if b"imir" in properties else None]


def _profile(data: bytes) -> bytes | None:
    for kind, body in _properties(data):
        if kind == b"colr" and body[:4] in (b"prof", b"rICC"):
            return body[4:]
    return None


def _xmp(data: bytes) -> bytes | None:
    """Return the item that iinf calls XMP, from where iloc says it is."""
    meta = dict(_meta(data))
    for kind, body in boxes(meta.get(b"iinf", b""), 6):
        if kind == b"infe" and body[0] == 2 and body[8:12] == b"mime" and _XMP_TYPE in body:
            return _item(data, meta[b"iloc"], struct.unpack_from(">H", body, 4)[0])
    return None


def _item(data: bytes, iloc: bytes, wanted: int) -> bytes | None:
    """Return the bytes of the item numbered `wanted` (ISO/IEC 14496-12, 8.11.3; version 0, offsets of 4 bytes)."""
    version, sizes, count = iloc[0], iloc[4:6], struct.unpack_from(">H", iloc, 6)[0]
    if version != 0 or sizes != b"\x44\0":
        return None
    at = 8
    for _ in range(count):
        number, _, extents = struct.unpack_from(">HHH", iloc, at)
        spans = [struct.unpack_from(">II", iloc, at + 6 + 8 * index) for index in range(extents)]
        if number == wanted:
            return b"".join(data[start : start + length] for start, length in spans)
        at += 6 + 8 * extents
    return None


def write(values: np.ndarray, options: Options) -> bytes:
    """Encode `values` (H, W, 1, 3 or 4), uint8, or uint16 of 12 bits; quality 100 is lossless."""
    metadata = options.metadata
    xmp = packet(metadata)
    blobs = {kind: blob for kind, blob in ((_ICC, metadata.icc), (_EXIF, metadata.exif), (_XMP, xmp)) if blob}
    bits = 8 if values.dtype == np.uint8 else 12
    params = [cv2.IMWRITE_AVIF_QUALITY, options.quality, cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_SPEED, 8]
    return opencv.pack(".avif", values, params, blobs)
