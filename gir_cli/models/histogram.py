"""What the histogram of a picture tells of a curve that it went through."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.layouts.girnet import LEVELS
from gir_cli.models.whole import Counted, tally

NEAR = 8  # levels on each side that one is compared with: curves that stretch them by an eighth leave one of them out
FEW = 12  # values: a level where fewer are to be expected may be missing by chance
HARDLY = 0.1  # of the levels on either side: one that is rarer is missing
MANY = 5  # missing levels that make a comb; some pictures have up to four by chance
DARK = 40  # levels in which curves that darken leave no gaps, as they merge them: powers of up to 4 begin there


class Levels(Counted):
    """Counts the levels of 8 bits in pictures (N, 3, H, W), (N, LEVELS)."""

    def counts(self, picture: Tensor) -> Tensor:
        top = LEVELS - 1
        return tally((picture.flatten(1).float() * top).round().clamp(0, top).long(), LEVELS)


def gaps(counts: Tensor) -> Tensor:
    """Return (N, 2 · LEVELS) of how often levels occur (N, LEVELS): which are missing, and which would be missed.

    A picture of 8 bits that was darkened by a curve, and is of 8 bits again, has no values at levels that the
    curve leaps over, and where those lie tells the curve (Stamm and Liu, 2010). Noise and compression fill them, and
    pictures as cameras give them have hardly any: all is 0 then. So it is of pictures that lack dark levels too,
    which were brightened or have few values at all, as by a palette.
    """
    counts = functional.pad(counts, (NEAR, NEAR))
    windows = counts.unfold(1, NEAR, 1).mean(-1)  # (N, LEVELS + NEAR + 1)
    around = torch.minimum(windows[:, :LEVELS], windows[:, NEAR + 1 :])
    seen = around > FEW
    missing = (1 - counts[:, NEAR:-NEAR] / (HARDLY * around.clamp(min=FEW))).clamp(min=0) * seen
    comb = (missing.sum(1, keepdim=True) >= MANY) & (missing[:, :DARK].sum(1, keepdim=True) < 1)
    return torch.cat((missing * comb, seen * comb), 1)


class Histogram(nn.Module):
    """Gives (N, width) features of the gaps in the histogram of pictures (N, 3, H, W); 0 where there are none.

    A new one's are 0 anyway.
    """

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.counted = Levels()
        sides = itertools.pairwise((2 * LEVELS, inner, inner, width))
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in sides)
        nn.init.zeros_(self.layers[-1].weight)

    def forward(self, picture: Tensor) -> Tensor:
        first, second, last = self.layers
        return last(torch.relu(second(torch.relu(first(gaps(self.counted(picture)))))))
