"""What a file's header says, read before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from gir_cli.errors import GirError, InputError
from gir_cli.image.formats import Format, recognise

MAX_PIXELS = 1 << 27


@dataclass(frozen=True)
class Header:
    """Size in pixels as stored (before orientation), bits a sample, channels, frames or pages.

    `depth` is '8', '16' or 'float'. `lossless` tells whether this very file is.
    """

    format: str
    width: int
    height: int
    channels: int
    bits: int
    depth: str = "8"
    frames: int = 1
    lossless: bool = True


def read_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Return what the header of the image in `data` says, or raise InputError.

    A picture of no or more than `max_pixels` pixels is refused.
    """
    form = recognise(data)
    with damage_is_said(form):
        header = codec(form).header(data)
    pixels = header.width * header.height
    if header.width < 1 or header.height < 1:
        raise InputError(f"damaged {form.name.upper()} (its size is {header.width}x{header.height})")
    if pixels > max_pixels:
        raise InputError(f"{header.width}x{header.height} is {pixels} pixels (at most {max_pixels} are allowed)")
    return header


def codec(form: Format) -> ModuleType:
    """Return the module that reads and writes `form`, or raise InputError naming what it needs."""
    try:
        return import_module(form.module)
    except ImportError as error:
        raise InputError(f"{form.name} needs the Python package {form.needs or error.name}") from None


@contextmanager
def damage_is_said(form: Format) -> Iterator[None]:
    """Turn whatever a codec trips over in damaged data into one InputError.

    The libraries beneath raise a dozen types of their own; none of them means anything else here.
    """
    try:
        yield
    except GirError:
        raise
    except MemoryError:
        raise InputError("too large for this machine's memory") from None
    except Exception as error:
        raise InputError(f"damaged {form.name.upper()}") from error
