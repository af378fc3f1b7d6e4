"""Netpbm's PNM (P1 to P6) and PAM (P7), and PFM; read and written here so that streams can be cut into frames."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gir_cli.errors import InputError
from gir_cli.image.header import Header
from gir_cli.image.samples import Options, Samples

_MAGIC = re.compile(rb"P[1-7Ff]\s")
_SPACE = b" \t\n\r\v\f"
_CHANNELS = {b"1": 1, b"2": 1, b"3": 3, b"4": 1, b"5": 1, b"6": 3, b"f": 1, b"F": 3}
_TUPLES = {1: b"GRAYSCALE", 2: b"GRAYSCALE_ALPHA", 3: b"RGB", 4: b"RGB_ALPHA"}
_LONGEST_HEADER = 4096  # bytes; comments count


@dataclass(frozen=True)
class Layout:
    """A frame's header: `kind` is the digit or letter after P, `white` the maxval, or PFM's scale."""

    kind: bytes
    width: int
    height: int
    channels: int
    white: float

    @property
    def type(self) -> np.dtype:
        """The type of a sample in the file."""
        if self.kind in (b"f", b"F"):
            return np.dtype("<f4" if self.white < 0 else ">f4")
        return np.dtype("u1" if self.white < 256 else ">u2")

    @property
    def size(self) -> int | None:
        """Bytes of the pixels after the header; None for the plain kinds, whose length only their text tells."""
        if self.kind in (b"1", b"2", b"3"):
            return None
        if self.kind == b"4":
            return (self.width + 7) // 8 * self.height
        return self.width * self.height * self.channels * self.type.itemsize

    @property
    def name(self) -> str:
        """The format's name."""
        return {b"7": "pam", b"f": "pfm", b"F": "pfm"}.get(self.kind, "pnm")


class Source(Protocol):
    """What a header is read from."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer at the end."""

    def readline(self, size: int, /) -> bytes:
        """Return bytes up to a line's end, `size` at most."""


def layout(stream: Source) -> Layout:
    """Read one header from `stream`, to the first byte of the pixels; raise InputError if it is none."""
    try:
        kind = stream.read(2)[1:]
        found = _pam(stream) if kind == b"7" else _netpbm(kind, stream)
    except (ValueError, KeyError):
        raise InputError("damaged PNM header") from None
    white = abs(found.white)
    if (found.kind not in (b"f", b"F") and not 1 <= white <= 65535) or not 0 < white < float("inf"):
        raise InputError(f"damaged PNM header (its maximum is {found.white:g})")
    if min(found.width, found.height) < 1 or not 1 <= found.channels <= 4:
        raise InputError(f"damaged PNM header ({found.width}x{found.height}x{found.channels})")
    return found


def _netpbm(kind: bytes, stream: Source) -> Layout:
    width, height = int(_word(stream)), int(_word(stream))
    white = 1.0 if kind in (b"1", b"4") else float(_word(stream))
    return Layout(kind, width, height, _CHANNELS[kind], white)


def _word(stream: Source) -> bytes:
    """Read the next word of a header, and the one byte of white space after it."""
    word = b""
    for _ in range(_LONGEST_HEADER):
        byte = stream.read(1)
        if byte == b"#":
            stream.readline(_LONGEST_HEADER)
            byte = b"\n"
        if byte and byte not in _SPACE:
            word += byte
        elif word or not byte:
            break
    return word


def _pam(stream: Source) -> Layout:
    fields: dict[bytes, bytes] = {}
    for _ in range(_LONGEST_HEADER):
        line = stream.readline(_LONGEST_HEADER).strip()
        if line == b"ENDHDR":
            break
        key, _, value = line.partition(b" ")
        if key and not key.startswith(b"#"):
            fields[key] = value.strip()
    kind = fields.get(b"TUPLTYPE", b"RGB")
    if not kind.startswith((b"BLACKANDWHITE", b"GRAYSCALE", b"RGB")):
        raise InputError(f"a PAM of the kind {kind.decode('latin-1')} is not supported")
    width, height, depth, white = (int(fields[key]) for key in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
    return Layout(b"7", width, height, depth, float(white))


def header(data: bytes) -> Header:
    """Read the header."""
    found = layout(io.BytesIO(data))
    if found.name == "pfm":
        return Header("pfm", found.width, found.height, found.channels, 32, "float")
    bits = int(found.white).bit_length()
    return Header(found.name, found.width, found.height, found.channels, bits, "8" if bits <= 8 else "16")


def read(data: bytes, header: Header) -> Samples:
    """Decode one frame."""
    stream = io.BytesIO(data)
    found = layout(stream)
    body = memoryview(data)[stream.tell() :]
    if found.size is None:
        values = _plain(bytes(body), found)
    elif len(body) < found.size:
        raise InputError(f"truncated {found.name.upper()}")
    elif found.kind == b"4":
        values = _bitmap(body[: found.size], found)
    else:
        values = np.frombuffer(body, found.type, found.size // found.type.itemsize)
    more = found.size is not None and _MAGIC.match(body[found.size :])
    notes = ("only the first of several pictures in the file is read",) if more else ()
    values = values.reshape(found.height, found.width, found.channels)
    if found.name == "pfm":  # from the lowest line up
        return Samples(np.ascontiguousarray(values[::-1], dtype=np.float32), 1.0, notes=notes)
    values = values.astype(np.uint8 if found.white < 256 else np.uint16)
    return Samples(np.minimum(values, values.dtype.type(found.white), out=values), found.white, notes=notes)


def _plain(body: bytes, found: Layout) -> np.ndarray:
    """Return the samples of P1, P2 or P3, written as decimal words (in P1 the spaces may be left out)."""
    count = found.width * found.height * found.channels
    body = re.sub(rb"#[^\n\r]*", b"", body)
    if found.kind == b"1":
        digits = np.frombuffer(bytes(body.translate(None, _SPACE)), np.uint8)[:count] - ord("0")
        values = (1 - digits).astype(np.int64)
    else:
        values = np.array(body.split()[:count], dtype=np.int64)
    if len(values) < count:
        raise InputError("truncated PNM")
    if values.min() < 0 or values.max() > found.white:
        raise InputError("damaged PNM (a sample is out of range)")
    return values


def _bitmap(body: memoryview, found: Layout) -> np.ndarray:
    """Return the samples of P4, eight to a byte, each line padded; 1 is black."""
    bits = np.unpackbits(np.frombuffer(body, np.uint8).reshape(found.height, -1), axis=1)
    return 1 - bits[:, : found.width]


def write(values: np.ndarray, options: Options) -> bytes:
    """Encode `values` (H, W, 1 to 4): float32 as PFM, with alpha as PAM, the rest as P5 or P6."""
    height, width, channels = values.shape
    if values.dtype == np.float32:
        kind = b"Pf" if channels == 1 else b"PF"
        return b"%s\n%d %d\n-1.0\n" % (kind, width, height) + values[::-1].astype("<f4").tobytes()
    white = np.iinfo(values.dtype).max
    body = values.astype("u1" if white < 256 else ">u2").tobytes()
    if options.form == "pam":
        head = b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL %d\nTUPLTYPE %s\nENDHDR\n"
        return head % (width, height, channels, white, _TUPLES[channels]) + body
    return b"P%d\n%d %d\n%d\n" % (5 if channels == 1 else 6, width, height, white) + body
