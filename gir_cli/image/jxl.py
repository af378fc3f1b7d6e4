"""JPEG XL through imagecodecs, the `codecs` extra (ISO/IEC 18181)."""

from __future__ import annotations

from collections.abc import Iterator

import imagecodecs
import numpy as np

from gir_cli.errors import InputError
from gir_cli.image.boxes import box, boxes
from gir_cli.image.header import Header
from gir_cli.image.metadata import Metadata, bare_exif, packet, without_record
from gir_cli.image.samples import Options, Samples, white_of

_BARE = b"\xff\x0a"
_SIGNATURE = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


class _Bits:
    """Little-endian bits of a codestream."""

    def __init__(self, data: bytes) -> None:
        self.number, self.at = int.from_bytes(data[:64], "little"), 0

    def take(self, count: int) -> int:
        value = self.number >> self.at & ((1 << count) - 1)
        self.at += count
        return value


def _codestream(data: bytes) -> bytes:
    if data.startswith(_BARE):
        return data
    parts = list(boxes(data))
    for kind, body in parts:
        if kind == b"jxlc":
            return body
    stream = b"".join(body[4:] for kind, body in parts if kind == b"jxlp")
    if not stream:
        raise InputError("damaged JPEG XL (no codestream)")
    return stream


def header(data: bytes) -> Header:
    """Read the codestream's SizeHeader and, from ImageMetadata, the bit depth (annexes D.2 and D.3)."""
    bits = _Bits(_codestream(data)[2:])
    width, height = _size(bits)
    depth, count = _depth(bits)
    return Header("jxl", width, height, 3, count, depth, 1, False)


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    width = _side(bits, small) if ratio == 0 else height * _RATIOS[ratio][0] // _RATIOS[ratio][1]
    return width, height


def _depth(bits: _Bits) -> tuple[str, int]:
    """Return the depth and the bits a sample; 8 where a preview or an animation stands before them."""
    if bits.take(1):  # all_default
        return "8", 8
    if bits.take(1):  # extra_fields
        bits.take(3)  # orientation
        if bits.take(1):  # intrinsic size
            _size(bits)
        if bits.take(1) or bits.take(1):  # preview, animation
            return "8", 8
    if bits.take(1):  # float samples
        kind = bits.take(2)
        return "float", (32, 16, 24)[kind] if kind < 3 else 1 + bits.take(6)
    kind = bits.take(2)
    count = (8, 10, 12)[kind] if kind < 3 else 1 + bits.take(6)
    return "8" if count <= 8 else "16", count


def _side(bits: _Bits, small: int) -> int:
    return 8 * (bits.take(5) + 1) if small else bits.take((9, 13, 18, 30)[bits.take(2)]) + 1


def read(data: bytes, header: Header) -> Samples:
    """Decode; libjxl has applied the orientation."""
    try:
        values = imagecodecs.jpegxl_decode(data)
    except imagecodecs.JpegxlError:
        raise InputError("truncated or damaged JPEG XL") from None
    notes: tuple[str, ...] = ()
    if values.ndim == 4 or (values.ndim == 3 and values.shape[2] > 4):
        notes, values = (f"animated: only the first of {len(values)} frames is read",), values[0]
    if values.ndim == 2:
        values = values[:, :, None]
    values = values.astype(np.float32) if values.dtype.kind == "f" else values
    return Samples(values, white_of(values), _metadata(data), 1, notes)


def _metadata(data: bytes) -> Metadata:
    if data.startswith(_BARE):
        return Metadata()
    first = dict(reversed(list(boxes(data))))
    xmp, record = without_record(first.get(b"xml "))
    return Metadata(None, bare_exif(first.get(b"Exif", b"")[4:]), xmp, record)


def write(values: np.ndarray, options: Options) -> bytes:
    """Encode `values` (H, W, 1 to 4), uint8, uint16 or float32; quality 100 is lossless."""
    if len(values) == 1 and values.shape[2] == 2:  # imagecodecs takes one line of gray and alpha for two columns
        values = values[:, :, [0, 0, 0, 1]]
    picture = values[:, :, 0] if values.shape[2] == 1 else values
    effort = 5 if options.compress is None else min(max(options.compress, 1), 9)
    lossless = options.quality == 100
    data = imagecodecs.jpegxl_encode(
        picture,
        lossless=lossless,
        level=None if lossless else options.quality,
        effort=effort,
        usecontainer=True,
        photometric="gray" if values.shape[2] < 3 else "rgb",
    )
    return bytes(data) + b"".join(_boxes_of(options.metadata))


def _boxes_of(metadata: Metadata) -> Iterator[bytes]:
    if metadata.exif:
        yield box(b"Exif", b"\0\0\0\0" + metadata.exif)
    xmp = packet(metadata)
    if xmp:
        yield box(b"xml ", xmp)
