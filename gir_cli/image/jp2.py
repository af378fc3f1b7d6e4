"""JPEG 2000, bare codestreams and boxed ones (ISO/IEC 15444-1, annexes A and I)."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from gir_cli.errors import InputError
from gir_cli.image import opencv
from gir_cli.image.boxes import box, boxes
from gir_cli.image.header import Header
from gir_cli.image.metadata import Metadata, bare_exif, orientation, packet, without_record
from gir_cli.image.samples import Options, Samples

_SIZ = b"\xff\x4f\xff\x51"
_COD = b"\xff\x52"
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF = b"JpgTiffExif->JP2"


def _codestream(data: bytes) -> bytes:
    if data.startswith(_SIZ):
        return data
    for kind, body in boxes(data):
        if kind == b"jp2c":
            return body
    raise InputError("damaged JPEG 2000 (no codestream)")


def header(data: bytes) -> Header:
    """Read the codestream's SIZ segment."""
    stream = _codestream(data)
    right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
    (channels,) = struct.unpack_from(">H", stream, 40)
    bits = (stream[42] & 0x7F) + 1
    if channels not in (1, 3, 4) or not 8 <= bits <= 16:
        raise InputError(f"a JPEG 2000 of {channels} channels of {bits} bits is not supported")
    return Header("jp2", right - left, bottom - top, channels, bits, "8" if bits <= 8 else "16", 1, _reversible(stream))


def _reversible(stream: bytes) -> bool:
    """Tell whether the wavelet is the 5-3 one, which loses nothing by itself."""
    at = stream.find(_COD, 0, 4096)
    return at > 0 and stream[at + 13] == 1


def read(data: bytes, header: Header) -> Samples:
    """Decode; samples keep their own scale."""
    values = opencv.unpack(data, "JPEG 2000")
    metadata = Metadata() if data.startswith(_SIZ) else _metadata(data)
    return Samples(values, float((1 << header.bits) - 1), metadata, orientation(metadata.exif))


def _metadata(data: bytes) -> Metadata:
    """Return what colr (method 2 or 3; annex I.5.3.3) and the uuid boxes hold."""
    parts = list(boxes(data))
    icc = None
    for kind, body in boxes(dict(parts).get(b"jp2h", b"")):
        if kind == b"colr" and body[0] in (2, 3):
            icc = body[3:]
    blobs = {body[:16]: body[16:] for kind, body in parts if kind == b"uuid"}
    xmp, record = without_record(blobs.get(_XMP))
    return Metadata(icc, bare_exif(blobs.get(_EXIF)), xmp, record)


def write(values: np.ndarray, options: Options) -> bytes:
    """Encode `values` (H, W, 1, 3 or 4), uint8 or uint16; quality 100 is lossless."""
    data = opencv.pack(".jp2", values, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 10 * options.quality])
    metadata = options.metadata
    xmp = packet(metadata)
    written = b""
    for kind, body in boxes(data):
        if kind == b"jp2h" and metadata.icc:
            body = _with_profile(body, metadata.icc)
        if kind == b"jp2c":
            written += box(b"uuid", _XMP + xmp) if xmp else b""
            written += box(b"uuid", _EXIF + metadata.exif) if metadata.exif else b""
        written += box(kind, body)
    return written


def _with_profile(header: bytes, icc: bytes) -> bytes:
    """Return the header box's body with `icc` in place of the colour space named by number."""
    parts = [(kind, b"\2\0\0" + icc if kind == b"colr" else body) for kind, body in boxes(header)]
    return b"".join(box(kind, body) for kind, body in parts)
