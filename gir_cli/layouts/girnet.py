"""The layout of girnet."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated

from gir_cli.layouts import LAYOUTS, Layout
from gir_cli.layouts.shapes import Shapes, conv, deconv, inside, repeated, together
from gir_cli.params import Param


@LAYOUTS.add("girnet")
@dataclass(frozen=True)
class GirnetConfig(Layout):
    """Sizes of a girnet."""

    width: Annotated[int, Param("channels of the first level", 4, 512)] = 64
    growth: Annotated[float, Param("factor of channels from level to level", 1, 4)] = 2.0
    levels: Annotated[int, Param("levels, each at half the resolution of the one above", 1, 6)] = 3
    blocks: Annotated[int, Param("residual blocks before and after, at each level", 1, 32)] = 2
    middle: Annotated[int, Param("further residual blocks at the last level, where they are cheap", 0, 64)] = 0
    toner: Annotated[int, Param("channels of a branch that tones by the whole picture; 0 for none", 0, 512)] = 0

    @property
    def widths(self) -> list[int]:
        """The channels of each level, multiples of 8."""
        return [max(round(self.width * self.growth**level / 8), 1) * 8 for level in range(self.levels)]

    @property
    def depths(self) -> list[int]:
        """The residual blocks of each level on the way down, the last of them the middle."""
        return [self.blocks] * (self.levels - 1) + [self.blocks + self.middle]

    def tensors(self) -> Shapes:
        widths = self.widths
        steps = list(enumerate(itertools.pairwise(widths)))
        return (
            conv("stem", 12, widths[0])
            | self._blocks("down_blocks", widths, self.depths)
            | self._blocks("up_blocks", widths[:-1], self.depths)
            | together(conv(f"downs.{level}", wide, wider, 2) for level, (wide, wider) in steps)
            | together(deconv(f"ups.{level}", wider, wide, 2) for level, (wide, wider) in steps)
            | (inside("toner", self._toner(self.toner)) if self.toner else {})
            | conv("head", widths[0], 12)
        )

    @staticmethod
    def _toner(width: int) -> Shapes:
        block = conv("widen", width, width) | conv("narrow", width, width)
        return (
            conv("look", 5, width, 2)
            | inside("spots", block)
            | conv("halve", width, width, 2)
            | conv("range", 6, width, 1)
            | repeated("cells", 3, block)
            | repeated("gather", 3, {"weight": (width, width, 1, 1), "bias": (width,)})
            | conv("tone", width, 9)
        )

    @staticmethod
    def _blocks(name: str, widths: list[int], depths: list[int]) -> Shapes:
        parts = (conv("widen", width, width) | conv("narrow", width, width) for width in widths)
        levels = enumerate(zip(depths, parts, strict=False))
        return together(repeated(f"{name}.{level}", depth, part) for level, (depth, part) in levels)
