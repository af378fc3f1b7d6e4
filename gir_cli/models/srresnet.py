"""SRResNet as super-resolution toolboxes train it: residual blocks without normalisation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.models import MODELS, Description, bounded
from gir_cli.models.blocks import conv3, exactly, leaky, shrink_start
from gir_cli.models.official import Official, Shapes, blocks
from gir_cli.params import Checked, Param

SLOPE = 0.1  # of the leaky ReLUs outside the blocks


@dataclass(frozen=True)
class SrresnetConfig(Checked):
    """Sizes of an SRResNet."""

    width: Annotated[int, Param("channels inside", 1, 1024)] = 64
    blocks: Annotated[int, Param("residual blocks", 1, 200)] = 16
    scale: Annotated[int, Param("how many times larger the result is: 1, 2, 3 or 4", 1, 4)] = 1
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3


class PlainBlock(nn.Module):
    """Two 3×3 convolutions with a ReLU between, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = conv3(width, width)
        self.conv2 = conv3(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(torch.relu(self.conv1(x)))


OTHERS = {"recon_trunk.": "body.", "HRconv.": "conv_hr."}  # names of the same network in another toolbox


def _renamed(tensors: dict[str, Any]) -> dict[str, Any]:
    """Turn the other toolbox's names into this network's."""
    for before, after in OTHERS.items():
        tensors = {re.sub(f"^{re.escape(before)}", after, name): tensor for name, tensor in tensors.items()}
    return tensors


def _sizes(shapes: Shapes) -> dict[str, Any]:
    width, channels = shapes["conv_first.weight"][:2]
    if "upconv2.weight" in shapes:
        scale = 4
    else:
        rows = shapes.get("upconv1.weight", (width,))[0]
        scale = {4: 2, 9: 3}.get(rows // width, 1)
    return {"width": width, "blocks": blocks(shapes, "body."), "scale": scale, "channels": channels}


@MODELS.add("srresnet")
class Srresnet(nn.Module):
    """MSRResNet: (N, C, H, W) -> (N, C, H · scale, W · scale).

    After Ledig et al. (2017), without batch normalisation and without the long skip; the result is
    added to the bilinearly enlarged image.
    """

    Config = SrresnetConfig
    official = Official(
        keys=("body.0.conv1.weight", "conv_first.weight", "conv_hr.weight", "conv_last.weight"),
        absent=("conv_after_body.weight", "conv_body.weight"),
        renamed=_renamed,
        sizes=_sizes,
        license="Apache-2.0 (BasicSR)",
    )

    def __init__(self, config: SrresnetConfig = SrresnetConfig()) -> None:
        super().__init__()
        width, scale = config.width, config.scale
        self.config = config
        self.conv_first = conv3(config.channels, width)
        self.body = nn.Sequential(*(PlainBlock(width) for _ in range(config.blocks)))
        if scale in (2, 3):
            self.upconv1 = conv3(width, width * scale**2)
        elif scale == 4:
            self.upconv1 = conv3(width, width * 4)
            self.upconv2 = conv3(width, width * 4)
        self.conv_hr = conv3(width, width)
        self.conv_last = conv3(width, config.channels)
        shrink_start(self)

    @property
    def description(self) -> Description:
        width, blocks, scale, channels = (getattr(self.config, name) for name in self.config.__dataclass_fields__)
        memory = 4 * width * (4 + 3 * scale**2)
        return Description(channels, scale, reach=bounded(2 * blocks + 5), bytes_per_pixel=memory)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.config.scale
        features = self.body(leaky(exactly(self.conv_first, x), SLOPE))
        if scale in (2, 3):
            features = leaky(functional.pixel_shuffle(self.upconv1(features), scale), SLOPE)
        elif scale == 4:
            features = leaky(functional.pixel_shuffle(self.upconv1(features), 2), SLOPE)
            features = leaky(functional.pixel_shuffle(self.upconv2(features), 2), SLOPE)
        residual = exactly(self.conv_last, leaky(self.conv_hr(features), SLOPE))
        if scale > 1:
            x = functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
        return x + residual
