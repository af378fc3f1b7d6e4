"""Windows bitmaps."""

from __future__ import annotations

import struct

import numpy as np

from gir_cli.image import opencv
from gir_cli.image.header import Header
from gir_cli.image.samples import Options, Samples, whole


def header(data: bytes) -> Header:
    """Read the information header; the height is negative where the lines run from the top."""
    (length,) = struct.unpack_from("<I", data, 14)
    if length == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    return Header("bmp", width, abs(height), 4 if bits == 32 else 3, 8)


def read(data: bytes, header: Header) -> Samples:
    """Decode."""
    return whole(opencv.unpack(data, "BMP"))


def write(values: np.ndarray, options: Options) -> bytes:
    """Encode `values` (H, W, 1, 3 or 4), uint8."""
    return opencv.pack(".bmp", values)
