"""What codecs read and write: the file's own numbers, before they become an Image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gir_cli.image.metadata import Metadata, orientation

NOTHING = Metadata()


@dataclass(frozen=True)
class Samples:
    """A picture as its file has it.

    `values` is (H, W, C), C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA; uint8, uint16 or float32.
    `white` is the value that means 1.0. `turned` is the orientation (1 to 8, as in EXIF) still to be
    applied. `notes` are sentences for the user about what reading had to change.
    """

    values: np.ndarray
    white: float
    metadata: Metadata = field(default_factory=Metadata)
    turned: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """How a codec writes the format called `form`.

    `quality` is 1 to 100 for lossy formats, `compress` 0 to 9 or None for the usual effort.
    """

    form: str
    quality: int = 100
    compress: int | None = None
    metadata: Metadata = field(default_factory=Metadata)


def whole(values: np.ndarray, metadata: Metadata = NOTHING, notes: tuple[str, ...] = ()) -> Samples:
    """Return samples whose white is their type's largest value, turned as their EXIF says."""
    return Samples(values, white_of(values), metadata, orientation(metadata.exif), notes)


def white_of(values: np.ndarray) -> float:
    """Return what is white in samples that use all of their type."""
    return 1.0 if values.dtype == np.float32 else float(np.iinfo(values.dtype).max)
