"""Which of several experts is to be believed at each pixel, or none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.layouts.girnet import GATE, measures
from gir_cli.models.ends import ends

CELL = 8  # pixels along each side of what a share is given for; JPEG's blocks are cells of their own
NEAR = 17  # cells along each side of what a cell learns of its surroundings
REACH = 96  # pixels: the mean over NEAR cells has 72, the convolution of cells 8, the way back to pixels 12
LEAST = 1e-7  # mean square below which there is as good as nothing
MIDDLE, SPREAD = -9.0, 3.0  # of the logarithms of mean squares, about
FLOOR = 1e-5  # mean squared error, that of 50 dB, below which experts are as good as right
LITTLE = 1e-4  # mean squared error, that of 40 dB, of pictures in which little is at stake
SHARPNESS = 4.0  # as how many independent errors the many of a cell count


class Gate(nn.Module):
    """Gives the logits (N, experts + 1, H / 8, W / 8) of believing each expert, or, the last, leaving all as it is.

    For a picture (N, 3, H, W) and the `residuals`, each (N, 3, H, W), which experts would add to it. A mixture of
    experts (Jacobs et al., 1991), whose gate is told how strong the residuals are and their differences: as
    logarithms, for what is weak must be told from what is weaker. A new one's logits are equal.
    """

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(2 * measures(experts), GATE, 1)
        self.gather = nn.Conv2d(GATE, GATE, 3, padding=1)
        self.choice = nn.Conv2d(GATE, experts + 1, 1)
        nn.init.zeros_(self.choice.weight)
        nn.init.zeros_(self.choice.bias)

    def forward(self, picture: Tensor, residuals: Sequence[Tensor]) -> Tensor:
        found = measured(picture, residuals)
        near = functional.avg_pool2d(found, NEAR, 1, NEAR // 2, count_include_pad=False)
        seen = torch.relu(self.weigh(torch.cat((found, near), 1)))
        return self.choice(torch.relu(self.gather(seen)))


def measured(picture: Tensor, residuals: Sequence[Tensor]) -> Tensor:
    """Return (N, measures, H / 8, W / 8), numbers of order 1 for each cell.

    Logarithms of the strengths of each residual and of each difference of two: in luma, in colour, from pixel to
    pixel across and down, and smoothed; of each residual, which share of it is not where the picture is all white
    or all black, as it is under bands; and of the picture, how much stronger its steps between cells are than within.
    """
    differences = [one - other for one, other in combinations(residuals, 2)]
    strengths = [strength for signal in (*residuals, *differences) for strength in _strengths(signal)]
    found = ((torch.stack(strengths, 1) + LEAST).log() - MIDDLE) / SPREAD
    return torch.cat((found, *(_outside(picture, residual) for residual in residuals), _blocked(picture)), 1)


def _strengths(signal: Tensor) -> list[Tensor]:
    luma = signal.mean(1)
    colour = (signal - luma[:, None]).square().mean(1)
    steps = [functional.avg_pool2d(_steps(luma, axis).square(), CELL) for axis in (2, 1)]
    smooth = functional.avg_pool2d(functional.avg_pool2d(luma, CELL // 2).square(), 2)
    return [functional.avg_pool2d(luma.square(), CELL), functional.avg_pool2d(colour, CELL), *steps, smooth]


def _steps(luma: Tensor, axis: int) -> Tensor:
    """Return the differences (N, H, W) of what comes next along `axis` and what is there; the last is 0."""
    return luma.diff(dim=axis, append=luma.narrow(axis, -1, 1))


def _outside(picture: Tensor, residual: Tensor) -> Tensor:
    """Return the logarithm of the share of `residual` that is not at the ends of the range, (N, 1, H / 8, W / 8)."""
    strength = residual.square().mean(1, keepdim=True)
    within, all_in_all = (functional.avg_pool2d(part, CELL) for part in (strength * (ends(picture) == 0), strength))
    return ((within + FLOOR) / (all_in_all + FLOOR)).log().clamp(min=-SPREAD) / (SPREAD / 2)


def _blocked(picture: Tensor) -> Tensor:
    """Return the logarithm of how strong steps of luma are where cells meet, (N, 1, H / 8, W / 8), beside all steps.

    Where cells are the blocks of a JPEG file it is above that of other pictures, on average.
    """
    luma = picture.mean(1)
    across, down = (_steps(luma, axis).square() for axis in (2, 1))
    every = functional.avg_pool2d(across + down, CELL)
    meeting = functional.avg_pool2d(across[..., CELL - 1 :: CELL], (CELL, 1))
    meeting = meeting + functional.avg_pool2d(down[:, CELL - 1 :: CELL], (1, CELL))
    return ((meeting + LEAST) / (every + LEAST)).log()[:, None]


def shares(logits: Tensor) -> Tensor:
    """Return the shares (N, experts + 1, H, W) in which experts, and leaving all as it is, count for each pixel."""
    return functional.interpolate(logits, scale_factor=CELL, mode="bilinear", align_corners=False).softmax(1)


def competition(logits: Tensor, picture: Tensor, residuals: Sequence[Tensor], truth: Tensor) -> Tensor:
    """Return the negative log-likelihood of the `truth` (N, 3, H, W) under the mixture, a mean over cells.

    Experts compete (Jacobs et al., 1991, Eq. 1.3): what a cell is to have is expected to be as one of them says,
    with an error whose size isn't known, so that the likelihood falls with a power of the squared error. Cells count
    by what is at stake, from the best one's squared error to the worst one's, as a share of the picture's. The error
    of the mixture itself, in place of this, teaches a gate to trust the one that is better on the whole, everywhere.
    """
    answers = [picture + residual for residual in residuals] + [picture]
    errors = torch.cat([functional.avg_pool2d((a - truth).square().mean(1, keepdim=True), CELL) for a in answers], 1)
    stakes = (errors.amax(1) - errors.amin(1)) / (errors.mean((1, 2, 3))[:, None, None] + LITTLE)
    likelihoods = -SHARPNESS * ((errors + FLOOR) / (errors.amin(1, keepdim=True) + FLOOR)).log()
    surprise = -(logits.log_softmax(1) + likelihoods).logsumexp(1)
    return (stakes * surprise).sum() / (stakes.sum() + LEAST)
