"""What girnet makes of the whole picture: tones that the statistics of a grid of cells call for."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.models.blocks import ResidualBlock
from gir_cli.models.detail import Detail
from gir_cli.models.histogram import Histogram
from gir_cli.models.whole import Stretched, Whole

CELLS = 16  # along each side of the picture, whatever its size
SPOTS = 4  # along each side of a cell: its darkest and its brightest are means over spots, not pixels, for the noise
DARKEST = 1 / 1020  # a quarter of an 8-bit level, below which the exponent sees no difference
CALM = 0.25  # factor of the tone's values: the exponent of a pixel must not jump from step to step
REST = 0.03  # what a tone's value loses: one that is hardly called for is noise
CALL = 0.05  # root mean square of a picture's values up to which they count as little; from twice of it on, in full
SLACK = 0.1  # how much is left of what is taken away, for what is to be learnt from 0 on


def means(maps: Tensor, cells: int) -> Tensor:
    """Return the means of maps (N, C, h, w) over a grid of `cells` by `cells`; they may cover parts of pixels."""
    rows, columns = (_shares(size, cells, maps) for size in maps.shape[-2:])
    return rows @ maps.float() @ columns.mT


def extremes(thumbnail: Tensor) -> Tensor:
    """Return (N, 6, CELLS, CELLS): the least and the greatest spot of each cell of a thumbnail (N, 3, …).

    How dark the darkest is tells haze from what is pale (the dark channel of He et al., 2009), and how bright
    the brightest, a darkened picture from one of the dark.
    """
    return torch.cat((-functional.max_pool2d(-thumbnail, SPOTS), functional.max_pool2d(thumbnail, SPOTS)), 1)


def _shares(size: int, cells: int, like: Tensor) -> Tensor:
    """Return (cells, size): what each position along an axis counts for the mean of each cell."""
    # In units of 1 / (size · cells) of the axis, which are whole for both.
    cell = torch.arange(cells, device=like.device)[:, None] * size
    position = torch.arange(size, device=like.device)[None] * cells
    covered = torch.minimum(cell + size, position + cells) - torch.maximum(cell, position)
    shares = covered.clamp(min=0).float()
    return shares / shares.sum(1, keepdim=True)


class Toner(nn.Module):
    """Gives the `tone` (N, 9, H, W) that a picture (N, 3, H, W) calls for; a new one's changes nothing.

    It looks at a thumbnail of the whole picture, the means of its spots, and at the least and the greatest of
    each cell, so that the picture's size makes no difference to it. Spots know where they lie, for haze is thicker
    at the top, and cells learn of the whole. After the low-resolution stream of HDRNet (Gharbi et al., 2017,
    Sec. 3.1), for tones in place of colours. With a `histogram` and a `detail`, of so many channels, cells learn of
    those too: whether a dark picture was darkened, and whether noise, blur or compression could have hidden it.
    """

    def __init__(self, width: int, histogram: int = 0, detail: int = 0) -> None:
        super().__init__()
        self.look = nn.Conv2d(2 + 3, width, 2, stride=2)
        self.spots = ResidualBlock(width)
        self.halve = nn.Conv2d(width, width, 2, stride=2)
        self.range = nn.Conv2d(6, width, 1)
        self.cells = nn.ModuleList(ResidualBlock(width) for _ in range(3))
        self.gather = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(3))
        self.tone = nn.Conv2d(width, 9, 3, padding=1)
        self.histogram = Histogram(histogram, width) if histogram else None
        self.detail = Detail(detail, width) if detail else None
        self.whole, self.stretched = Whole(), Stretched()
        for layer in (*self.gather, self.tone):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, picture: Tensor) -> Tensor:
        with torch.autocast(picture.device.type, enabled=False):
            values = rested(CALM * self.tone(self._seen(picture)), learning=self.training)
            return self.stretched(values, *picture.shape[-2:])

    def _seen(self, picture: Tensor) -> Tensor:
        """Return the cells (N, width, CELLS, CELLS) of a picture, in fp32."""
        thumbnail = self.whole(means(picture, CELLS * SPOTS))
        line = torch.linspace(-1, 1, CELLS * SPOTS, device=thumbnail.device)
        place = torch.stack(torch.meshgrid(line, line, indexing="ij"))
        seen = self.look(torch.cat((place.expand(thumbnail.shape[0], -1, -1, -1), thumbnail), 1))
        seen = self.halve(self.spots(seen)) + self.range(extremes(thumbnail))
        for learnt in (self.histogram, self.detail):
            if learnt:
                seen = seen + learnt(picture)[..., None, None]
        for block, gather in zip(self.cells, self.gather, strict=True):
            seen = block(seen)
            seen = seen + gather(torch.relu(seen).mean((-2, -1), keepdim=True))
        return seen


def rested(values: Tensor, *, learning: bool = False) -> Tensor:
    """Return the `values` (N, 9, h, w) of tones, each shrunk towards 0, and a picture's again if all are small.

    A picture that needs no tone is to have none, but in `learning`, where values must be able to grow. In root mean
    square, gir's toner gives Kodak's clear pictures values of up to 0.03, and all but three of them more than 0.08
    with haze of beta 0.6.
    """
    size = torch.linalg.vector_norm(values, dim=(1, 2, 3), keepdim=True) / math.sqrt(math.prod(values.shape[1:]))
    called = (size / CALL - 1).clamp(0, 1)
    kept = SLACK + (1 - SLACK) * called if learning else called
    return kept * (functional.softshrink(values, REST) + SLACK * values.clamp(-REST, REST))


def toned(picture: Tensor, tone: Tensor) -> Tensor:
    """Return `picture` (N, 3, H, W) with `tone` (N, 9, H, W): an exponent, a gain and an offset for each channel.

    In the order in which darkness (an exponent) and, before it, haze (a mixture with grey) are undone.
    """
    exponent, gain, offset = tone.chunk(3, 1)
    bright = picture.clamp(min=DARKEST)
    lifted = picture + bright * torch.expm1(torch.log(bright) * torch.expm1(exponent))
    return lifted + gain * lifted + offset
