"""SCUNet: a U-Net whose blocks give half of the channels to convolutions, half to windows of attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gir_cli.layouts.official import counts
from gir_cli.layouts.scunet import HEAD, WINDOW, ScunetConfig
from gir_cli.models import MODELS, Description, windows
from gir_cli.models.blocks import conv3, exactly

MULTIPLE = 64  # three halvings of a picture of windows


class WindowAttention(nn.Module):
    """Attention within windows, shifted by half a window or not: (N, H, W, width) -> same."""

    def __init__(self, width: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = width // HEAD, shift
        self.embedding_layer = nn.Linear(width, 3 * width)
        self.relative_position_params = nn.Parameter(torch.zeros(self.heads, 2 * WINDOW - 1, 2 * WINDOW - 1))
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        rolled = torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        cells = windows.cut(rolled, WINDOW)
        parts = self.embedding_layer(cells).unflatten(-1, (3, self.heads, HEAD)).permute(3, 0, 1, 4, 2, 5)
        bias = self.relative_position_params.flatten(1)[:, windows.relative_index(WINDOW, x.device)]
        out = windows.attend(*parts, bias, self._mask(height, width, x)).transpose(2, 3).flatten(3)
        out = windows.joined(self.linear(out), height, width)
        return torch.roll(out, (self.shift, self.shift), (1, 2)) if self.shift else out

    def _mask(self, height: int, width: int, x: Tensor) -> Tensor | None:
        if not self.shift:
            return None
        apart = windows.apart(height, width, WINDOW, self.shift, x.device)
        return torch.zeros_like(apart, dtype=torch.float32).masked_fill(apart, -torch.inf)


class SwinBlock(nn.Module):
    """Window attention, then a feed-forward, each added to its input."""

    def __init__(self, width: int, shift: int) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        self.msa = WindowAttention(width, shift)
        self.ln2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:  # (N, H, W, width) -> same
        x = x + self.msa(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class SwinConvBlock(nn.Module):
    """Half of the channels through convolutions, half through attention; after Zhang et al. (2023, Fig. 2)."""

    def __init__(self, width: int, shift: int) -> None:
        super().__init__()
        half = width // 2
        self.trans_block = SwinBlock(half, shift)
        self.conv1_1 = nn.Conv2d(width, width, 1)
        self.conv1_2 = nn.Conv2d(width, width, 1)
        self.conv_block = nn.Sequential(conv3(half, half, bias=False), nn.ReLU(), conv3(half, half, bias=False))

    def forward(self, x: Tensor) -> Tensor:  # (N, width, H, W) -> same
        local, wide = self.conv1_1(x).chunk(2, dim=1)
        local = local + self.conv_block(local)
        wide = self.trans_block(wide.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.conv1_2(torch.cat((local, wide), 1))


@MODELS.add("scunet")
class Scunet(nn.Module):
    """SCUNet: (N, C, H, W) -> same; H and W multiples of 64, borders repeated. After Zhang et al. (2023)."""

    Config = ScunetConfig

    def __init__(self, config: ScunetConfig = ScunetConfig()) -> None:
        super().__init__()
        width, numbers = config.width, counts(config.blocks, length=7)
        self.config = config
        self.m_head = nn.Sequential(conv3(config.channels, width, bias=False))
        self.m_down1, self.m_down2, self.m_down3 = (
            nn.Sequential(*_level(width << i, numbers[i]), nn.Conv2d(width << i, width << i + 1, 2, 2, bias=False))
            for i in range(3)
        )
        self.m_body = nn.Sequential(*_level(8 * width, numbers[3]))
        self.m_up3, self.m_up2, self.m_up1 = (
            nn.Sequential(
                nn.ConvTranspose2d(width << i + 1, width << i, 2, 2, bias=False), *_level(width << i, numbers[6 - i])
            )
            for i in (2, 1, 0)
        )
        self.m_tail = nn.Sequential(conv3(width, config.channels, bias=False))

    @property
    def description(self) -> Description:
        return Description(
            self.config.channels,
            multiple=MULTIPLE,
            minimum=MULTIPLE,
            padding="replicate",
            reach=None,
            bytes_per_pixel=72 * self.config.width,
        )

    def forward(self, x: Tensor) -> Tensor:
        first = exactly(self.m_head[0], x)
        second = self.m_down1(first)
        third = self.m_down2(second)
        fourth = self.m_down3(third)
        up = self.m_up3(self.m_body(fourth) + fourth)
        up = self.m_up2(up + third)
        up = self.m_up1(up + second)
        return exactly(self.m_tail[0], up + first)


def _level(width: int, number: int) -> list[SwinConvBlock]:
    return [SwinConvBlock(width, WINDOW // 2 if i % 2 else 0) for i in range(number)]
