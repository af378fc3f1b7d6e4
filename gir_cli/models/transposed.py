"""Restormer's blocks, which PromptIR and X-Restormer are built of too: attention between channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.models.blocks import ChannelNorm, ChannelScale, conv3
from gir_cli.models.whole import Whole


class Norm(nn.Module):
    """Normalisation over the channels of each pixel, `kind` 'with-bias' or 'bias-free'."""

    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        self.body = ChannelNorm(width) if kind == "with-bias" else ChannelScale(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class ChannelAttention(nn.Module):
    """Transposed attention: each channel is a token, its pixels the vector (Zamir et al., 2022, Eq. 1).

    Queries and keys are normalised over the pixels, so that their products are cosines.
    """

    def __init__(self, width: int, heads: int, *, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=bias)
        self.qkv_dwconv = nn.Conv2d(3 * width, 3 * width, 3, padding=1, groups=3 * width, bias=bias)
        self.project_out = nn.Conv2d(width, width, 1, bias=bias)
        self.whole = Whole()

    def forward(self, x: Tensor) -> Tensor:  # (N, width, H, W) -> same
        number, width, height, columns = x.shape
        tokens = self.qkv_dwconv(self.qkv(x)).reshape(number, 3, self.heads, width // self.heads, height * columns)
        query, key, value = tokens.unbind(1)
        query, key = functional.normalize(query, dim=-1), functional.normalize(key, dim=-1)
        shares = torch.softmax(query @ key.transpose(-2, -1) * self.temperature, dim=-1)
        return self.project_out((self.whole(shares) @ value).reshape(x.shape))


class GatedFeedForward(nn.Module):
    """One half of the channels gates the other (Zamir et al., 2022, Eq. 2)."""

    def __init__(self, width: int, factor: float, *, bias: bool) -> None:
        super().__init__()
        hidden = int(width * factor)
        self.project_in = nn.Conv2d(width, 2 * hidden, 1, bias=bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project_out = nn.Conv2d(hidden, width, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, width, H, W) -> same
        gate, value = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(functional.gelu(gate) * value)


class TransposedBlock(nn.Module):
    """Attention between channels, then a gated feed-forward, each added to its input."""

    def __init__(self, width: int, heads: int, factor: float, norm: str, *, bias: bool) -> None:
        super().__init__()
        self.norm1 = Norm(width, norm)
        self.attn = ChannelAttention(width, heads, bias=bias)
        self.norm2 = Norm(width, norm)
        self.ffn = GatedFeedForward(width, factor, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class PatchEmbed(nn.Module):
    """The first convolution, from pixels to features."""

    def __init__(self, channels: int, width: int, *, bias: bool) -> None:
        super().__init__()
        self.proj = conv3(channels, width, bias=bias)


class Down(nn.Module):
    """Half the height and width, twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv3(width, width // 2, bias=False), nn.PixelUnshuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Up(nn.Module):
    """Twice the height and width, half the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv3(width, 2 * width, bias=False), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)
