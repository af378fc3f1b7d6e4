"""The layout of X-Restormer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from gir_cli.errors import UsageError
from gir_cli.layouts import LAYOUTS, Layout
from gir_cli.layouts.official import Official, counts, spelled
from gir_cli.layouts.shapes import Shapes, conv
from gir_cli.layouts.transposed import (
    LEVELS,
    USUAL,
    channel_attention,
    channel_heads,
    gated,
    pixel_norm,
    pyramid,
    shared_sizes,
)
from gir_cli.params import Param


def _sizes(shapes: Shapes) -> dict[str, Any]:
    rows, head = shapes["encoder_level1.0.spatial_attn.rel_pos_emb.rel_height"]
    span = (rows + 1) // 2
    inner = [shapes[f"{level}.0.spatial_attn.qkv.weight"][0] // 3 for level in LEVELS]
    return {
        **shared_sizes(shapes, "channel_attn", "channel_ffn"),
        "heads": channel_heads(shapes, "channel_attn"),
        "spatial": spelled(width // head for width in inner),
        "head": head,
        "window": span * 2 // 3,  # the published overlap is half a window
        "span": span,
    }


@LAYOUTS.add("xrestormer")
@dataclass(frozen=True)
class XrestormerConfig(Layout):
    """Sizes of an X-Restormer."""

    width: Annotated[int, Param("channels of the first level", 2, 512)] = 48
    blocks: Annotated[str, Param("blocks of the four levels")] = "2-4-4-4"
    refinement: Annotated[int, Param("blocks at full size at the end", 0, 99)] = 4
    heads: Annotated[str, Param("heads of the attention between channels")] = "1-2-4-8"
    spatial: Annotated[str, Param("heads of the attention between pixels")] = "1-2-4-8"
    head: Annotated[int, Param("channels of a spatial head", 1, 512)] = 16
    window: Annotated[int, Param("side of the windows of queries", 2, 64)] = 8
    span: Annotated[int, Param("side of the windows of keys around them", 2, 128)] = 12
    factor: Annotated[float, Param("factor of channels in the feed-forward halves", 1, 8)] = USUAL
    norm: Annotated[Literal["with-bias", "bias-free"], Param("normalisation")] = "with-bias"
    bias: Annotated[Literal["no", "yes"], Param("biases of the convolutions")] = "no"
    scale: Annotated[int, Param("how many times larger the result is", 1, 8)] = 1
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3

    official = Official(
        keys=("patch_embed.proj.weight", "encoder_level1.0.spatial_attn.rel_pos_emb.rel_height", "output.weight"),
        sizes=_sizes,
        license="MIT (X-Restormer)",
    )

    def tensors(self) -> Shapes:
        if self.span < self.window or (self.span - self.window) % 2:
            raise UsageError(f"xrestormer: span={self.span} does not lie evenly around window={self.window}")
        width, bias = self.width, self.bias == "yes"
        heads, spatial = (counts(text, length=4, low=1) for text in (self.heads, self.spatial))

        def block(width: int, level: int) -> Shapes:
            return (
                pixel_norm("norm1", width, self.norm)
                | channel_attention("channel_attn", width, heads[level], bias=bias)
                | pixel_norm("norm2", width, self.norm)
                | gated("channel_ffn", width, self.factor, bias=bias)
                | pixel_norm("norm3", width, self.norm)
                | self._spatial_attention("spatial_attn", width, spatial[level])
                | pixel_norm("norm4", width, self.norm)
                | gated("spatial_ffn", width, self.factor, bias=bias)
            )

        return (
            conv("patch_embed.proj", self.channels, width, bias=bias)
            | pyramid(width, self.blocks, self.refinement, block, bias=bias)
            | conv("output", 2 * width, self.channels, bias=bias)
        )

    def _spatial_attention(self, name: str, width: int, heads: int) -> Shapes:
        inner, bias = heads * self.head, self.bias == "yes"
        table = (2 * self.span - 1, self.head)
        return (
            conv(f"{name}.qkv", width, 3 * inner, 1, bias=bias)
            | conv(f"{name}.project_out", inner, width, 1, bias=bias)
            | {f"{name}.rel_pos_emb.rel_height": table, f"{name}.rel_pos_emb.rel_width": table}
        )
