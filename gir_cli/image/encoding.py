"""Image -> bytes; what a format cannot hold is converted here, and told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np

from gir_cli.errors import GirError, OutputError, UsageError
from gir_cli.image.formats import FORMATS, Format, check_size, named
from gir_cli.image.header import codec
from gir_cli.image.levels import Levels, one_channel, quantised
from gir_cli.image.metadata import Metadata, icc_space, without_thumbnail
from gir_cli.image.picture import Image
from gir_cli.image.samples import Options
from gir_cli.params import Checked, Param

_NAMED = {"white": "#ffffff", "black": "#000000", "gray": "#808080"}


@dataclass(frozen=True)
class Saving(Checked):
    """How pictures are written."""

    depth: Annotated[Literal["keep", "8", "16", "float"], Param("bits a sample; keep the input's")] = "keep"
    quality: Annotated[int | None, Param("quality where the format is lossy; 100 is lossless but in JPEG", 1, 100)] = (
        None
    )
    compress: Annotated[int | None, Param("effort of lossless compression; the pixels are the same", 0, 9)] = None
    background: Annotated[str, Param("colour under transparency that a format cannot hold: a name or #rrggbb")] = (
        "white"
    )
    metadata: Annotated[Literal["keep", "color", "strip"], Param("carry all, the ICC profile alone, or none")] = "keep"

    @property
    def colour(self) -> np.ndarray:
        """The background as float32 (3,) in [0, 1]; raises UsageError if it is no colour."""
        text = _NAMED.get(self.background, self.background)
        if not re.fullmatch("#[0-9a-fA-F]{6}", text):
            raise UsageError(f"background={self.background} is no colour ({', '.join(_NAMED)} or #rrggbb)")
        return np.frombuffer(bytes.fromhex(text[1:]), np.uint8).astype(np.float32) / 255


@dataclass(frozen=True)
class Encoded:
    """A file's bytes, and sentences about what its format could not hold."""

    data: bytes
    notes: tuple[str, ...] = ()


def encode(
    image: Image | Sequence[Image],
    format: str | None = None,
    saving: Saving = Saving(),
    *,
    record: str | None = None,
) -> Encoded:
    """Return the file that holds `image`, or the pages that hold several.

    `format` is a name or extension (the picture's own where None). `record` is the provenance text to
    write. Pixels are clipped and rounded once, here. Raises UsageError for an unknown format and
    OutputError for a size that the format cannot have or pixels that are not finite.
    """
    images = [image] if isinstance(image, Image) else list(image)
    form = named(format or default_format(images[0]))
    notes: dict[str, None] = {}  # in order, each once
    if len(images) > 1 and not form.pages:
        notes[f"{form.name} holds one page: only the first of {len(images)} is written"] = None
        images = images[:1]
    pages = []
    for picture in images:
        check_size(form, picture.width, picture.height)
        values, said = _values(picture, form, saving)
        metadata, lost = _metadata(picture, form, saving, values.shape[2] < 3, record)
        quality = _quality(picture, form, saving)
        notes.update(dict.fromkeys((*said, *lost, *_alpha_notes(picture, form, quality))))
        pages.append((values, Options(form.name, quality, saving.compress, metadata)))
    return Encoded(_written(pages, form), tuple(notes))


def default_format(image: Image) -> str:
    """Return the name of the format an output takes from its input: its own, or PNG where it cannot be written."""
    return image.format if FORMATS[image.format].writes else "png"


def stdout_format(image: Image) -> str:
    """Return the name of the format on standard output: the picture's own if its file was lossless, else PNG."""
    return default_format(image) if image.lossless else "png"


def _written(pages: list[tuple[np.ndarray, Options]], form: Format) -> bytes:
    try:
        module = codec(form)
        return module.write_pages(pages) if form.pages else module.write(*pages[0])
    except OutputError:
        raise
    except GirError as error:
        raise OutputError(str(error)) from None
    except MemoryError:
        raise OutputError("too large for this machine's memory") from None


def _quality(image: Image, form: Format, saving: Saving) -> int:
    """Return the quality asked for; without one, what was lossless stays so."""
    if saving.quality is not None:
        return saving.quality
    if form.quality is None:
        return 100
    keeps = form.lossless == "100" and image.format == form.name and image.lossless
    return 100 if keeps else form.quality


def _depth(image: Image, form: Format, saving: Saving) -> str:
    """Return the depth to write: the one wanted, else the next deeper one, else the deepest there is."""
    wanted = image.depth if saving.depth == "keep" else saving.depth
    order = ("8", "16", "float")
    deeper = [depth for depth in order[order.index(wanted) :] if depth in form.depths]
    return deeper[0] if deeper else form.depths[-1]


