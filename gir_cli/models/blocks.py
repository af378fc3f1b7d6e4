"""Building blocks that two or more backbones share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a ReLU between, added to the input.

    After EDSR (Lim et al., 2017, Fig. 2c), without batch normalisation. The residual starts at
    zero, so a new block is the identity. Under autocast the addition keeps the input's precision.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(width, width, 3, padding=1)
        self.narrow = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, width, H, W) -> same
        return x + self.narrow(torch.relu(self.widen(x)))


def conv3(inner: int, outer: int, *, bias: bool = True) -> nn.Conv2d:
    """Return a 3×3 convolution that keeps height and width, with zeros around."""
    return nn.Conv2d(inner, outer, 3, padding=1, bias=bias)


def exactly(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Return `layer(x)` in the precision of the layer's weights, under autocast too.

    For the convolutions that touch pixels: in bf16 they cost 0.01 to 0.15 dB.
    """
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.to(layer.weight.dtype))


def leaky(x: Tensor, slope: float = 0.2) -> Tensor:
    """Return the leaky ReLU of `x`."""
    return functional.leaky_relu(x, slope)


def doubled(x: Tensor) -> Tensor:
    """Return `x` (N, C, H, W) twice as high and wide, each value repeated."""
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def shrink_start(network: nn.Module, factor: float = 0.1) -> None:
    """Start the network's convolutions at `factor` times He's values (ESRGAN, Wang et al., 2018, Sec. 3.1)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight)
            module.weight.data *= factor
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel: (N, width, H, W) -> same.

    Run on the channels-last view, which the library normalises in one pass.
    """

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 1)
        return functional.layer_norm(rows, self.weight.shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class ChannelScale(nn.Module):
    """Division by each pixel's standard deviation over the channels; the mean stays in.

    Restormer's normalisation without bias (Zamir et al., 2022): x / sqrt(var(x) + eps) · weight.
    """

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:  # (N, width, H, W) -> same
        spread = x.var(1, keepdim=True, correction=0)
        return x * torch.rsqrt(spread + self.eps) * self.weight[:, None, None]
