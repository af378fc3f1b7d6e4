"""OpenCV's codecs, with one way of failing instead of three, and RGB order instead of BGR.

Only bytes go in and out, never a path: OpenCV crashes on names it cannot encode, and its `imread`
accepts truncated files that its `imdecode` refuses.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from gir_cli.errors import InputError, OutputError

cv2.utils.logging.setLogLevel(
    cv2.utils.logging.LOG_LEVEL_SILENT
)  # OpenCV prints on standard error what it also returns

_STRIP = 256  # lines whose colours are swapped at a time, so that a large picture is there only once


def unpack(data: bytes, name: str) -> np.ndarray:
    """Return the pixels (H, W, C) of a file as stored: gray, RGB or RGBA, uint8, uint16 or float32.

    Raises InputError where the bytes are no whole picture of the format called `name`.
    """
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    if values is None or values.size == 0:
        raise InputError(f"truncated or damaged {name}")
    return _turned_rgb(values)


def unpack_page(data: bytes, number: int) -> np.ndarray | None:
    """Return page `number`, from 0, of a TIFF file as `unpack` does, or None."""
    try:
        done, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED, range=(number, number + 1))
    except cv2.error:
        return None
    return _turned_rgb(pages[0]) if done and pages else None


def _turned_rgb(values: np.ndarray) -> np.ndarray:
    """Return `values` as `rgb` does, but in their own place."""
    if values.ndim == 2:
        return values[:, :, None]
    for start in range(0, len(values), _STRIP):
        strip = values[start : start + _STRIP]
        strip[:] = rgb(strip)
    return values


def pack(extension: str, values: np.ndarray, params: Sequence[int] = (), metadata: dict[int, bytes] | None = None):
    """Return the file's bytes for `values` (H, W, C), RGB order; `metadata` by OpenCV's own numbers."""
    kinds = list(metadata or {})
    blobs = [np.frombuffer((metadata or {})[kind], np.uint8) for kind in kinds]
    try:
        done, data = cv2.imencodeWithMetadata(extension, rgb(values), kinds, blobs, list(params))
    except cv2.error as error:
        raise OutputError(f"cannot be written as {extension[1:]} ({error.err})") from None
    if not done:
        raise OutputError(f"cannot be written as {extension[1:]}")
    return data.tobytes()


def rgb(values: np.ndarray) -> np.ndarray:
    """Swap between BGR(A) and RGB(A); gray gains a channel axis."""
    if values.ndim == 2:
        return values[:, :, None]
    if values.shape[2] == 3:
        return cv2.cvtColor(values, cv2.COLOR_BGR2RGB)
    return cv2.cvtColor(values, cv2.COLOR_BGRA2RGBA) if values.shape[2] == 4 else values
