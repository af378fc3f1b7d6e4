"""SwinIR: groups of shifted-window transformer blocks, with the heads of its five tasks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.layouts.official import counts
from gir_cli.layouts.swinir import SwinirConfig
from gir_cli.models import MODELS, Description, windows
from gir_cli.models.blocks import conv3, doubled, exactly, leaky

MEAN = (0.4488, 0.4371, 0.4040)  # of the colours of DIV2K
APART = -100.0  # added to the products of pixels that must not see each other


class Attention(nn.Module):
    """Self-attention within windows: (N, windows, L, width) -> same, with `mask` (windows, L, L) or None."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)
        index = windows.relative_index(self.window, x.device)
        bias = self.relative_position_bias_table[index].permute(2, 0, 1)
        out = windows.attend(*parts, bias, mask)
        return self.proj(out.transpose(2, 3).flatten(3))


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """Window attention, then a feed-forward, each added to its input; every second block shifts its windows."""

    def __init__(self, config: SwinirConfig, heads: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = config.window, shift
        self.norm1 = nn.LayerNorm(config.width)
        self.attn = Attention(config.width, heads, config.window)
        self.norm2 = nn.LayerNorm(config.width)
        self.mlp = Mlp(config.width, config.hidden)

    def forward(self, x: Tensor) -> Tensor:  # (N, H, W, width) -> same
        x = x + self._attended(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def _attended(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        if not self.shift:
            return windows.joined(self.attn(windows.cut(x, self.window), None), height, width)
        mask = APART * windows.apart(height, width, self.window, self.shift, x.device)
        rolled = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        out = windows.joined(self.attn(windows.cut(rolled, self.window), mask), height, width)
        return torch.roll(out, (self.shift, self.shift), (1, 2))


def tail(width: int, kind: str) -> nn.Module:
    """Return the convolution at the end of a group: one, or three with a quarter of the channels between."""
    if kind == "1conv":
        return conv3(width, width)
    narrow, slope = width // 4, 0.2
    return nn.Sequential(
        conv3(width, narrow), nn.LeakyReLU(slope), nn.Conv2d(narrow, narrow, 1), nn.LeakyReLU(slope),
        conv3(narrow, width),
    )  # fmt: skip


class Group(nn.Module):
    """Some blocks and a convolution, added to the input (Liang et al., 2021, Fig. 2a)."""

    def __init__(self, config: SwinirConfig, depth: int, heads: int) -> None:
        super().__init__()
        half = config.window // 2 if config.shift == "yes" else 0
        made = (SwinBlock(config, heads, half if number % 2 else 0) for number in range(depth))
        self.residual_group = nn.Module()
        self.residual_group.blocks = nn.Sequential(*made)
        self.conv = tail(config.width, config.resi)

    def forward(self, x: Tensor) -> Tensor:  # (N, H, W, width) -> same
        out = self.residual_group.blocks(x)
        return x + self.conv(out.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def enlarger(features: int, scale: int) -> nn.Sequential:
    """Return convolutions and pixel shuffles that enlarge `scale` times: by 2 again and again, or by 3."""
    if scale == 3:
        return nn.Sequential(conv3(features, 9 * features), nn.PixelShuffle(3))
    pairs = ((conv3(features, 4 * features), nn.PixelShuffle(2)) for _ in range(scale.bit_length() - 1))
    return nn.Sequential(*(layer for pair in pairs for layer in pair))


@MODELS.add("swinir")
class Swinir(nn.Module):
    """SwinIR: (N, C, H, W) -> (N, C, H · scale, W · scale); H and W multiples of the window.

    After Liang et al. (2021). The upsampler 'none' adds the result to the image; 'pixelshuffle' is for
    super-resolution, 'pixelshuffledirect' its light form, 'nearest+conv' that for real photographs.
    """

    Config = SwinirConfig

    def __init__(self, config: SwinirConfig = SwinirConfig()) -> None:
        super().__init__()
        depths = counts(config.depths)
        heads = counts(config.heads, length=len(depths), low=1)
        width = config.width
        self.config = config
        self.conv_first = conv3(config.channels, width)
        self.patch_embed = nn.Module()
        self.patch_embed.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(*(Group(config, *sizes) for sizes in zip(depths, heads, strict=True)))
        self.norm = nn.LayerNorm(width)
        self.conv_after_body = tail(width, config.resi)
        self._add_head(width, config.features)
        self.apply(_start)

    def _add_head(self, width: int, features: int) -> None:
        config = self.config
        if config.upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(
                conv3(width, config.channels * config.scale**2), nn.PixelShuffle(config.scale)
            )
            return
        if config.upsampler == "none":
            features = width
        else:
            self.conv_before_upsample = nn.Sequential(conv3(width, features), nn.LeakyReLU())
        if config.upsampler == "pixelshuffle":
            self.upsample = enlarger(features, config.scale)
        if config.upsampler == "nearest+conv":
            self.conv_up1 = conv3(features, features)
            if config.scale == 4:
                self.conv_up2 = conv3(features, features)
            self.conv_hr = conv3(features, features)
        self.conv_last = conv3(features, config.channels)

    @property
    def description(self) -> Description:
        config = self.config
        memory = 64 * config.width + 16 * config.features * config.scale**2
        return Description(
            config.channels, config.scale, config.window, config.window, reach=None, bytes_per_pixel=memory
        )

    def forward(self, x: Tensor) -> Tensor:
        mean = x.new_tensor(MEAN if self.config.channels == 3 else (0.0,))[:, None, None]
        x = (x - mean) * self.config.img_range
        features = exactly(self.conv_first, x)
        tokens = self.layers(self.patch_embed.norm(features.permute(0, 2, 3, 1)))
        features = features + self.conv_after_body(self.norm(tokens).permute(0, 3, 1, 2))
        return self._headed(x, features) / self.config.img_range + mean

    def _headed(self, x: Tensor, features: Tensor) -> Tensor:
        """Return what the head of the task makes of the features."""
        kind = self.config.upsampler
        if kind == "none":
            return x + exactly(self.conv_last, features)
        if kind == "pixelshuffledirect":
            return self.upsample(features).to(x.dtype)
        features = self.conv_before_upsample(features)
        if kind == "pixelshuffle":
            return exactly(self.conv_last, self.upsample(features))
        features = leaky(self.conv_up1(doubled(features)))
        if self.config.scale == 4:
            features = leaky(self.conv_up2(doubled(features)))
        return exactly(self.conv_last, leaky(self.conv_hr(features)))


def _start(module: nn.Module) -> None:
    """Start linear layers and bias tables at small values."""
    table = getattr(module, "relative_position_bias_table", None)
    for values in (module.weight if isinstance(module, nn.Linear) else None, table):
        if values is not None and not values.is_meta:
            nn.init.trunc_normal_(values, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
