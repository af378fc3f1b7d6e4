"""RRDBNet, the network of ESRGAN and Real-ESRGAN."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.layouts.rrdbnet import RrdbnetConfig
from gir_cli.models import MODELS, Description, bounded
from gir_cli.models.blocks import conv3, doubled, exactly, leaky, shrink_start

SHARE = 0.2  # of a residual that is added (Wang et al., 2018, Sec. 3.1)
DEPTH = 15  # convolutions in a row in one block


class DenseBlock(nn.Module):
    """Five convolutions, each of all that came before (Wang et al., 2018, Fig. 4)."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3, self.conv4 = (conv3(width + i * growth, growth) for i in range(4))
        self.conv5 = conv3(width + 4 * growth, width)

    def forward(self, x: Tensor) -> Tensor:  # (N, width, H, W) -> same
        seen = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat((seen, leaky(conv(seen))), 1)
        return x + SHARE * self.conv5(seen)


class Rrdb(nn.Module):
    """Three dense blocks inside one more residual."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return x + SHARE * self.rdb3(self.rdb2(self.rdb1(x)))


@MODELS.add("rrdbnet")
class Rrdbnet(nn.Module):
    """RRDBNet: (N, C, H, W) -> (N, C, H · scale, W · scale); H and W multiples of `unshuffle`.

    After ESRGAN (Wang et al., 2018, Fig. 3 and 4). Real-ESRGAN's networks for scales 2 and 1 fold
    pixels by 2 and 4 first and enlarge by 4 all the same (Wang et al., 2021, Sec. 3.3).
    """

    Config = RrdbnetConfig

    def __init__(self, config: RrdbnetConfig = RrdbnetConfig()) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.conv_first = conv3(config.channels * config.unshuffle**2, width)
        self.body = nn.Sequential(*(Rrdb(width, config.growth) for _ in range(config.blocks)))
        self.conv_body = conv3(width, width)
        self.ups = config.ups
        for name in self.ups:
            self.add_module(name, conv3(width, width))
        self.conv_hr = conv3(width, width)
        self.conv_last = conv3(width, config.channels)
        shrink_start(self)

    @property
    def description(self) -> Description:
        config = self.config
        reach = (DEPTH * config.blocks + 5) * config.unshuffle
        memory = 4 * config.width * (8 // config.unshuffle**2 + 3 * config.scale**2)
        return Description(
            config.channels, config.scale, config.unshuffle, reach=bounded(reach), bytes_per_pixel=memory
        )

    def forward(self, x: Tensor) -> Tensor:
        folded = functional.pixel_unshuffle(x, self.config.unshuffle)
        features = exactly(self.conv_first, folded)
        features = features + self.conv_body(self.body(features))
        for name in self.ups:
            features = leaky(getattr(self, name)(doubled(features)))
        return exactly(self.conv_last, leaky(self.conv_hr(features)))
