"""X-Restormer: Restormer's blocks in turn with attention between the pixels of overlapping windows."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.layouts.official import counts
from gir_cli.layouts.xrestormer import XrestormerConfig
from gir_cli.models import MODELS, Description
from gir_cli.models.blocks import conv3, exactly
from gir_cli.models.transposed import (
    ChannelAttention,
    Down,
    GatedFeedForward,
    Norm,
    PatchEmbed,
    Up,
)

FELT = 22  # windows; farther, random networks of the published depth change next to nothing


class RelativePosition(nn.Module):
    """What the place of a key beside a query adds to their product: a row and a column of learned vectors.

    For queries (B, window², head) -> (B, window², span²): the query's product with the vectors of its
    distance along both axes.
    """

    def __init__(self, window: int, span: int, head: int) -> None:
        super().__init__()
        self.window, self.span = window, span
        self.rel_height, self.rel_width = (nn.Parameter(torch.empty(2 * span - 1, head)) for _ in range(2))
        for table in (self.rel_height, self.rel_width):
            nn.init.uniform_(table, -(head**-0.5), head**-0.5)

    def forward(self, query: Tensor) -> Tensor:
        window, span = self.window, self.span
        query = query.unflatten(1, (window, window))
        keys, queries = (torch.arange(size, device=query.device) for size in (span, window))
        distance = keys[None] - queries[:, None] + span - 1  # (window, span), in 0 … 2 · span - 2
        down = torch.einsum("bxyd,xid->bxyi", query, self.rel_height[distance].to(query.dtype))
        across = torch.einsum("bxyd,yjd->bxyj", query, self.rel_width[distance].to(query.dtype))
        return (down[..., :, None] + across[..., None, :]).flatten(3).flatten(1, 2)


class WindowAttention(nn.Module):
    """Attention from windows to larger, overlapping ones, zeros beyond the picture (Chen et al., 2024, Fig. 4)."""

    def __init__(self, width: int, heads: int, config: XrestormerConfig) -> None:
        super().__init__()
        inner, bias = heads * config.head, config.bias == "yes"
        self.heads, self.window, self.span = heads, config.window, config.span
        self.qkv = nn.Conv2d(width, 3 * inner, 1, bias=bias)
        self.project_out = nn.Conv2d(inner, width, 1, bias=bias)
        self.rel_pos_emb = RelativePosition(config.window, config.span, config.head)

    def _windows(self, x: Tensor, side: int) -> Tensor:
        """Return the windows of `side` around each of self.window: (N · windows · heads, side², head)."""
        margin = (side - self.window) // 2
        columns = functional.unfold(x, side, stride=self.window, padding=margin)  # (N, C · side², windows)
        tokens = columns.unflatten(1, (self.heads, -1, side * side))
        return tokens.permute(0, 4, 1, 3, 2).flatten(0, 2)

    def forward(self, x: Tensor) -> Tensor:  # (N, width, H, W) -> same; H and W multiples of window
        number, _, height, width = x.shape
        query, key, value = self.qkv(x).chunk(3, dim=1)
        query = self._windows(query, self.window)
        query = query * query.shape[-1] ** -0.5
        key, value = self._windows(key, self.span), self._windows(value, self.span)
        scores = query @ key.transpose(-2, -1) + self.rel_pos_emb(query)
        out = torch.softmax(scores, dim=-1) @ value  # (N · windows · heads, window², head)
        out = out.unflatten(0, (number, -1, self.heads)).permute(0, 2, 4, 3, 1).flatten(1, 3)
        return self.project_out(functional.fold(out, (height, width), self.window, stride=self.window))


class CrossBlock(nn.Module):
    """Attention between channels and attention between pixels, each with its feed-forward, each added."""

    def __init__(self, width: int, heads: int, spatial: int, config: XrestormerConfig) -> None:
        super().__init__()
        bias = config.bias == "yes"
        self.channel_attn = ChannelAttention(width, heads, bias=bias)
        self.norm1 = Norm(width, config.norm)
        self.channel_ffn = GatedFeedForward(width, config.factor, bias=bias)
        self.norm2 = Norm(width, config.norm)
        self.spatial_attn = WindowAttention(width, spatial, config)
        self.norm3 = Norm(width, config.norm)
        self.spatial_ffn = GatedFeedForward(width, config.factor, bias=bias)
        self.norm4 = Norm(width, config.norm)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.channel_attn(self.norm1(x))
        x = x + self.channel_ffn(self.norm2(x))
        x = x + self.spatial_attn(self.norm3(x))
        return x + self.spatial_ffn(self.norm4(x))


@MODELS.add("xrestormer")
class Xrestormer(nn.Module):
    """X-Restormer: (N, C, H, W) -> (N, C, H · scale, W · scale); H and W times scale multiples of 8 windows.

    After Chen et al. (2024, Fig. 3). With a scale the picture is enlarged first, bilinearly.
    """

    Config = XrestormerConfig

    def __init__(self, config: XrestormerConfig = XrestormerConfig()) -> None:
        super().__init__()
        first, second, third, last = counts(config.blocks, length=4)
        heads = list(zip(counts(config.heads, length=4, low=1), counts(config.spatial, length=4, low=1), strict=True))
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
        self.up4_3 = Up(8 * width)
        self.reduce_chan_level3 = nn.Conv2d(8 * width, 4 * width, 1, bias=bias)
        self.decoder_level3 = self._level(4 * width, heads[2], third)
        self.up3_2 = Up(4 * width)
        self.reduce_chan_level2 = nn.Conv2d(4 * width, 2 * width, 1, bias=bias)
        self.decoder_level2 = self._level(2 * width, heads[1], second)
        self.up2_1 = Up(2 * width)
        self.decoder_level1 = self._level(2 * width, heads[0], first)
        self.refinement = self._level(2 * width, heads[0], config.refinement)
        self.output = conv3(2 * width, config.channels, bias=bias)

    def _level(self, width: int, heads: tuple[int, int], number: int) -> nn.Sequential:
        return nn.Sequential(*(CrossBlock(width, *heads, self.config) for _ in range(number)))

    @property
    def description(self) -> Description:
        scale = self.config.scale
        side = 8 * self.config.window
        multiple = side // math.gcd(side, scale)
        memory = 160 * self.config.width * scale**2
        return Description(
            self.config.channels,
            scale,
            multiple,
            minimum=multiple,
            reach=None,
            shared_reach=FELT * self.config.window // scale,
            bytes_per_pixel=memory,
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.config.scale > 1:
            x = functional.interpolate(x, scale_factor=self.config.scale, mode="bilinear", align_corners=False)
        first = self.encoder_level1(exactly(self.patch_embed.proj, x))
        second = self.encoder_level2(self.down1_2(first))
        third = self.encoder_level3(self.down2_3(second))
        up = self.up4_3(self.latent(self.down3_4(third)))
        up = self.decoder_level3(self.reduce_chan_level3(torch.cat((up, third), 1)))
        up = self.decoder_level2(self.reduce_chan_level2(torch.cat((self.up3_2(up), second), 1)))
        up = self.refinement(self.decoder_level1(torch.cat((self.up2_1(up), first), 1)))
        return x + exactly(self.output, up)
