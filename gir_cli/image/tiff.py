"""TIFF through tifffile; OpenCV where a compression is beyond it (TIFF 6.0; EXIF 3.0)."""

from __future__ import annotations

import io
import logging
import lzma
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import tifffile

from gir_cli.errors import InputError
from gir_cli.image import ifd, opencv
from gir_cli.image.header import Header
from gir_cli.image.metadata import INCHES, Metadata, density_of, orientation, packet, without_record
from gir_cli.image.samples import Options, Samples, white_of

logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)  # it would print what it also raises, or mends

_COLOURS = {0: "MINISWHITE", 1: "MINISBLACK", 2: "RGB", 3: "PALETTE", 6: "YCBCR"}
_DNG = 50706
_JPEGS = (6, 7)  # their decoder returns RGB
_XMP, _ICC, _ORIENTATION = 700, 34675, 274
_ACROSS, _DOWN, _UNIT = 282, 283, 296
_EXTRA = 338
_UNITS = {2: INCHES, 3: 100.0}  # of the resolution, to the metre
_ASSOCIATED = 1
# bits, strips, palette, tiles, the samples' type, profile: without them it would be another picture
_NEEDED = {258, 273, 279, 320, 324, 325, 339, _ICC}
_LARGE_TILE = 2048  # pixels a side: no tile may hold more than the picture rounded up to such ones
_BUFFER = 1 << 24  # bytes of strips that are unpacked or packed in one go


@contextmanager
def _opened(data: bytes) -> Iterator[list]:
    """Yield the pages that are pictures; thumbnails and masks are none."""
    with tifffile.TiffFile(io.BytesIO(data), _multifile=False) as file:
        pages: list = [file.pages[number] for number in range(len(file.pages))]
        whole = [page for page in pages if not page.is_reduced and not page.is_mask]
        if not whole:
            raise InputError("a TIFF of nothing but previews (a camera's raw file?) is not supported")
        if _DNG in whole[0].tags:
            raise InputError("DNG is not supported: develop it to TIFF first")
        yield whole


def header(data: bytes) -> Header:
    """Read the first page's tags."""
    with _opened(data) as pages:
        return _header(pages[0], len(pages), data)


def _header(page: tifffile.TiffPage, count: int, data: bytes) -> Header:
    if _NEEDED & _listed(page, data) - {tag.code for tag in page.tags}:
        raise InputError("truncated or damaged TIFF (values of its tags are missing)")
    numbers = (page.imagewidth, page.imagelength, page.samplesperpixel, page.bitspersample)
    width, height, channels, bits = (int(number) for number in numbers)  # a damaged tag may be a tuple
    kind = page.dtype.kind if page.dtype else ""
    depth = "float" if kind == "f" else "8" if bits <= 8 else "16"
    return Header("tiff", width, height, channels, bits, depth, count)


def _listed(page: tifffile.TiffPage, data: bytes) -> set[int]:
    """Return the tags in the page's directory; tifffile leaves out those whose values lie beyond the file's end."""
    form = page.parent.tiff
    (count,) = struct.unpack_from(form.tagnoformat, data, page.offset)
    start = page.offset + form.tagnosize
    return {struct.unpack_from(form.byteorder + "H", data, start + at * form.tagsize)[0] for at in range(count)}


def read(data: bytes, header: Header) -> Samples:
    """Decode the first page."""
    with _opened(data) as pages:
        found = _page(pages[0], data)
    notes = (f"only the first of {header.frames} pages is read",) if header.frames > 1 else ()
    return Samples(found.values, found.white, found.metadata, found.turned, found.notes + notes)


def read_pages(data: bytes, max_pixels: int) -> Iterator[Samples]:
    """Decode every page."""
    with _opened(data) as pages:
        for number, page in enumerate(pages):
            found = _header(page, len(pages), data)
            if found.width * found.height > max_pixels:
                raise InputError(f"page {number + 1} has more than {max_pixels} pixels")
            yield _page(page, data)


def _page(page: tifffile.TiffPage, data: bytes) -> Samples:
    _refuse_the_unknown(page)
    _refuse_a_bomb(page, data)
    try:
        values, white = _plain_type(_interleaved(page.asarray(buffersize=_BUFFER), page), page)
    except (ValueError, ImportError) as error:
        if not isinstance(error, ImportError) and "imagecodecs" not in str(error):
            raise
        values, white = _by_opencv(page, data)
    turned = page.tags.valueof(_ORIENTATION, 1)
    return Samples(values, white, _metadata(page, data), turned if 1 <= turned <= 8 else 1)


