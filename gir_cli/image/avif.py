"""AVIF (AV1 Image File Format 1.1; ISO/IEC 23008-12)."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from gir_cli.errors import InputError
from gir_cli.image import opencv
from gir_cli.image.boxes import boxes
from gir_cli.image.header import Header
from gir_cli.image.metadata import Metadata, bare_exif, with_record, without_record
from gir_cli.image.samples import Options, Samples

_ICC, _EXIF, _XMP = cv2.IMAGE_METADATA_ICCP, cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_XMP
_ROTATIONS = {0: 1, 1: 8, 2: 3, 3: 6}  # quarter turns anticlockwise -> EXIF orientation
_MIRRORS = {0: 4, 1: 2}


def _properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the item properties: meta, iprp, ipco."""
    meta = _first(boxes(data), b"meta")[4:]
    return list(boxes(_first(boxes(_first(boxes(meta), b"iprp")), b"ipco")))


def _first(found, kind: bytes) -> bytes:
    for name, body in found:
        if name == kind:
            return body
    raise InputError(f"damaged AVIF (no {kind.decode()})")


def header(data: bytes) -> Header:
    """Read the largest picture's size and the depth from the item properties."""
    properties = _properties(data)
    sizes = [struct.unpack_from(">II", body, 4) for kind, body in properties if kind == b"ispe"]
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    pixi = _first(properties, b"pixi")
    auxiliary = any(kind == b"auxC" for kind, _ in properties)
    bits = pixi[5]
    frames = 2 if data[8:12] == b"avis" else 1
    return Header("avif", width, height, pixi[4] + auxiliary, bits, "8" if bits == 8 else "16", frames, False)


def read(data: bytes, header: Header) -> Samples:
    """Decode; samples of 10 and 12 bits keep their own scale."""
    try:
        values, kinds, blobs = cv2.imdecodeWithMetadata(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    if values is None or values.size == 0:
        raise InputError("truncated or damaged AVIF")
    found = {kind: np.asarray(blob).tobytes() for kind, blob in zip(kinds, blobs, strict=True)}
    xmp, record = without_record(found.get(_XMP) or None)
    metadata = Metadata(found.get(_ICC) or None, bare_exif(found.get(_EXIF)), xmp, record)
    notes = ("animated: only the first frame is read",) if header.frames > 1 else ()
    return Samples(opencv.rgb(values), float((1 << header.bits) - 1), metadata, _turned(data), notes)


def _turned(data: bytes) -> int:
    """Return the orientation that irot and imir tell; AVIF's EXIF orientation means nothing."""
    properties = dict(_properties(data))
    if b"irot" in properties:
        return _ROTATIONS[properties[b"irot"][0] & 3]
    return _MIRRORS[properties[b"imir"][0] & 1] if b"imir" in properties else 1


def write(values: np.ndarray, options: Options) -> bytes:
    """Encode `values` (H, W, 1, 3 or 4), uint8, or uint16 of 12 bits; quality 100 is lossless."""
    metadata = options.metadata
    xmp = with_record(metadata.xmp, metadata.record) if metadata.record else metadata.xmp
    blobs = {kind: blob for kind, blob in ((_ICC, metadata.icc), (_EXIF, metadata.exif), (_XMP, xmp)) if blob}
    bits = 8 if values.dtype == np.uint8 else 12
    params = [cv2.IMWRITE_AVIF_QUALITY, options.quality, cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_SPEED, 8]
    return opencv.pack(".avif", values, params, blobs)
