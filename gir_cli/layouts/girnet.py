"""The layout of girnet."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Annotated

from gir_cli.errors import UsageError
from gir_cli.layouts import LAYOUTS, Layout
from gir_cli.layouts.shapes import Shapes, conv, deconv, inside, repeated, together
from gir_cli.params import Param

GATE = 48  # channels of the gate
LEVELS = 256  # of a histogram: those of 8 bits
KINDS, BINS = 3, 64  # of details, and of their strengths


def measures(experts: int) -> int:
    """Return how many numbers a gate is told of a cell: five of each residual and of each two's difference, one more
    of each residual, and one of the picture."""
    return 5 * (experts + math.comb(experts, 2)) + experts + 1


@LAYOUTS.add("girnet")
@dataclass(frozen=True)
class GirnetConfig(Layout):
    """Sizes of a girnet."""

    width: Annotated[int, Param("channels of the first level", 4, 512)] = 64
    growth: Annotated[float, Param("factor of channels from level to level", 1, 4)] = 2.0
    levels: Annotated[int, Param("levels, each at half the resolution of the one above", 1, 6)] = 3
    blocks: Annotated[int, Param("residual blocks before and after, at each level", 1, 32)] = 2
    middle: Annotated[int, Param("further residual blocks at the last level, where they are cheap", 0, 64)] = 0
    ends: Annotated[int, Param("1 to point out to the U-Nets what is all white or all black", 0, 1)] = 0
    experts: Annotated[int, Param("U-Nets side by side, whose results a gate mixes", 1, 8)] = 1
    toner: Annotated[int, Param("channels of a branch that tones by the whole picture; 0 for none", 0, 512)] = 0
    histogram: Annotated[int, Param("channels of what the toner learns of the histogram; 0 for none", 0, 1024)] = 0
    detail: Annotated[int, Param("channels of what the toner learns of the finest detail; 0 for none", 0, 1024)] = 0

    @property
    def unet(self) -> GirnetConfig:
        """The layout of one of its experts alone."""
        return dataclasses.replace(self, experts=1, toner=0, histogram=0, detail=0)

    @property
    def widths(self) -> list[int]:
        """The channels of each level, multiples of 8."""
        return [max(round(self.width * self.growth**level / 8), 1) * 8 for level in range(self.levels)]

    @property
    def depths(self) -> list[int]:
        """The residual blocks of each level on the way down, the last of them the middle."""
        return [self.blocks] * (self.levels - 1) + [self.blocks + self.middle]

    def tensors(self) -> Shapes:
        for name in ("histogram", "detail"):
            if getattr(self, name) and not self.toner:
                raise UsageError(f"girnet: {name} needs a toner, which is what sees it")
        unet = self._unet()
        return (
            unet
            | repeated("others", self.experts - 1, unet)
            | (inside("gate", self._gate(self.experts)) if self.experts > 1 else {})
            | (inside("toner", self._toner(self.toner, self.histogram, self.detail)) if self.toner else {})
        )

    def _unet(self) -> Shapes:
        widths = self.widths
        steps = list(enumerate(itertools.pairwise(widths)))
        return (
            conv("stem", 12 + 4 * self.ends, widths[0])
            | self._blocks("down_blocks", widths, self.depths)
            | self._blocks("up_blocks", widths[:-1], self.depths)
            | together(conv(f"downs.{level}", wide, wider, 2) for level, (wide, wider) in steps)
            | together(deconv(f"ups.{level}", wider, wide, 2) for level, (wide, wider) in steps)
            | conv("head", widths[0], 12)
        )

    @staticmethod
    def _gate(experts: int) -> Shapes:
        return (
            conv("weigh", 2 * measures(experts), GATE, 1)
            | conv("gather", GATE, GATE)
            | conv("choice", GATE, experts + 1, 1)
        )

    @staticmethod
    def _toner(width: int, histogram: int, detail: int) -> Shapes:
        block = conv("widen", width, width) | conv("narrow", width, width)
        levels = enumerate(itertools.pairwise((2 * LEVELS, histogram, histogram, width)) if histogram else ())
        strengths = enumerate(itertools.pairwise((KINDS * BINS, detail, detail, width)) if detail else ())
        layers = {f"histogram.layers.{step}.weight": sides[::-1] for step, sides in levels}
        for step, sides in strengths:
            layers |= {f"detail.layers.{step}.weight": sides[::-1], f"detail.layers.{step}.bias": sides[1:]}
        return (
            conv("look", 5, width, 2)
            | inside("spots", block)
            | conv("halve", width, width, 2)
            | conv("range", 6, width, 1)
            | repeated("cells", 3, block)
            | repeated("gather", 3, {"weight": (width, width, 1, 1), "bias": (width,)})
            | conv("tone", width, 9)
            | layers
        )

    @staticmethod
    def _blocks(name: str, widths: list[int], depths: list[int]) -> Shapes:
        parts = (conv("widen", width, width) | conv("narrow", width, width) for width in widths)
        levels = enumerate(zip(depths, parts, strict=False))
        return together(repeated(f"{name}.{level}", depth, part) for level, (depth, part) in levels)
