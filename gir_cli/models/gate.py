"""Which of several experts is to be believed at each pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.layouts.girnet import GATE
from gir_cli.models.blocks import ResidualBlock

FINE, CLOSER = 5, 8.0  # side of the mean that what is fine stands out from, and by how much that is magnified
NEAR = 9  # cells of 8 × 8 pixels along each side of what a cell learns of its surroundings
MULTIPLE = 8  # that divides height and width; JPEG's blocks are cells of their own
LEAST = 1e-4  # variance below which features are as good as none
REACH = 80  # pixels, of which the mean over NEAR cells has 36


class Gate(nn.Module):
    """Gives the shares (N, experts, H, W) in which experts count for a picture (N, 3, H, W); a new one's are equal.

    A mixture of experts (Jacobs et al., 1991), whose gate looks at what is fine in the picture and at the `residuals`
    (N, 3, H, W), what each expert would add to it: where they differ tells most of what is to be known. What is near
    counts, too, as a cell may be flat where the picture is not.
    """

    def __init__(self, experts: int) -> None:
        super().__init__()
        # Without biases, which would at first outweigh what is fine.
        self.look = nn.Conv2d(12 * (1 + experts), GATE, 3, padding=1, bias=False)
        self.halves = nn.ModuleList(nn.Conv2d(GATE, GATE, 2, stride=2, bias=False) for _ in range(2))
        self.blocks = nn.ModuleList(ResidualBlock(GATE) for _ in range(2))
        self.weigh = nn.Conv2d(2 * GATE, GATE, 1)
        self.choice = nn.Conv2d(GATE, experts, 1)
        nn.init.zeros_(self.choice.weight)
        nn.init.zeros_(self.choice.bias)

    def forward(self, picture: Tensor, residuals: Sequence[Tensor]) -> Tensor:
        fine = picture - functional.avg_pool2d(picture, FINE, 1, FINE // 2, count_include_pad=False)
        seen = self.look(functional.pixel_unshuffle(CLOSER * torch.cat((fine, *residuals), 1), 2))
        for halve, block in zip(self.halves, self.blocks, strict=True):
            seen = block(halve(torch.relu(seen)))
        seen = torch.relu(seen)
        near = functional.avg_pool2d(seen, NEAR, 1, NEAR // 2, count_include_pad=False)
        # Of one mean and length everywhere, so that it is how features differ that counts.
        seen = torch.cat((seen, near), 1).float()
        variance, mean = torch.var_mean(seen, 1, keepdim=True, correction=0)
        choice = self.choice(torch.relu(self.weigh((seen - mean) / (variance + LEAST).sqrt())))
        return functional.interpolate(
            choice.float(), scale_factor=MULTIPLE, mode="bilinear", align_corners=False
        ).softmax(1)
