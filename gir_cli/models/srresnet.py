"""SRResNet as super-resolution toolboxes train it: residual blocks without normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.layouts.srresnet import SrresnetConfig
from gir_cli.models import MODELS, Description, bounded
from gir_cli.models.blocks import conv3, exactly, leaky, shrink_start

SLOPE = 0.1  # of the leaky ReLUs outside the blocks


class PlainBlock(nn.Module):
    """Two 3×3 convolutions with a ReLU between, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = conv3(width, width)
        self.conv2 = conv3(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(torch.relu(self.conv1(x)))


@MODELS.add("srresnet")
class Srresnet(nn.Module):
    """MSRResNet: (N, C, H, W) -> (N, C, H · scale, W · scale).

    After Ledig et al. (2017), without batch normalisation and without the long skip; the result is
    added to the bilinearly enlarged image.
    """

    Config = SrresnetConfig

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
