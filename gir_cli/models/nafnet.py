"""NAFNet: a U-Net of blocks without activation functions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gir_cli.layouts.nafnet import NafnetConfig
from gir_cli.layouts.official import counts
from gir_cli.models import MODELS, Description
from gir_cli.models.blocks import ChannelNorm, conv3, exactly
from gir_cli.models.whole import SHARED_REACH, Whole

EPS = 1e-6  # of the normalisation


def gate(x: Tensor) -> Tensor:
    """Return the product of the two halves of the channels (Chen et al., 2022, Eq. 6)."""
    first, second = x.chunk(2, dim=1)
    return first * second


def sliding_mean(x: Tensor, side: int, axis: int) -> Tensor:
    """Return the mean over each run of `side` values along `axis`, the outermost repeated to keep the size."""
    size = x.shape[axis]
    side = torch.sym_min(side, size)
    sums = x.float().cumsum(axis)
    sums = torch.cat((torch.zeros_like(sums.narrow(axis, 0, 1)), sums), axis)
    starts = (torch.arange(size, device=x.device) - (side - 1) // 2).clamp(0, size - side)
    return (sums.index_select(axis, starts + side) - sums.index_select(axis, starts)) / side


class Pool(nn.Module):
    """Mean of each channel over the picture, or around each pixel: (N, C, H, W) -> (N, C, 1, 1) or same.

    The local mean is taken over `side` pixels, where the picture is larger than that: Test-time Local
    Converter (Chu et al., 2022, Sec. 3.3). `side` 0 always takes the whole; a tile's local means are its own.
    """

    def __init__(self, side: int = 0) -> None:
        super().__init__()
        self.side = side
        if not side:
            self.whole = Whole()

    def forward(self, x: Tensor) -> Tensor:
        # An exported network is for large and small pictures alike; the local mean of a small one is that of the whole.
        known = not torch.compiler.is_compiling()
        if not self.side:
            return self.whole(x.mean((-2, -1), keepdim=True))
        if known and self.side >= max(x.shape[-2:]):
            return x.mean((-2, -1), keepdim=True)
        rows = x.permute(0, 2, 3, 1)  # channels last, for sums and look-ups of whole pixels
        return sliding_mean(sliding_mean(rows, self.side, 2), self.side, 1).permute(0, 3, 1, 2).to(x.dtype)


class NafBlock(nn.Module):
    """Two gated residual halves, the first with channel attention (Chen et al., 2022, Fig. 3c).

    Both residuals start at zero, so a new block is the identity.
    """

    def __init__(self, width: int, config: NafnetConfig, side: int) -> None:
        super().__init__()
        wide, feed = width * config.spread, width * config.feed
        self.norm1 = ChannelNorm(width, EPS)
        self.conv1 = nn.Conv2d(width, wide, 1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.sca = nn.Sequential(Pool(side), nn.Conv2d(wide // 2, wide // 2, 1))
        self.conv3 = nn.Conv2d(wide // 2, width, 1)
        self.norm2 = ChannelNorm(width, EPS)
        self.conv4 = nn.Conv2d(width, feed, 1)
        self.conv5 = nn.Conv2d(feed // 2, width, 1)
        self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:  # (N, width, H, W) -> same
        mixed = gate(self.conv2(self.conv1(self.norm1(x))))
        x = x + self.beta * self.conv3(mixed * self.sca(mixed))
        return x + self.gamma * self.conv5(gate(self.conv4(self.norm2(x))))


@MODELS.add("nafnet")
class Nafnet(nn.Module):
    """NAFNet: (N, C, H, W) -> same; H and W multiples of 2 ** levels, zeros beyond the picture.

    After Chen et al. (2022): additive skips, result added to the image.
    """

    Config = NafnetConfig

    def __init__(self, config: NafnetConfig = NafnetConfig()) -> None:
        super().__init__()
        encoder = counts(config.encoder)
        levels = len(encoder)
        decoder = counts(config.decoder, length=levels)
        widths = [config.width << level for level in range(levels + 1)]
        self.config = config
        self.intro = conv3(config.channels, config.width)
        self.encoders = nn.ModuleList(self._level(level, number) for level, number in enumerate(encoder))
        self.downs = nn.ModuleList(nn.Conv2d(width, 2 * width, 2, stride=2) for width in widths[:-1])
        self.middle_blks = self._level(levels, config.middle)
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, 2 * width, 1, bias=False), nn.PixelShuffle(2)) for width in widths[:0:-1]
        )
        self.decoders = nn.ModuleList(self._level(levels - 1 - i, number) for i, number in enumerate(decoder))
        self.ending = conv3(config.width, config.channels)

    def _level(self, level: int, number: int) -> nn.Sequential:
        side = self.config.local * 3 // 2 >> level
        return nn.Sequential(*(NafBlock(self.config.width << level, self.config, side) for _ in range(number)))

    @property
    def description(self) -> Description:
        multiple = 2 ** len(self.downs)
        return Description(
            self.config.channels,
            multiple=multiple,
            minimum=multiple,
            padding="zeros",
            reach=None,
            shared_reach=None if self.config.local else SHARED_REACH,
            bytes_per_pixel=44 * self.config.width,
        )

    def forward(self, x: Tensor) -> Tensor:
        features = exactly(self.intro, x)
        skips = []
        for blocks_, down in zip(self.encoders, self.downs, strict=True):
            features = blocks_(features)
            skips.append(features)
            features = down(features)
        features = self.middle_blks(features)
        for up, blocks_ in zip(self.ups, self.decoders, strict=True):
            features = blocks_(up(features) + skips.pop())
        return x + exactly(self.ending, features)
