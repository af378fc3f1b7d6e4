"""PNG: chunks, gray with alpha, animation, and metadata (W3C PNG, third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np

from gir_cli.errors import InputError
from gir_cli.image import opencv
from gir_cli.image.header import Header
from gir_cli.image.metadata import Metadata, bare_exif, density_of, without_record
from gir_cli.image.samples import Options, Samples, whole

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_XMP = b"XML:com.adobe.xmp"
_RECORD = b"gir"
_LARGEST_TEXT = 1 << 24  # bytes of an inflated profile or text; a bomb holds more
# sRGB's gamma, and white, red, green and blue in x and y, times 100,000 (section 11.3.2.5);
# by so much writers may round.
_SRGB = (
    (b"gAMA", struct.pack(">I", 45455), 500),
    (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000), 100),
)
# The usual effort: 2.5 times as fast as level 3, for a tenth more bytes. Of what is as fast, the filter Average
# makes photographs the smallest, by 3 to 14 % below OpenCV's own Sub; drawings grow by as much.
_QUICK = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG),
)

Chunk = tuple[bytes, Any]  # a kind and its body: bytes, or a view of them for IDAT, which may be large


def chunks(data: bytes) -> Iterator[Chunk]:
    """Yield (kind, body) of every chunk up to IEND; raise InputError at the first that is not whole."""
    at, view = len(SIGNATURE), memoryview(data)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            break
        body: Any = (view if kind == b"IDAT" else data)[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        if kind in _PIXELS and checksum != zlib.crc32(body, zlib.crc32(kind)):
            raise InputError(f"damaged PNG (wrong checksum of {kind.decode()})")
        yield kind, body
        if kind == b"IEND":
            return
        at += 12 + length
    raise InputError("truncated PNG")


def header(data: bytes) -> Header:
    """Read IHDR, and acTL where the file is animated."""
    kind, body = next(chunks(data))
    if kind != b"IHDR":
        raise InputError("damaged PNG (it does not begin with IHDR)")
    width, height, bits, colour = struct.unpack_from(">IIBB", body)
    found = dict.fromkeys((b"acTL", b"tRNS"))
    for kind, body in chunks(data):
        if kind in found:
            found[kind] = body
    frames = struct.unpack_from(">I", found[b"acTL"])[0] if found[b"acTL"] else 1
    channels = _CHANNELS[colour] + (found[b"tRNS"] is not None and colour in (0, 2, 3))
    return Header("png", width, height, channels, bits, "16" if bits == 16 else "8", frames)


def read(data: bytes, header: Header) -> Samples:
    """Decode; libpng sees only the chunks that hold pixels, so it has nothing to complain about."""
    parts = list(chunks(data))
    pixels = [(kind, body) for kind, body in parts if kind in _PIXELS]
    values = opencv.unpack(assembled(pixels), "PNG")
    first = dict(reversed(parts))
    values = _narrowed(values, first)
    notes = []
    if header.frames > 1:
        notes.append(f"animated: only the first of {header.frames} frames is read")
    if left := _unused_colours(first):
        notes.append(f"its {left} colour description is left out: the colours are taken as sRGB")
    return whole(values, _metadata(parts), tuple(notes))


def _unused_colours(first: dict[bytes, bytes]) -> str:
    """Return which chunks, '' if none, say that the colours are others than sRGB (section 11.3.2)."""
    if b"iCCP" in first:
        return ""
    if b"cICP" in first:
        return "cICP"
    if b"sRGB" in first:
        return ""
    found = (kind for kind, usual, slack in _SRGB if _differ(first.get(kind), usual, slack))
    return b" and ".join(found).decode()


def _differ(body: bytes | None, usual: bytes, slack: int) -> bool:
    """Tell whether unsigned integers of four bytes are further than `slack` from the usual ones."""
    if body is None or len(body) != len(usual):
        return False  # a damaged chunk says nothing
    numbers, expected = (np.frombuffer(numbers, ">u4").astype(np.int64) for numbers in (body, usual))
    return bool((np.abs(numbers - expected) > slack).any())


def _narrowed(values: np.ndarray, first: dict[bytes, bytes]) -> np.ndarray:
    """Return gray files as gray: OpenCV widens gray with alpha and gray palettes, and ignores a gray tRNS."""
    bits, colour = first[b"IHDR"][8:10]
    if colour == 4 or (colour == 3 and _is_gray(first[b"PLTE"])):
        return np.ascontiguousarray(values[:, :, 0:4:3] if values.shape[2] == 4 else values[:, :, :1])
    if colour == 0 and b"tRNS" in first:
        (key,) = struct.unpack(">H", first[b"tRNS"])
        white = np.iinfo(values.dtype).max
        key = key * white // ((1 << bits) - 1)
        alpha = np.where(values == key, 0, white).astype(values.dtype)
        return np.concatenate([values, alpha], axis=2)
    return values


def _is_gray(palette: bytes) -> bool:
    return palette[0::3] == palette[1::3] == palette[2::3]


def _metadata(parts: list[Chunk]) -> Metadata:
    icc = exif = xmp = record = density = None
    for kind, body in parts:
        if kind == b"iCCP":
            icc = _inflated(body.partition(b"\0")[2][1:])
        elif kind == b"eXIf":
            exif = bare_exif(body)
        elif kind == b"pHYs" and len(body) == 9 and body[8] == 1:
            density = density_of(*struct.unpack(">II", body[:8]), 1)
        elif kind == b"iTXt":
            keyword, text = _international_text(body)
            xmp = text if keyword == _XMP else xmp
            record = text.decode("utf-8", "replace") if keyword == _RECORD and text else record
    xmp, inner = without_record(xmp)
    return Metadata(icc, exif, xmp, record or inner, density)


def _international_text(body: bytes) -> tuple[bytes, bytes | None]:
    """Return keyword and text of an iTXt chunk."""
    keyword, _, rest = body.partition(b"\0")
    text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return keyword, _inflated(text) if rest[:1] == b"\1" else text


def _inflated(body: bytes) -> bytes | None:
    """Return what zlib packed into `body`, or None where it is damaged or a bomb."""
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(body, _LARGEST_TEXT)
    except zlib.error:
        return None
    return text if unpacker.eof else None


def write(values: np.ndarray, options: Options) -> bytes:
    """Encode `values` (H, W, 1 to 4), uint8 or uint16."""
    level = options.compress
    if values.shape[2] == 2:
        parts = _gray_with_alpha(values, 4 if level is None else level)
    else:
        params = _QUICK if level is None else (cv2.IMWRITE_PNG_COMPRESSION, level)
        parts = list(chunks(opencv.pack(".png", values, params)))
    head = [(kind, body) for kind, body in parts if kind != b"IEND" and kind != b"IDAT"]
    rest = [(kind, body) for kind, body in parts if kind == b"IDAT" or kind == b"IEND"]
    return assembled(head + list(_chunks_of(options.metadata)) + rest)


def _chunks_of(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    if metadata.icc:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)
    if metadata.density:
        yield b"pHYs", struct.pack(">IIB", *(max(1, round(pixels)) for pixels in metadata.density), 1)
    if metadata.exif:
        yield b"eXIf", metadata.exif
    if metadata.xmp:
        yield b"iTXt", _XMP + b"\0\0\0\0\0" + metadata.xmp
    if metadata.record:
        yield b"iTXt", _RECORD + b"\0\0\0\0\0" + metadata.record.encode()


def _gray_with_alpha(values: np.ndarray, level: int) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a gray picture with alpha, which OpenCV cannot write; filter 'Up' on every line."""
    height, width, _ = values.shape
    bits = 8 * values.itemsize
    lines = values.astype(">u2" if bits == 16 else "u1").reshape(height, -1).view(np.uint8)
    above = np.vstack([np.zeros_like(lines[:1]), lines[:-1]])
    filtered = np.hstack([np.full((height, 1), 2, np.uint8), lines - above])
    head = struct.pack(">IIBBBBB", width, height, bits, 4, 0, 0, 0)
    return [(b"IHDR", head), (b"IDAT", zlib.compress(filtered.tobytes(), level)), (b"IEND", b"")]


def assembled(parts: Iterable[Chunk]) -> bytes:
    """Return the PNG file made of `parts`, (kind, body) each."""
    return SIGNATURE + b"".join(piece for part in parts for piece in _packed(*part))


def _packed(kind: bytes, body: Any) -> tuple[Any, ...]:
    return struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
