"""The layout of Uformer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from gir_cli.layouts import LAYOUTS, Layout
from gir_cli.layouts.official import Official, blocks, counts, spelled, without
from gir_cli.layouts.shapes import Shapes, check_heads, conv, deconv, linear, norm, repeated
from gir_cli.params import Param

LEVELS = 4  # halvings
PLACES = (
    *(f"encoderlayer_{level}" for level in range(LEVELS)),
    "conv",
    *(f"decoderlayer_{level}" for level in range(LEVELS)),
)


def _renamed(shapes: Shapes) -> dict[str, str]:
    """Leave out what follows from the size of a window."""
    return without(shapes, "relative_position_index", "attn_mask")


def _sizes(shapes: Shapes) -> dict[str, Any]:
    width, channels = shapes["input_proj.proj.0.weight"][:2]
    tables = [shapes[f"{place}.blocks.0.attn.relative_position_bias_table"] for place in PLACES]
    return {
        "width": width,
        "depths": spelled(blocks(shapes, f"{place}.blocks.") for place in PLACES),
        "heads": spelled(heads for _, heads in tables),
        "window": (math.isqrt(tables[0][0]) + 1) // 2,
        "expand": shapes["encoderlayer_0.blocks.0.mlp.linear1.0.weight"][0] // width,
        "modulator": int("decoderlayer_0.blocks.0.modulator.weight" in shapes),
        "channels": channels,
    }


@LAYOUTS.add("uformer")
@dataclass(frozen=True)
class UformerConfig(Layout):
    """Sizes of a Uformer; those of Uformer-B."""

    width: Annotated[int, Param("channels of the first level", 1, 512)] = 32
    depths: Annotated[str, Param("blocks of the nine levels, down and up again")] = "1-2-8-8-2-8-8-2-1"
    heads: Annotated[str, Param("heads of the nine levels")] = "1-2-4-8-16-16-8-4-2"
    window: Annotated[int, Param("side of the windows", 2, 32)] = 8
    expand: Annotated[int, Param("factor of channels in the feed-forward half", 1, 8)] = 4
    modulator: Annotated[int, Param("1 if windows of the decoder have learned offsets, else 0", 0, 1)] = 1
    side: Annotated[int, Param("side in pixels of the pictures it was made for", 16, 4096)] = 128
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3

    official = Official(
        keys=("input_proj.proj.0.weight", "encoderlayer_0.blocks.0.mlp.linear1.0.weight", "dowsample_0.conv.0.weight"),
        renamed=_renamed,
        sizes=_sizes,
        license="MIT (Uformer)",
    )

    def tensors(self) -> Shapes:
        width = self.width
        depths, heads = counts(self.depths, length=9), counts(self.heads, length=9, low=1)
        made = conv("input_proj.proj.0", self.channels, width) | conv("output_proj.proj.0", 2 * width, self.channels)
        for number, place in enumerate(PLACES):
            up = number > LEVELS
            wide = 2 * width << 2 * LEVELS - number if up else width << number
            made |= repeated(f"{place}.blocks", depths[number], self._block(wide, heads[number], modulated=up))
        for level in range(LEVELS):
            inner, deep = width << level, width << LEVELS - level
            made |= conv(f"dowsample_{level}.conv.0", inner, 2 * inner, 4)
            made |= deconv(f"upsample_{level}.deconv.0", 2 * deep if level else deep, deep // 2, 2)
        return made

    def _block(self, width: int, heads: int, *, modulated: bool) -> Shapes:
        check_heads(width, heads)
        hidden = width * self.expand
        offsets = {"modulator.weight": (self.window**2, width)} if modulated and self.modulator else {}
        return offsets | (
            norm("norm1", width)
            | {"attn.relative_position_bias_table": ((2 * self.window - 1) ** 2, heads)}
            | linear("attn.qkv.to_q", width, width)
            | linear("attn.qkv.to_kv", width, 2 * width)
            | linear("attn.proj", width, width)
            | norm("norm2", width)
            | linear("mlp.linear1.0", width, hidden)
            | conv("mlp.dwconv.0", 1, hidden)
            | linear("mlp.linear2.0", hidden, width)
        )
