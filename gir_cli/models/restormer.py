"""Restormer: a U-Net of transformer blocks whose attention runs between channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gir_cli.layouts.official import counts
from gir_cli.layouts.restormer import RestormerConfig
from gir_cli.models import MODELS, Description
from gir_cli.models.blocks import conv3, exactly
from gir_cli.models.transposed import Down, PatchEmbed, TransposedBlock, Up
from gir_cli.models.whole import SHARED_REACH

MULTIPLE = 8  # three halvings


@MODELS.add("restormer")
class Restormer(nn.Module):
    """Restormer: (N, C, H, W) -> same; H and W multiples of 8.

    After Zamir et al. (2022, Fig. 2). With ending 'dual-pixel', (N, 6, H, W), the left and the right
    view, becomes (N, 3, H, W).
    """

    Config = RestormerConfig

    def __init__(self, config: RestormerConfig = RestormerConfig()) -> None:
        super().__init__()
        first, second, third, last = counts(config.blocks, length=4)
        heads = counts(config.heads, length=4, low=1)
        width, bias = config.width, config.bias == "yes"
        dual = config.ending == "dual-pixel"
        self.config = config
        self.patch_embed = PatchEmbed(config.channels, width, bias=bias)
        self.encoder_level1 = self._level(width, heads[0], first)
        self.down1_2 = Down(width)
        self.encoder_level2 = self._level(2 * width, heads[1], second)
        self.down2_3 = Down(2 * width)
        self.encoder_level3 = self._level(4 * width, heads[2], third)
        self.down3_4 = Down(4 * width)
        self.latent = self._level(8 * width, heads[3], last)
        self.up4_3 = Up(8 * width)
        self.reduce_chan_level3 = nn.Conv2d(8 * width, 4 * width, 1, bias=bias)
        self.decoder_level3 = self._level(4 * width, heads[2], third)
        self.up3_2 = Up(4 * width)
        self.reduce_chan_level2 = nn.Conv2d(4 * width, 2 * width, 1, bias=bias)
        self.decoder_level2 = self._level(2 * width, heads[1], second)
        self.up2_1 = Up(2 * width)
        self.decoder_level1 = self._level(2 * width, heads[0], first)
        self.refinement = self._level(2 * width, heads[0], config.refinement)
        if dual:
            self.skip_conv = nn.Conv2d(width, 2 * width, 1, bias=bias)
        self.output = conv3(2 * width, config.channels // 2 if dual else config.channels, bias=bias)

    def _level(self, width: int, heads: int, number: int) -> nn.Sequential:
        config = self.config
        made = (
            TransposedBlock(width, heads, config.factor, config.norm, bias=config.bias == "yes") for _ in range(number)
        )
        return nn.Sequential(*made)

    @property
    def description(self) -> Description:
        memory = 80 * self.config.width
        return Description(
            self.config.channels,
            multiple=MULTIPLE,
            minimum=MULTIPLE,
            reach=None,
            shared_reach=SHARED_REACH,
            bytes_per_pixel=memory,
        )

    def forward(self, x: Tensor) -> Tensor:
        start = exactly(self.patch_embed.proj, x)
        first = self.encoder_level1(start)
        second = self.encoder_level2(self.down1_2(first))
        third = self.encoder_level3(self.down2_3(second))
        up = self.up4_3(self.latent(self.down3_4(third)))
        up = self.decoder_level3(self.reduce_chan_level3(torch.cat((up, third), 1)))
        up = self.decoder_level2(self.reduce_chan_level2(torch.cat((self.up3_2(up), second), 1)))
        features = self.refinement(self.decoder_level1(torch.cat((self.up2_1(up), first), 1)))
        if self.config.ending == "dual-pixel":
            return exactly(self.output, features + self.skip_conv(start))
        residual = exactly(self.output, features)
        return residual if self.config.ending == "direct" else x + residual
