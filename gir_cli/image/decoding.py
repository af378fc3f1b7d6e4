"""Bytes -> Image."""

from __future__ import annotations

import numpy as np

from gir_cli.errors import InputError
from gir_cli.image.formats import recognise
from gir_cli.image.header import MAX_PIXELS, Header, codec, damage_is_said, read_header
from gir_cli.image.levels import Levels, as_float
from gir_cli.image.metadata import oriented, upright
from gir_cli.image.picture import Image
from gir_cli.image.samples import Samples

# EXIF orientation -> (transposed first, lines reversed, columns reversed)
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, orient: bool = True) -> Image:
    """Return the picture in `data`, recognised by its content; of several frames or pages the first.

    `orient` turns it upright and sets its orientation tags to 1; without it EXIF tells how it is to be
    turned, whatever told so in the file. Raises InputError with the reason
    alone: no image, damaged, truncated, larger than `max_pixels`, of an unsupported kind, or holding
    NaN or infinity.
    """
    form = recognise(data)
    header = read_header(data, max_pixels=max_pixels)
    with damage_is_said(form):
        return _image(codec(form).read(data, header), header, orient)


def decode_all(data: bytes, *, max_pixels: int = MAX_PIXELS, orient: bool = True) -> list[Image]:
    """Return every page of a TIFF, and the one picture of any other file; raises as `decode` does."""
    form = recognise(data)
    if not form.pages:
        return [decode(data, max_pixels=max_pixels, orient=orient)]
    header = read_header(data, max_pixels=max_pixels)
    with damage_is_said(form):
        return [_image(page, header, orient) for page in codec(form).read_pages(data, max_pixels)]


def _image(samples: Samples, header: Header, orient: bool) -> Image:
    metadata, values = samples.metadata, samples.values
    if orient:
        metadata, values = upright(metadata, samples.turned), turned(values, samples.turned)
    else:
        metadata = oriented(metadata, samples.turned)
    gray, alpha = values.shape[2] < 3, None
    if values.shape[2] in (2, 4):
        alpha = np.ascontiguousarray(_floats(values[:, :, -1], samples.white))
    return Image(
        _stored(np.ascontiguousarray(values[:, :, : 1 if gray else 3]), samples.white),
        alpha=alpha,
        depth=_depth(samples.values),
        gray=gray,
        icc=metadata.icc,
        exif=metadata.exif,
        xmp=metadata.xmp,
        format=header.format,
        lossless=header.lossless,
        record=metadata.record,
        notes=samples.notes,
        density=metadata.density,
    )


def _stored(values: np.ndarray, white: float) -> np.ndarray | Levels:
    """Return (H, W, 1 or 3) as an Image keeps it: integers as they are, floats as three channels."""
    if values.dtype != np.float32:
        return Levels(values, white)
    pixels = _floats(values, white)
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def _floats(values: np.ndarray, white: float) -> np.ndarray:
    """Return float32 samples with `white` at 1; floats are refused if they are not finite."""
    if values.dtype == np.float32 and not np.isfinite(values).all():
        raise InputError("holds NaN or infinite values")
    return values if values.dtype == np.float32 else as_float(values, white)


def _depth(values: np.ndarray) -> str:
    return {1: "8", 2: "16"}.get(values.itemsize, "float")


def turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """Return `values` (H, W, …) turned upright from EXIF `orientation`, 1 to 8."""
    transposed, lines, columns = _TURNS[orientation]
    if transposed:
        values = values.swapaxes(0, 1)
    return values[:: -1 if lines else 1, :: -1 if columns else 1]
