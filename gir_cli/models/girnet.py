"""The default backbone: a residual U-Net of dense convolutions on pixel-unshuffled input."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.layouts.girnet import GirnetConfig
from gir_cli.models import MODELS, Description
from gir_cli.models.blocks import ResidualBlock
from gir_cli.models.glance import Glance, Toner, toned


class Unet(nn.Module):
    """Residual U-Net of dense convolutions: pixel-unshuffled pictures (N, inputs, h, w) to a residual (N, 3, 2h, 2w).

    Dense 3×3 convolutions are the fast shape on CPUs with AMX and on GPUs alike, and unshuffling by 2 spends
    them where most pixels are shared. The last convolution runs in fp32 under autocast: in bf16 it costs 0.01
    to 0.15 dB. A new one gives 0.
    """

    def __init__(self, inputs: int, widths: list[int], blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(self._blocks(width, blocks) for width in widths)
        self.up_blocks = nn.ModuleList(self._blocks(width, blocks) for width in widths[:-1])
        steps = list(itertools.pairwise(widths))
        self.downs = nn.ModuleList(nn.Conv2d(wide, wider, 2, stride=2) for wide, wider in steps)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(wider, wide, 2, stride=2) for wide, wider in steps)
        self.head = nn.Conv2d(widths[0], 12, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @staticmethod
    def _blocks(width: int, count: int) -> nn.Sequential:
        return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        return self.up(*self.down(x))

    def down(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the features that the last level starts from, and what the levels above keep."""
        features = self.stem(functional.pixel_unshuffle(x, 2))
        kept = []
        for blocks, down in zip(self.down_blocks, self.downs, strict=False):
            features = blocks(features)
            kept.append(features)
            features = down(features)
        return features, kept

    def up(self, features: Tensor, kept: list[Tensor]) -> Tensor:
        """Return the residual from what `down` gave; `kept` is used up."""
        features = self.down_blocks[-1](features)
        for blocks, up in zip(reversed(self.up_blocks), reversed(self.ups), strict=True):
            features = blocks(up(features) + kept.pop())
        with torch.autocast(features.device.type, enabled=False):
            return functional.pixel_shuffle(self.head(features.to(self.head.weight.dtype)), 2)


@MODELS.add("girnet")
class Girnet(Unet):
    """The U-Net's residual added to its input: (N, 3, H, W) -> same; H and W multiples of 2 ** levels.

    With a finisher, a second U-Net, which sees the picture before and after the first, adds what it finds amiss;
    it can be trained alone, when the rest is frozen. With a glance at the whole picture, the picture is toned
    last: what haze and darkness did to a scene came before blur, noise and compression. A toner tones it once
    more; it gives nothing to the network, so that it can be trained alone, too. Additions are done in fp32. A
    new network is the identity.
    """

    Config = GirnetConfig
    #: Kernels that touch the picture.
    outer = (
        "stem.weight",
        "head.weight",
        "finisher.stem.weight",
        "finisher.head.weight",
        "glance.tone.weight",
        "glance.trust.weight",
        "toner.tone.weight",
    )

    def __init__(self, config: GirnetConfig = GirnetConfig()) -> None:
        widths = config.widths
        super().__init__(12, widths, config.blocks)
        self.config = config
        self.finisher = Unet(24, config.widths_from(config.finisher), config.blocks) if config.finisher else None
        self.glance = Glance(widths[-1], config.glance, bool(config.trust)) if config.glance else None
        self.toner = Toner(widths[-1], config.toner, bool(config.extremes)) if config.toner else None

    @property
    def description(self) -> Description:
        levels, blocks, unets = self.config.levels, self.config.blocks, 1 + bool(self.config.finisher)
        # Two pixels of the level for each block's two convolutions, both ways; one level at the bottom.
        cells = sum(2 * blocks * 2 ** (level + 1) * (2 if level < levels - 1 else 1) for level in range(levels))
        reach = unets * (cells + 2 * 2 + 2**levels)
        return Description(
            multiple=2**levels,
            minimum=2**levels,
            reach=reach,
            shared_reach=reach if self.glance or self.toner else None,
            bytes_per_pixel=10 * self.config.width
            + (10 * self.config.finisher + 50 if self.config.finisher else 0)
            + 150 * bool(self.glance)
            + 100 * bool(self.toner),
        )

    def forward(self, x: Tensor) -> Tensor:
        features, kept = self.down(x)
        last = self.toner(features, x) if self.toner else None
        tone = trust = None
        if self.glance:
            hints, tone, trust = self.glance(features, x)
            features = features + hints
        residual = self.up(features, kept)
        restored = x + (residual if trust is None else trust * residual)
        if self.finisher:
            restored = restored + self.finisher(torch.cat((restored, x), 1))
        with torch.autocast(x.device.type, enabled=False):
            for curve in (tone, last):
                restored = restored if curve is None else toned(restored, curve)
        return restored