def _by_opencv(page: tifffile.TiffPage, data: bytes) -> tuple[np.ndarray, float]:
    """Return samples and white of a page whose compression tifffile cannot undo by itself.

    Not of what OpenCV turns to something else without an error: separate planes to garbage, gray with alpha to gray.
    """
    compression = getattr(page.compression, "name", page.compression)
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        raise InputError(f"a TIFF of {compression} planes needs the Python package imagecodecs")
    values = opencv.unpack_page(_without_what_misleads(page, data), page.index)
    if values is None or values.shape[:2] != page.shape[:2]:
        raise InputError(f"truncated or damaged TIFF, or its compression {compression} needs imagecodecs")
    if page.photometric == 3:
        return values, white_of(values)
    if values.shape[2] != page.samplesperpixel:
        raise InputError(
            f"a TIFF of {page.samplesperpixel} channels in {compression} needs the Python package imagecodecs"
        )
    white = white_of(values)
    if page.photometric == 0 and values.dtype != np.uint8:  # 8 bits libtiff has turned itself
        values = _negative(values, white)
    return _freed(values, white, page), white


def _without_what_misleads(page: tifffile.TiffPage, data: bytes) -> bytes:
    """Return the file with alpha called a channel of no meaning and the picture upright.

    Else libtiff would multiply alpha into the colours, and OpenCV turn the picture, unasked.
    """
    order = "little" if page.parent.byteorder == "<" else "big"
    for code, value in ((_EXTRA, 0), (_ORIENTATION, 1)):
        if tag := page.tags.get(code):
            length = tag.valuebytecount
            data = data[: tag.valueoffset] + value.to_bytes(length, order) + data[tag.valueoffset + length :]
    return data


def _refuse_the_unknown(page: tifffile.TiffPage) -> None:
    if page.photometric not in _COLOURS:
        colour = getattr(page.photometric, "name", page.photometric)
        raise InputError(f"a TIFF in the colour model {colour} is not supported (RGB, gray and palette are)")
    if page.photometric == 6 and page.compression not in _JPEGS:
        raise InputError("a TIFF in the colour model YCBCR is supported with JPEG compression only")
    if page.samplesperpixel > 4 or page.imagedepth > 1:
        raise InputError(f"a TIFF of {page.samplesperpixel} channels is not supported (at most 4 are)")
    if page.dtype is None or page.dtype.kind not in "buf" or (page.dtype.kind == "u" and page.dtype.itemsize > 2):
        raise InputError(f"a TIFF of {page.bitspersample}-bit {page.sampleformat} samples is not supported")


