"""Images between bytes and pixels: the only place that knows files, formats, BGR, EXIF and ICC."""

from __future__ import annotations

from gir_cli.image.decoding import decode, decode_all
from gir_cli.image.encoding import Encoded, Saving, default_format, encode, room, stdout_format
from gir_cli.image.formats import FORMATS, Format, by_extension, check_size, named, recognise
from gir_cli.image.header import MAX_PIXELS, Header, read_header
from gir_cli.image.levels import Levels
from gir_cli.image.picture import Image
from gir_cli.image.streams import frames

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Encoded",
    "Format",
    "Header",
    "Image",
    "Levels",
    "Saving",
    "by_extension",
    "check_size",
    "decode",
    "decode_all",
    "default_format",
    "encode",
    "frames",
    "named",
    "read_header",
    "recognise",
    "room",
    "stdout_format",
]
