"""The default backbone: a residual U-Net of dense convolutions on pixel-unshuffled input."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.layouts.girnet import GirnetConfig
from gir_cli.models import MODELS, Description
from gir_cli.models.blocks import ResidualBlock
from gir_cli.models.ends import ends
from gir_cli.models.gate import CELL, REACH, Gate, competition, shares
from gir_cli.models.toner import Toner, toned


class UNet(nn.Module):
    """Residual U-Net: (N, 3, H, W) -> what is to be added to it; H and W multiples of 2 ** levels. A new one's is 0."""

    def __init__(self, config: GirnetConfig) -> None:
        super().__init__()
        widths = config.widths
        self.ends = config.ends
        self.stem = nn.Conv2d(12 + 4 * config.ends, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(map(self._blocks, widths, config.depths))
        self.up_blocks = nn.ModuleList(self._blocks(width, config.blocks) for width in widths[:-1])
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
        seen = torch.cat((x, ends(x)), 1) if self.ends else x
        features = self.stem(functional.pixel_unshuffle(seen, 2))
        skips = []
        for blocks, down in zip(self.down_blocks, self.downs, strict=False):
            features = blocks(features)
            skips.append(features)
            features = down(features)
        features = self.down_blocks[-1](features)
        for blocks, up in zip(reversed(self.up_blocks), reversed(self.ups), strict=True):
            features = blocks(up(features) + skips.pop())
        with torch.autocast(x.device.type, enabled=False):
            return functional.pixel_shuffle(self.head(features.to(self.head.weight.dtype)), 2)


@MODELS.add("girnet")
class Girnet(UNet):
    """Restores (N, 3, H, W) by a U-Net, or by several; H and W multiples of 2 ** levels, of 8 for several.

    Dense 3×3 convolutions are the fast shape on CPUs with AMX and on GPUs alike, and unshuffling by 2 spends
    them where most pixels are shared. The last convolution and the addition of the input run in fp32 under
    autocast: in bf16 they cost 0.01 to 0.15 dB. Several U-Nets, its own and the `others`, are experts, and a gate
    says which is to be believed where. With a toner, which looks at the whole picture, the result is
    toned: what haze and darkness did to a scene came before blur, noise and compression. It takes nothing from
    the rest of the network and gives nothing to it, which stays local, and can be trained alone, when the rest
    is frozen. A new network is the identity.
    """

    Config = GirnetConfig
    #: Kernels that touch the picture.
    outer = (
        "*stem.weight",
        "gate.weigh.weight",
        "gate.choice.weight",
        "toner.look.weight",
        "toner.tone.weight",
        "*head.weight",
    )

    def __init__(self, config: GirnetConfig = GirnetConfig()) -> None:
        super().__init__(config)
        self.config = config
        self.others = nn.ModuleList(UNet(config) for _ in range(config.experts - 1))
        self.gate = Gate(config.experts) if self.others else None
        self.toner = Toner(config.toner, config.histogram, config.detail) if config.toner else None

    @property
    def description(self) -> Description:
        levels, depths = self.config.levels, self.config.depths
        # Two pixels of the level for each block's two convolutions, down and, but for the last level, up again.
        passed = [*range(levels), *range(levels - 1)]
        cells = sum(4 * depths[level] * 2**level for level in passed)
        # A gate looks at what U-Nets made of what lies up to their own reach beyond its own.
        reach = cells + 2 * 2 + 2**levels + (REACH if self.gate else 0)
        multiple = math.lcm(2**levels, CELL if self.gate else 1)
        return Description(
            multiple=multiple,
            minimum=multiple,
            reach=reach,
            shared_reach=reach if self.toner else None,
            means_alone=True,  # and counts, which tiles are given for themselves
            bytes_per_pixel=9 * self.config.width,  # the most that was measured in fp32, with three experts; alone 7
        )

    def forward(self, x: Tensor, truth: Tensor | None = None) -> Tensor:
        """Return the restored `x`; or, given the `truth` (N, 3, H, W), what its gate is to make small by training."""
        residuals = [super().forward(x), *(other(x) for other in self.others)]
        with torch.autocast(x.device.type, enabled=False):
            if truth is not None:
                return competition(self.gate(x, residuals), x, residuals, truth)
            restored = x + self._mixed(x, residuals)
            return toned(restored, self.toner(x)) if self.toner else restored

    def _mixed(self, x: Tensor, residuals: list[Tensor]) -> Tensor:
        if not self.gate:
            return residuals[0]
        parts = shares(self.gate(x, residuals)).split(1, 1)
        return sum(part * residual for part, residual in zip(parts[:-1], residuals, strict=True))
