"""Windows bitmaps (Microsoft: BITMAPINFOHEADER, BITMAPV4HEADER)."""

from __future__ import annotations

import struct

import numpy as np

from gir_cli.image import opencv
from gir_cli.image.header import Header
from gir_cli.image.samples import Options, Samples, whole

_MASKED, _MASKED_WITH_ALPHA = 3, 6  # BI_BITFIELDS, BI_ALPHABITFIELDS
_MASKS = 54  # where red's begins, with green's, blue's and in headers of 56 bytes alpha's behind it
_OLD, _PLAIN, _WITH_ALPHA = 12, (40, 52), 56  # bytes of headers


def header(data: bytes) -> Header:
    """Read the information header; the height is negative where the lines run from the top."""
    (length,) = struct.unpack_from("<I", data, 14)
    if length == _OLD:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return Header("bmp", width, abs(height), 4 if _has_alpha(_with_every_mask(data)) else 3, 8)


def _with_every_mask(data: bytes) -> bytes:
    """Return a file of 32 bits whose masks all stand in its header; OpenCV overlooks those behind a shorter one."""
    (length,) = struct.unpack_from("<I", data, 14)
    if length not in _PLAIN:
        return data
    bits, compression = struct.unpack_from("<HI", data, 28)
    if bits != 32 or compression not in (_MASKED, _MASKED_WITH_ALPHA):
        return data
    colours = _MASKS + 12
    alpha = bytes(4) if compression == _MASKED else b""
    (pixels,) = struct.unpack_from("<I", data, 10)
    parts = (data[:10], struct.pack("<II", pixels + len(alpha), _WITH_ALPHA), data[18:30], struct.pack("<I", _MASKED))
    return b"".join((*parts, data[34:colours], alpha, data[colours:]))


def _with_newer_header(data: bytes) -> bytes:
    """Return a file of OS/2 1.x as one of Windows 3; OpenCV would make the former gray."""
    (pixels,) = struct.unpack_from("<I", data, 10)
    length, width, height, _, bits = struct.unpack_from("<IHHHH", data, 14)
    if length != _OLD:
        return data
    colours = (pixels - 26) // 3 if bits <= 8 else 0
    palette = b"".join(data[at : at + 3] + b"\0" for at in range(26, 26 + 3 * colours, 3))
    start = 54 + len(palette)
    head = struct.pack("<IIiiHHIIiiII", start, 40, width, height, 1, bits, 0, 0, 0, 0, colours, 0)
    return data[:10] + head + palette + data[pixels:]


def _has_alpha(data: bytes) -> bool:
    """Tell whether the header has a mask of alpha; without one the fourth byte means nothing."""
    (length,) = struct.unpack_from("<I", data, 14)
    if length < _WITH_ALPHA:
        return False
    bits, compression = struct.unpack_from("<HI", data, 28)
    return bits == 32 and compression == _MASKED and any(data[_MASKS + 12 : _MASKS + 16])


def read(data: bytes, header: Header) -> Samples:
    """Decode."""
    data = _with_every_mask(_with_newer_header(data))
    values = opencv.unpack(data, "BMP")
    if values.shape[2] == 4 and not _has_alpha(data):
        values = np.ascontiguousarray(values[:, :, :3])
    return whole(values)


def write(values: np.ndarray, options: Options) -> bytes:
    """Encode `values` (H, W, 1, 3 or 4), uint8."""
    return opencv.pack(".bmp", values)
