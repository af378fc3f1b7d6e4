"""Backbones: networks that map a batch (N, C, H, W) to a batch of the same shape times `scale`.

Networks never pad; `Model` in weights.py pads, runs and crops from the description that a
network class gives of itself. A class is made from its configuration, which layouts/ holds with
what is known of its tensors; where others publish weights, the parameters have the official names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from gir_cli.catalog import Catalog

FARTHEST = 128  # pixels; a reach beyond it is left to the blending of tiles


@dataclass(frozen=True)
class Description:
    """What a caller must know about a network to run it on a picture.

    `channels` is what it takes. `multiple` divides height and width of what it takes, which is
    extended by `padding` at right and bottom, or, where it must be `square`, on all sides. `reach`
    is how many pixels around a point can influence it, beside what tiles share; None where that is
    the whole picture or more than tiles could overlap. `shared_reach` is how many still do where tiles
    share what is taken of the whole picture (models/whole.py), None where nothing is; with `means_alone`
    that goes by means over large areas, so that the picture scaled down shows it. `noise_level`
    says that it takes the noise's standard deviation as a second argument. `bytes_per_pixel` is an
    estimate of the memory a forward pass takes in fp32 for a pixel of the input, which the tile size
    is chosen by.
    """

    channels: int = 3
    scale: int = 1
    multiple: int = 1
    minimum: int = 1
    padding: Literal["reflect", "replicate", "zeros"] = "reflect"
    square: bool = False
    reach: int | None = 64
    shared_reach: int | None = None
    means_alone: bool = False
    noise_level: bool = False
    half_safe: bool = True
    bytes_per_pixel: int = 1000


def bounded(reach: int) -> int | None:
    """Return `reach` where tiles can overlap by so much, else None."""
    return reach if reach <= FARTHEST else None


MODELS: Catalog[type[nn.Module]] = Catalog("model", __name__)
