"""PromptIR: Restormer with learned prompts that tell the decoder what is wrong with a picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gir_cli.layouts.official import counts
from gir_cli.layouts.promptir import PromptirConfig
from gir_cli.models import MODELS, Description
from gir_cli.models.blocks import conv3, exactly
from gir_cli.models.restormer import MULTIPLE
from gir_cli.models.transposed import Down, PatchEmbed, TransposedBlock, Up
from gir_cli.models.whole import SHARED_REACH, Stretched, Whole


class Prompt(nn.Module):
    """A mixture of learned maps, weighted by the mean features: (N, width, H, W) -> (N, outer, H, W).

    Potlapalli et al. (2023, Sec. 3.2, Eq. 2).
    """

    def __init__(self, width: int, outer: int, length: int, side: int) -> None:
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(1, length, outer, side, side))
        self.linear_layer = nn.Linear(width, length)
        self.conv3x3 = conv3(outer, outer, bias=False)
        self.whole, self.stretched = Whole(), Stretched()

    def forward(self, x: Tensor) -> Tensor:
        shares = self.whole(torch.softmax(self.linear_layer(x.mean((-2, -1))), dim=1))
        mixed = torch.einsum("nl,lchw->nchw", shares, self.prompt_param[0].to(shares.dtype))
        return self.conv3x3(self.stretched(mixed, *x.shape[-2:]))


@MODELS.add("promptir")
class Promptir(nn.Module):
    """PromptIR: (N, C, H, W) -> same; H and W multiples of 8.

    After Potlapalli et al. (2023, Fig. 2), plumbed as the authors' code is: all three prompt blocks
    have the third level's heads, and the lowest is narrowed before it is enlarged.
    """

    Config = PromptirConfig

    def __init__(self, config: PromptirConfig = PromptirConfig()) -> None:
        super().__init__()
        first, second, third, last = counts(config.blocks, length=4)
        heads = counts(config.heads, length=4, low=1)
        sides = counts(config.sides, length=3, low=1)
        width, bias = config.width, config.bias == "yes"
        self.config = config
        self.patch_embed = PatchEmbed(config.channels, width, bias=bias)
        self.encoder_level1 = self._level(width, heads[0], first)
        self.down1_2 = Down(width)
        self.encoder_level2 = self._level(2 * width, heads[1], second)
        self.down2_3 = Down(2 * width)
        self.encoder_level3 = self._level(4 * width, heads[2], third)
        self.down3_4 = Down(4 * width)
        self.latent = self._level(8 * width, heads[3], last)
        self.prompt3 = Prompt(8 * width, config.wide, config.length, sides[2])
        self.noise_level3 = self._block(8 * width + config.wide, heads[2])
        self.reduce_noise_level3 = nn.Conv2d(8 * width + config.wide, 4 * width, 1, bias=bias)
        self.up4_3 = Up(4 * width)
        self.reduce_chan_level3 = nn.Conv2d(6 * width, 4 * width, 1, bias=bias)
        self.decoder_level3 = self._level(4 * width, heads[2], third)
        self.prompt2 = Prompt(4 * width, config.medium, config.length, sides[1])
        self.noise_level2 = self._block(4 * width + config.medium, heads[2])
        self.reduce_noise_level2 = nn.Conv2d(4 * width + config.medium, 4 * width, 1, bias=bias)
        self.up3_2 = Up(4 * width)
        self.reduce_chan_level2 = nn.Conv2d(4 * width, 2 * width, 1, bias=bias)
        self.decoder_level2 = self._level(2 * width, heads[1], second)
        self.prompt1 = Prompt(2 * width, config.narrow, config.length, sides[0])
        self.noise_level1 = self._block(2 * width + config.narrow, heads[2])
        self.reduce_noise_level1 = nn.Conv2d(2 * width + config.narrow, 2 * width, 1, bias=bias)
        self.up2_1 = Up(2 * width)
        self.decoder_level1 = self._level(2 * width, heads[0], first)
        self.refinement = self._level(2 * width, heads[0], config.refinement)
        self.output = conv3(2 * width, config.channels, bias=bias)

    def _block(self, width: int, heads: int) -> TransposedBlock:
        return TransposedBlock(width, heads, self.config.factor, self.config.norm, bias=self.config.bias == "yes")

    def _level(self, width: int, heads: int, number: int) -> nn.Sequential:
        return nn.Sequential(*(self._block(width, heads) for _ in range(number)))

    @property
    def description(self) -> Description:
        memory = 96 * self.config.width
        return Description(
            self.config.channels,
            multiple=MULTIPLE,
            minimum=MULTIPLE,
            reach=None,
            shared_reach=SHARED_REACH,
            bytes_per_pixel=memory,
        )

    def forward(self, x: Tensor) -> Tensor:
        first = self.encoder_level1(exactly(self.patch_embed.proj, x))
        second = self.encoder_level2(self.down1_2(first))
        third = self.encoder_level3(self.down2_3(second))
        low = self.latent(self.down3_4(third))
        low = self.reduce_noise_level3(self.noise_level3(torch.cat((low, self.prompt3(low)), 1)))
        up = self.decoder_level3(self.reduce_chan_level3(torch.cat((self.up4_3(low), third), 1)))
        up = self.reduce_noise_level2(self.noise_level2(torch.cat((up, self.prompt2(up)), 1)))
        up = self.decoder_level2(self.reduce_chan_level2(torch.cat((self.up3_2(up), second), 1)))
        up = self.reduce_noise_level1(self.noise_level1(torch.cat((up, self.prompt1(up)), 1)))
        up = self.decoder_level1(torch.cat((self.up2_1(up), first), 1))
        return x + exactly(self.output, self.refinement(up))
