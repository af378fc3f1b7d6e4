"""Building blocks that two or more backbones share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
