"""What the finest detail of a picture tells of noise, blur and compression."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.layouts.girnet import BINS, KINDS
from gir_cli.models.whole import Counted, tally

UNIT = 6  # by which the second differences of white noise are stronger than it
CELL = 8  # pixels along each side of JPEG's blocks
FINEST = 1 / 96  # the square root of a detail's strength, by steps of which it is counted: a level of 8 bits is six


class Details(Counted):
    """Counts details of pictures (N, 3, H, W), 0 to 1, by strength, (N, KINDS · BINS): in luma within JPEG's blocks, in
    luma where they meet, and in colour.

    A detail is the second difference across of second differences down, which hardly sees edges (Immerkær, 1996).
    """

    overlap = 2

    def counts(self, picture: Tensor) -> Tensor:
        luma = picture.float().mean(1, keepdim=True)
        colour = _details(picture.float() - luma).mean(1)
        luma = _details(luma)[:, 0]
        meeting = (_meet(luma.shape[-2], luma.device)[:, None] | _meet(luma.shape[-1], luma.device)).long()
        found = torch.stack((_bin(luma) + BINS * meeting, _bin(colour) + 2 * BINS), 1)
        return tally(found.flatten(1), KINDS * BINS)


def _details(maps: Tensor) -> Tensor:
    return maps.diff(n=2, dim=-1).diff(n=2, dim=-2).abs() / UNIT


def _bin(strengths: Tensor) -> Tensor:
    return (strengths.sqrt() / FINEST).long().clamp(max=BINS - 1)


def _meet(size: int, device: torch.device) -> Tensor:
    """Say of each of `size` details along an axis whether it reaches from one block into another."""
    return torch.arange(size, device=device) % CELL >= CELL - 2


class Detail(nn.Module):
    """Gives (N, width) features of how strong the details of pictures (N, 3, H, W) are; a new one's are 0."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.counted = Details()
        sides = itertools.pairwise((KINDS * BINS, inner, inner, width))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in sides)
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, picture: Tensor) -> Tensor:
        counts = self.counted(picture).unflatten(1, (KINDS, BINS))
        # Shares of what is no stronger than each bin: from one to the next they hardly change.
        seen = (counts / counts.sum(-1, keepdim=True).clamp(min=1)).cumsum(-1).flatten(1)
        first, second, last = self.layers
        return last(functional.relu(second(functional.relu(first(seen)))))
