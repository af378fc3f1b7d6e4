"""Uformer: a U-Net of window attention whose feed-forward halves look at neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.layouts.official import counts
from gir_cli.layouts.uformer import LEVELS, PLACES, UformerConfig
from gir_cli.models import MODELS, Description, windows
from gir_cli.models.blocks import conv3, exactly

APART = -100.0  # added to the products of pixels that must not see each other


class Projections(nn.Module):
    """The queries of tokens, and their keys and values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(width, width)
        self.to_kv = nn.Linear(width, 2 * width)


class Attention(nn.Module):
    """Self-attention within windows: (N, windows, L, width) -> same, with `mask` (windows, L, L) or None."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = Projections(width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        query = self.qkv.to_q(x).unflatten(-1, (self.heads, -1)).transpose(2, 3)
        key, value = self.qkv.to_kv(x).unflatten(-1, (2, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)
        bias = self.relative_position_bias_table[windows.relative_index(self.window, x.device)].permute(2, 0, 1)
        out = windows.attend(query, key, value, bias, mask)
        return self.proj(out.transpose(2, 3).flatten(3))


class LocalFeedForward(nn.Module):
    """Two linear layers with a depthwise convolution between (Wang et al., 2022, Fig. 3b)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Sequential(nn.Linear(width, hidden), nn.GELU())
        self.dwconv = nn.Sequential(nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden), nn.GELU())
        self.linear2 = nn.Sequential(nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:  # (N, H, W, width) -> same
        hidden = self.dwconv(self.linear1(x).permute(0, 3, 1, 2))
        return self.linear2(hidden.permute(0, 2, 3, 1))


class Modulator(nn.Module):
    """Learned offsets of the pixels of a window (Wang et al., 2022, Sec. 3.3)."""

    def __init__(self, cells: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(cells, width))


class LewinBlock(nn.Module):
    """Window attention, then a local feed-forward, each added to its input."""

    def __init__(self, width: int, heads: int, config: UformerConfig, *, shift: int, modulated: bool) -> None:
        super().__init__()
        self.window, self.shift = config.window, shift
        self.modulator = Modulator(config.window**2, width) if modulated else None
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, config.window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = LocalFeedForward(width, width * config.expand)

    def forward(self, x: Tensor) -> Tensor:  # (N, H, W, width) -> same
        x = x + self._attended(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def _attended(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        mask = None
        if self.shift:
            mask = APART * windows.apart(height, width, self.window, self.shift, x.device)
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        cells = windows.cut(x, self.window)
        if self.modulator is not None:
            cells = cells + self.modulator.weight
        out = windows.joined(self.attn(cells, mask), height, width)
        return torch.roll(out, (self.shift, self.shift), (1, 2)) if self.shift else out


class Level(nn.Module):
    """The blocks of one level."""

    def __init__(self, made: list[LewinBlock]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*made)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class Resampling(nn.Module):
    """A convolution under the name that the official files give it: (N, H, W, C) -> (N, H', W', C')."""

    def __init__(self, name: str, layer: nn.Module) -> None:
        super().__init__()
        self.add_module(name, nn.Sequential(layer))
        self.inner = name

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self.inner)(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@MODELS.add("uformer")
class Uformer(nn.Module):
    """Uformer: (N, C, S, S) -> same; S a multiple of 16 windows, the picture amid zeros. After Wang et al. (2022)."""

    Config = UformerConfig

    def __init__(self, config: UformerConfig = UformerConfig()) -> None:
        super().__init__()
        width = config.width
        depths, heads = counts(config.depths, length=9), counts(config.heads, length=9, low=1)
        self.config = config
        self.input_proj, self.output_proj = nn.Module(), nn.Module()
        self.input_proj.proj = nn.Sequential(conv3(config.channels, width), nn.LeakyReLU())
        self.output_proj.proj = nn.Sequential(conv3(2 * width, config.channels))
        for number, place in enumerate(PLACES):
            level = min(number, 2 * LEVELS - number)
            wide = (width << level) * (2 if number > LEVELS else 1)
            self.add_module(place, self._level(wide, heads[number], depths[number], level, number > LEVELS))
        for level in range(LEVELS):
            inner, deep = width << level, width << LEVELS - level
            up = nn.ConvTranspose2d(deep * (2 if level else 1), deep // 2, 2, stride=2)
            self.add_module(f"dowsample_{level}", Resampling("conv", nn.Conv2d(inner, 2 * inner, 4, 2, 1)))
            self.add_module(f"upsample_{level}", Resampling("deconv", up))

    def _level(self, width: int, heads: int, depth: int, level: int, up: bool) -> Level:
        """Return the blocks of a level; windows as large as the picture it was made for are never shifted."""
        config = self.config
        shift = config.window // 2 if config.side >> level > config.window else 0
        modulated = up and config.modulator == 1
        return Level(
            [
                LewinBlock(width, heads, config, shift=shift if number % 2 else 0, modulated=modulated)
                for number in range(depth)
            ]
        )

    @property
    def description(self) -> Description:
        multiple = self.config.window << LEVELS
        return Description(
            self.config.channels,
            multiple=multiple,
            minimum=multiple,
            padding="zeros",
            square=True,
            reach=None,
            bytes_per_pixel=112 * self.config.width,
        )

    def forward(self, x: Tensor) -> Tensor:
        start = functional.leaky_relu(exactly(self.input_proj.proj[0], x))
        features, skips = start.permute(0, 2, 3, 1), []
        for level in range(LEVELS):
            features = getattr(self, f"encoderlayer_{level}")(features)
            skips.append(features)
            features = getattr(self, f"dowsample_{level}")(features)
        features = self.conv(features)
        for level in range(LEVELS):
            features = torch.cat((getattr(self, f"upsample_{level}")(features), skips.pop()), -1)
            features = getattr(self, f"decoderlayer_{level}")(features)
        return x + exactly(self.output_proj.proj[0], features.permute(0, 3, 1, 2))