def _refuse_a_bomb(page: tifffile.TiffPage, data: bytes) -> None:
    """Raise InputError where tiles dwarf the picture, or one inflates to more than its share of it.

    imagecodecs stops there by itself; without it tifffile inflates whatever comes.
    """
    largest = math.prod(_LARGE_TILE * -(-side // _LARGE_TILE) for side in (page.imagewidth, page.imagelength))
    if math.prod(page.chunks) > largest * page.samplesperpixel:
        raise InputError("damaged TIFF (its tiles are far larger than the picture)")
    exceeds = _EXCEEDS.get(page.compression)
    if exceeds is None or find_spec("imagecodecs"):
        return
    most = 2 * math.prod(page.chunks) * page.dtype.itemsize + 4096 if page.dtype else 0
    for start, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        if exceeds(data[start : start + size], most):
            raise InputError("damaged TIFF (it inflates to more than its size)")


def _deflated_exceeds(packed: bytes, most: int) -> bool:
    unpacker = zlib.decompressobj()
    unpacker.decompress(packed, most)
    return bool(unpacker.unconsumed_tail)


def _lzma_exceeds(packed: bytes, most: int) -> bool:
    unpacker = lzma.LZMADecompressor()
    return len(unpacker.decompress(packed, most)) == most and not unpacker.eof


def _packbits_exceeds(packed: bytes, most: int) -> bool:
    """Add up the runs (TIFF 6.0, section 9); 128 is none."""
    at = length = 0
    while at < len(packed) and length <= most:
        run = packed[at]
        length += run + 1 if run < 128 else 0 if run == 128 else 257 - run
        at += run + 2 if run < 128 else 1 if run == 128 else 2
    return length > most


_EXCEEDS = {8: _deflated_exceeds, 32946: _deflated_exceeds, 32773: _packbits_exceeds, 34925: _lzma_exceeds}


def _interleaved(values: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    """Return (H, W, C), whatever the planar configuration; a palette is looked up."""
    if page.planarconfig == 2 and values.ndim == 3:
        values = np.moveaxis(values, 0, 2)
    if page.photometric == 3:
        if page.colormap is None:
            raise InputError("damaged TIFF (no palette)")
        return np.moveaxis(page.colormap[:, values], 0, -1)
    return values.reshape(page.imagelength, page.imagewidth, -1)


def _plain_type(values: np.ndarray, page: tifffile.TiffPage) -> tuple[np.ndarray, float]:
    """Return uint8, uint16 or float32 samples and their white; black-is-1 turned, colours freed of their alpha."""
    if values.dtype.kind == "f":
        values, white = _single(values), 1.0
    elif page.photometric == 3:  # writers scale palettes by 256 or 257; the high byte is right for both
        values, white = (values >> 8).astype(np.uint8), 255.0
    else:
        white = float((1 << min(page.bitspersample, 16)) - 1)
        values = np.ascontiguousarray(values, dtype=np.uint8 if white < 256 else np.uint16)
    if page.photometric == 0:
        values = _negative(values, white)
    return _freed(values, white, page), white


def _single(values: np.ndarray) -> np.ndarray:
    """Return floats of any size as float32; InputError where one that is finite becomes infinite."""
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(values, dtype=np.float32)
    if values.dtype.itemsize > 4 and np.isinf(single).sum() > np.isinf(values).sum():
        raise InputError("holds values too large for 32-bit floats")
    return single


def _negative(values: np.ndarray, white: float) -> np.ndarray:
    """Return gray samples turned from black-is-`white` to black-is-0; alpha stays."""
    turned = (values.dtype.type(white) - values[:, :, :1]).astype(values.dtype)
    return np.concatenate([turned, values[:, :, 1:]], axis=2)


def _freed(values: np.ndarray, white: float, page: tifffile.TiffPage) -> np.ndarray:
    """Return `values` with the colours freed of their alpha, where the page says that they hold it."""
    associated = page.extrasamples and page.extrasamples[0] == _ASSOCIATED and values.shape[2] in (2, 4)
    return _unassociated(values, white) if associated else values


def _unassociated(values: np.ndarray, white: float) -> np.ndarray:
    """Return colours that were stored multiplied by alpha, divided by it again."""
    alpha = values[:, :, -1:].astype(np.float32)
    colours = values[:, :, :-1] * (white / np.where(alpha > 0, alpha, white))
    if values.dtype != np.float32:
        colours = np.minimum(np.rint(colours), white)
    return np.concatenate([colours.astype(values.dtype), values[:, :, -1:]], axis=2)


def _metadata(page: tifffile.TiffPage, data: bytes) -> Metadata:
    xmp, record = without_record(_blob(page, _XMP))
    exif = ifd.exif_of(data) if page.index == 0 else None
    return Metadata(_blob(page, _ICC), exif, xmp, record, _density(page))


def _density(page: tifffile.TiffPage) -> tuple[float, float] | None:
    ratios = [page.tags.valueof(tag) for tag in (_ACROSS, _DOWN)]
    metre = _UNITS.get(page.tags.valueof(_UNIT, 2))
    if metre is None or not all(isinstance(ratio, tuple) and len(ratio) == 2 and ratio[1] for ratio in ratios):
        return None
    across, down = (ratio[0] / ratio[1] for ratio in ratios)
    return density_of(across, down, metre)


def _blob(page: tifffile.TiffPage, tag: int) -> bytes | None:
    value = page.tags.valueof(tag)
    if isinstance(value, (tuple, np.ndarray)):
        value = bytes(bytearray(value))
    return value if isinstance(value, bytes) and value else None


def write(values: np.ndarray, options: Options) -> bytes:
    """Encode `values` (H, W, 1 to 4), uint8, uint16 or float32, deflated unless `compress` is 0."""
    return write_pages([(values, options)])


def write_pages(pages: list[tuple[np.ndarray, Options]]) -> bytes:
    """Encode several pictures as the pages of one file; EXIF is the first page's."""
    exif = pages[0][1].metadata.exif
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, byteorder=">" if exif and ifd.order_of(exif) == ">" else "<") as file:
        for values, options in pages:
            _write_page(file, values, options)
    data = stream.getvalue()
    return ifd.with_exif(data, exif) if exif else data


def _write_page(file: tifffile.TiffWriter, values: np.ndarray, options: Options) -> None:
    channels = values.shape[2]
    level = 6 if options.compress is None else options.compress
    metadata = options.metadata
    xmp, turned = packet(metadata), orientation(metadata.exif)
    extra = [(_ORIENTATION, 3, 1, turned, True)] if turned > 1 else []
    extra += [(_XMP, 1, len(xmp), xmp, True)] if xmp else []
    file.write(
        values[:, :, 0] if channels == 1 else values,
        photometric="minisblack" if channels < 3 else "rgb",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib" if level else None,
        compressionargs={"level": level} if level else None,
        predictor=2 if level and values.dtype != np.float32 else None,
        iccprofile=metadata.icc,
        resolution=[pixels / INCHES for pixels in metadata.density] if metadata.density else None,
        resolutionunit=2 if metadata.density else None,
        extratags=extra,
        software=False,
        metadata=None,
        buffersize=_BUFFER,
    )
