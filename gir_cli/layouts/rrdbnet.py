"""The layout of RRDBNet."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any

from gir_cli.errors import UsageError
from gir_cli.layouts import LAYOUTS, Layout
from gir_cli.layouts.official import Official, blocks
from gir_cli.layouts.shapes import Shapes, conv, inside, repeated, together
from gir_cli.params import Param

NAMES = {"RRDB_trunk": "body", "trunk_conv": "conv_body", "upconv": "conv_up", "HRconv": "conv_hr"}


def _renamed(shapes: Shapes) -> dict[str, str]:
    """Turn both older generations of names into today's."""
    ups = _ups(shapes)
    return {_modern(name, ups): name for name in shapes}


def _ups(names: Collection[str]) -> int:
    """Return the number of enlargements in a network of the oldest names, whose last layer is model.(3n + 4)."""
    return max((blocks(names, "model.") - 5) // 3, 0)


def _modern(name: str, ups: int) -> str:
    body = re.fullmatch(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(\w+)", name)
    if body:
        return "body.{}.rdb{}.conv{}.{}".format(*body.groups())
    if old := re.fullmatch(r"model\.1\.sub\.\d+\.(weight|bias)", name):
        return f"conv_body.{old[1]}"
    if old := re.fullmatch(r"model\.(\d+)\.(weight|bias)", name):
        places = {0: "conv_first", 3 * ups + 2: "conv_hr", 3 * ups + 4: "conv_last"}
        number = int(old[1])
        return f"{places.get(number, f'conv_up{number // 3}')}.{old[2]}"
    for before, after in NAMES.items():
        name = name.replace(before, after)
    return name.replace(".RDB", ".rdb")


def _sizes(shapes: Shapes) -> dict[str, Any]:
    width, inner = shapes["conv_first.weight"][:2]
    channels = shapes["conv_last.weight"][0]
    unshuffle = math.isqrt(max(inner // max(channels, 1), 1))
    ups = sum(f"conv_up{number}.weight" in shapes for number in (1, 2, 3))
    return {
        "width": width,
        "blocks": blocks(shapes, "body."),
        "growth": shapes["body.0.rdb1.conv1.weight"][0],
        "scale": 2**ups // unshuffle,
        "unshuffle": unshuffle,
        "channels": channels,
    }


@LAYOUTS.add("rrdbnet")
@dataclass(frozen=True)
class RrdbnetConfig(Layout):
    """Sizes of an RRDBNet."""

    width: Annotated[int, Param("channels between blocks", 1, 1024)] = 64
    blocks: Annotated[int, Param("residual-in-residual dense blocks", 1, 200)] = 23
    growth: Annotated[int, Param("channels that each dense convolution adds", 1, 512)] = 32
    scale: Annotated[int, Param("how many times larger the result is: 1, 2, 4 or 8", 1, 8)] = 4
    unshuffle: Annotated[int, Param("factor by which pixels are first folded into channels", 1, 8)] = 1
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3

    official = Official(
        keys=("body.0.rdb1.conv1.weight", "conv_first.weight", "conv_body.weight", "conv_last.weight"),
        renamed=_renamed,
        sizes=_sizes,
        license="Apache-2.0 (ESRGAN, BasicSR) or BSD-3-Clause (Real-ESRGAN)",
    )

    @property
    def ups(self) -> list[str]:
        """The names of the convolutions that follow each doubling."""
        total = self.scale * self.unshuffle
        if total not in (1, 2, 4, 8):
            raise UsageError(f"rrdbnet: scale · unshuffle = {total} is no power of 2 up to 8")
        return [f"conv_up{number + 1}" for number in range(total.bit_length() - 1)]

    def tensors(self) -> Shapes:
        width = self.width
        block = together(inside(f"rdb{number}", self._dense()) for number in (1, 2, 3))
        return (
            conv("conv_first", self.channels * self.unshuffle**2, width)
            | repeated("body", self.blocks, block)
            | together(conv(name, width, width) for name in ("conv_body", *self.ups, "conv_hr"))
            | conv("conv_last", width, self.channels)
        )

    def _dense(self) -> Shapes:
        width, growth = self.width, self.growth
        grown = (conv(f"conv{number + 1}", width + number * growth, growth) for number in range(4))
        return together(grown) | conv("conv5", width + 4 * growth, width)