def room(image: Image, format: str, saving: Saving, scale: int = 1) -> np.ndarray | Levels:
    """Return room for `scale` times as many lines and columns as `image` has, to be filled and put in its place.

    It is of the type in which `encode` will write them as `format`, so that they are rounded once and
    copied never; float32 where they are not written as they are.
    """
    form = named(format)
    bits = _bits(image, form, saving)
    height, width = image.height * scale, image.width * scale
    if bits == 32 or (image.alpha is not None and not form.alpha):
        return np.empty((height, width, 3), np.float32)
    channels = 1 if _is_gray(image, form) else 3
    return Levels(np.empty((height, width, channels), np.uint8 if bits <= 8 else np.uint16), _white(bits))


def _bits(image: Image, form: Format, saving: Saving) -> int:
    """Return the bits of a sample to write; 32 are float's."""
    return {"8": 8, "16": form.bits, "float": 32}[_depth(image, form, saving)]


def _white(bits: int) -> float:
    return float((1 << bits) - 1)


def _is_gray(image: Image, form: Format) -> bool:
    return image.gray and form.gray and (image.alpha is None or form.gray_alpha)


def _values(image: Image, form: Format, saving: Saving) -> tuple[np.ndarray, list[str]]:
    """Return the samples to write (H, W, C), and what had to be converted."""
    notes = []
    if image.alpha is not None and not form.alpha:
        alpha = image.alpha[:, :, None]
        image = replace(image, stored=alpha * image.pixels + (1 - alpha) * saving.colour, alpha=None)
        notes.append(f"{form.name} holds no transparency: composited on {saving.background}")
    if isinstance(image.stored, np.ndarray) and not np.isfinite(image.stored).all():
        raise OutputError("the result holds NaN or infinite values")
    bits = _bits(image, form, saving)
    notes += _depth_notes(image, form, saving, bits)
    colours = _colours(image, 1 if _is_gray(image, form) else 3, bits)
    if image.alpha is None:
        return colours, notes
    return np.concatenate([colours, _in_bits(image.alpha[:, :, None], bits)], axis=2), notes


def _colours(image: Image, channels: int, bits: int) -> np.ndarray:
    stored = image.stored
    if isinstance(stored, Levels) and stored.white == _white(bits) and stored.values.shape[2] == channels:
        return stored.values
    return _in_bits(one_channel(image.pixels) if channels == 1 else image.pixels, bits)


def _in_bits(pixels: np.ndarray, bits: int) -> np.ndarray:
    return np.ascontiguousarray(pixels) if bits == 32 else quantised(pixels, _white(bits))


def _depth_notes(image: Image, form: Format, saving: Saving, bits: int) -> list[str]:
    notes = []
    wanted = image.depth if saving.depth == "keep" else saving.depth
    had = {"8": 8, "16": FORMATS[image.format].bits, "float": 32}[wanted]
    if bits < had:
        notes.append(f"{form.name} holds {bits} bits a sample at most: converted from {_BITS[had]}")
    if bits < 32 and image.overshoots:
        notes.append("values beyond [0, 1] are clipped")
    return notes


def _alpha_notes(image: Image, form: Format, quality: int) -> list[str]:
    """Say where alpha comes back a few levels off; one that is the same everywhere does not."""
    if image.alpha is None or not form.lossy_alpha or quality == 100 or image.alpha.min() == image.alpha.max():
        return []
    return [f"{form.name} of quality {quality} holds transparency only nearly: quality 100 holds it exactly"]


_BITS = {8: "8", 16: "16", 32: "float"}


def _metadata(image: Image, form: Format, saving: Saving, gray: bool, record: str | None) -> tuple[Metadata, list[str]]:
    """Return the metadata to write, and what must be left out."""
    keep, color = saving.metadata == "keep", saving.metadata != "strip"
    wanted = Metadata(
        icc=image.icc if color else None,
        exif=without_thumbnail(image.exif) if keep and image.exif else None,
        xmp=image.xmp if keep else None,
        density=image.density if keep else None,
    )
    notes = []
    space, kind = icc_space(wanted.icc or b""), "gray" if gray else "RGB"
    if form.icc and space not in ("", kind.upper()):
        notes.append(f"the {space} profile does not fit {kind} pixels and is left out")
        wanted = replace(wanted, icc=None)
    held = Metadata(
        icc=wanted.icc if form.icc else None,
        exif=wanted.exif if form.exif else None,
        xmp=wanted.xmp if form.xmp else None,
        record=record if form.record else None,
        density=wanted.density if form.density else None,
    )
    if form.name == "jpeg":
        held = codec(form).room_for(held)
    lost = [name.upper() for name in ("icc", "exif", "xmp") if getattr(wanted, name) and not getattr(held, name)]
    if lost:
        notes.append(f"{form.name} has no room for {' and '.join(lost)}: left out")
    return held, notes
