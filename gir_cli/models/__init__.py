"""Backbones: networks that map a batch (N, C, H, W) to a batch of the same shape times `scale`.

Networks never pad; `Model` in weights.py pads, runs and crops from the description that a
network class gives of itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from gir_cli.catalog import Catalog


@dataclass(frozen=True)
class Description:
    """What a caller must know about a network to run it on a picture.

    `multiple` divides height and width of what it takes; `reach` is how many pixels around a
    point can influence it, None when the whole picture does; `bytes_per_pixel` is a measured
    estimate of the memory a forward pass takes in fp32, which the tile size is chosen by.
    """

    channels: int = 3
    scale: int = 1
    multiple: int = 1
    minimum: int = 1
    reach: int | None = 64
    half_safe: bool = True
    bytes_per_pixel: int = 1000


MODELS: Catalog[type[nn.Module]] = Catalog("model", __name__)
