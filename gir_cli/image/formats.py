"""What each file format can hold: one declaration a format, from which all else is read.

The encoder converts by it, the command line checks by it, and the table in gir-formats(7) is it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from gir_cli.errors import InputError, OutputError, UsageError, nearest


@dataclass(frozen=True)
class Format:
    """A file format: how its files begin and are called, and what they can hold.

    `magic` is a regular expression that the first bytes match. `depths` lists '8', '16' and 'float',
    and `bits` says how many bits a '16' really has. `lossless` is 'always', 'never' or the quality
    that asks for it; `lossy_alpha` tells that other qualities change alpha too. `sides` are the least
    and the largest width or height that can be written.
    `codec` names the module that reads and writes it; `needs` the package it cannot do without.
    """

    name: str
    title: str
    extensions: tuple[str, ...]
    magic: bytes
    depths: tuple[str, ...] = ("8",)
    gray: bool = True
    alpha: bool = False
    gray_alpha: bool = False
    icc: bool = False
    exif: bool = False
    xmp: bool = False
    record: bool = False
    density: bool = False
    pages: bool = False
    quality: int | None = None
    lossless: str = "always"
    lossy_alpha: bool = False
    compress: bool = False
    sides: tuple[int, int] = (1, 1 << 20)
    bits: int = 16
    writes: bool = True
    codec: str = ""
    needs: str = ""

    @property
    def module(self) -> str:
        """The module of this package that reads and writes the format."""
        return f"gir_cli.image.{self.codec or self.name}"

    @property
    def extension(self) -> str:
        """The usual extension, without its dot."""
        return self.extensions[0]


_ALL = (
    Format("png", "Portable Network Graphics", ("png", "apng"), rb"\x89PNG\r\n\x1a\n",
           depths=("8", "16"), alpha=True, gray_alpha=True, icc=True, exif=True, xmp=True, record=True, density=True,
           compress=True),
    Format("jpeg", "JPEG", ("jpg", "jpeg", "jpe", "jfif"), rb"\xff\xd8\xff",
           icc=True, exif=True, xmp=True, record=True, density=True, quality=95, lossless="never", sides=(1, 65500)),
    Format("webp", "WebP", ("webp",), rb"RIFF....WEBP",
           gray=False, alpha=True, icc=True, exif=True, xmp=True, record=True,
           quality=95, lossless="100", sides=(1, 16383)),
    Format("avif", "AV1 Image File Format", ("avif",), rb"....ftyp(avif|avis|....(....)*?(avif|avis))",
           depths=("8", "16"), bits=12, alpha=True, icc=True, exif=True, xmp=True, record=True,
           quality=90, lossless="100", lossy_alpha=True, sides=(1, 65536)),
    Format("tiff", "Tagged Image File Format", ("tif", "tiff"), rb"II[\x2a\x2b]\x00|MM\x00[\x2a\x2b]",
           depths=("8", "16", "float"), alpha=True, gray_alpha=True, icc=True, exif=True, xmp=True, record=True,
           density=True, pages=True, compress=True),
    Format("jp2", "JPEG 2000", ("jp2", "j2k", "jpx", "j2c"), rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
           depths=("8", "16"), alpha=True, icc=True, exif=True, xmp=True, record=True,
           quality=100, lossless="100", lossy_alpha=True, sides=(32, 1 << 20)),
    Format("jxl", "JPEG XL", ("jxl",), rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n",
           depths=("8", "16", "float"), alpha=True, gray_alpha=True, exif=True, xmp=True, record=True,
           quality=95, lossless="100", compress=True, needs="imagecodecs"),
    Format("bmp", "Windows bitmap", ("bmp", "dib"), rb"BM", alpha=True),
    Format("pnm", "Portable any map", ("ppm", "pgm", "pbm", "pnm"), rb"P[1-6]\s", depths=("8", "16")),
    Format("pam", "Portable arbitrary map", ("pam",), rb"P7\s",
           depths=("8", "16"), alpha=True, gray_alpha=True, codec="pnm"),
    Format("pfm", "Portable float map", ("pfm",), rb"P[Ff]\s", depths=("float",), codec="pnm"),
    Format("gif", "Graphics Interchange Format", ("gif",), rb"GIF8[79]a", alpha=True, writes=False),
)  # fmt: skip

FORMATS: dict[str, Format] = {form.name: form for form in _ALL}
_BY_EXTENSION = {extension: form for form in _ALL for extension in form.extensions}
_MAGIC = {form.name: re.compile(form.magic, re.DOTALL) for form in _ALL}
MAGIC_LENGTH = 64


# Images all the same, for which there is no codec here; named, so that nobody is told they are none.
_FOREIGN = {
    "HEIC": rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)",
    "Photoshop's PSD": rb"8BPS",
    "OpenEXR": rb"\x76\x2f\x31\x01",
    "Radiance HDR": rb"#\?(RADIANCE|RGBE)",
    "camera raw": rb"II\x2a\x00....CR|....ftypcrx|FUJIFILMCCD-RAW|IIU\x00|IIRO",
}


class NoImage(InputError):
    """The bytes are those of no image at all, whether readable or not."""


def recognise(data: bytes) -> Format:
    """Return the format whose magic `data` begins with; raise NoImage, or InputError for formats not supported."""
    start = bytes(data[:MAGIC_LENGTH])
    for name, magic in _FOREIGN.items():
        if re.match(magic, start, re.DOTALL) and not _MAGIC["avif"].match(start):
            raise InputError(f"{name} is not supported: convert it to PNG or TIFF first")
    for form in _ALL:
        if _MAGIC[form.name].match(start):
            return form
    raise NoImage("not an image I can read" if start else "empty file")


def named(text: str) -> Format:
    """Return the format called `text`, by name or extension, or raise UsageError."""
    form = FORMATS.get(text.lower()) or _BY_EXTENSION.get(text.lower())
    if form and not form.writes:
        raise UsageError(f"{form.name} can be read but not written")
    if form is None:
        hint = nearest(text, sorted(_BY_EXTENSION)) or f" (there are: {', '.join(f.name for f in _ALL if f.writes)})"
        raise UsageError(f"no format I can write is called '{text}'{hint}")
    return form


def by_extension(path: str) -> Format | None:
    """Return the format that `path`'s extension means, or None."""
    return _BY_EXTENSION.get(PurePath(path).suffix[1:].lower())


def check_size(form: Format, width: int, height: int) -> None:
    """Raise OutputError if a picture of `width` x `height` pixels cannot be written as `form`."""
    least, largest = form.sides
    if max(width, height) > largest:
        raise OutputError(f"{width}x{height} is too large for {form.name} (at most {largest} a side)")
    if min(width, height) < least:
        raise OutputError(f"{width}x{height} is too small for {form.name} (at least {least} a side)")
