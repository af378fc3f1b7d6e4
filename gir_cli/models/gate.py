"""Which of several experts is to be believed at each pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.layouts.girnet import GATE
from gir_cli.models.blocks import ResidualBlock

FINE, CLOSER = 5, 8.0  # side of the mean that what is fine stands out from, and by how much that is magnified
NEAR = 9  # cells of 8 × 8 pixels along each side of what a cell learns of its surroundings
MULTIPLE = 8  # that divides height and width; JPEG's blocks are cells of their own
LEAST = 1e-4  # mean square below which features are as good as none
SLIGHT = 0.02  # share below which an expert has none, so that it need not be asked
REACH = 80  # pixels, of which the mean over NEAR cells has 36


class Gate(nn.Module):
    """Gives the shares (N, experts, H, W) in which experts count for a picture (N, 3, H, W); a new one's are equal.

    A mixture of experts (Jacobs et al., 1991), whose gate looks for what tells one damage from another: grain, the
    borders of blocks, sharpness. What is near counts, too, as a cell may be flat where the picture is not.
    """

    def __init__(self, experts: int) -> None:
        super().__init__()
        # Without biases, which would at first outweigh what is fine.
        self.look = nn.Conv2d(12, GATE, 3, padding=1, bias=False)
        self.halves = nn.ModuleList(nn.Conv2d(GATE, GATE, 2, stride=2, bias=False) for _ in range(2))
        self.blocks = nn.ModuleList(ResidualBlock(GATE) for _ in range(2))
        self.choice = nn.Conv2d(2 * GATE, experts, 1)
        nn.init.zeros_(self.choice.weight)
        nn.init.zeros_(self.choice.bias)

    def forward(self, picture: Tensor) -> Tensor:
        fine = picture - functional.avg_pool2d(picture, FINE, 1, FINE // 2, count_include_pad=False)
        seen = self.look(functional.pixel_unshuffle(CLOSER * fine, 2))
        for halve, block in zip(self.halves, self.blocks, strict=True):
            seen = block(halve(torch.relu(seen)))
        seen = torch.relu(seen).float()
        near = functional.avg_pool2d(seen, NEAR, 1, NEAR // 2, count_include_pad=False)
        seen = torch.cat((seen, near), 1)
        # Of one length everywhere: else the first steps of training make a choice that no later one can take back.
        choice = self.choice(seen / (seen.square().mean(1, keepdim=True) + LEAST).sqrt())
        stretched = functional.interpolate(choice.float(), scale_factor=8, mode="bilinear", align_corners=False)
        soft = stretched.softmax(1)
        shares = torch.relu(soft - SLIGHT)
        shares = shares / shares.sum(1, keepdim=True)
        return soft + (shares - soft).detach() if self.training else shares  # for who has none must get some back
