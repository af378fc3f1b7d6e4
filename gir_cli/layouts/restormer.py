"""The layout of Restormer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from gir_cli.layouts import LAYOUTS, Layout
from gir_cli.layouts.official import Official, counts
from gir_cli.layouts.shapes import Shapes, conv
from gir_cli.layouts.transposed import USUAL, channel_heads, pyramid, shared_sizes, transposed_block
from gir_cli.params import Param


def _sizes(shapes: Shapes) -> dict[str, Any]:
    ending = "dual-pixel" if "skip_conv.weight" in shapes else "residual"
    return {**shared_sizes(shapes, "attn", "ffn"), "heads": channel_heads(shapes, "attn"), "ending": ending}


@LAYOUTS.add("restormer")
@dataclass(frozen=True)
class RestormerConfig(Layout):
    """Sizes of a Restormer."""

    width: Annotated[int, Param("channels of the first level", 2, 512)] = 48
    blocks: Annotated[str, Param("blocks of the four levels")] = "4-6-6-8"
    refinement: Annotated[int, Param("blocks at full size at the end", 0, 99)] = 4
    heads: Annotated[str, Param("heads of the four levels")] = "1-2-4-8"
    factor: Annotated[float, Param("factor of channels in the feed-forward half", 1, 8)] = USUAL
    norm: Annotated[Literal["with-bias", "bias-free"], Param("normalisation; bias-free for denoising")] = "with-bias"
    bias: Annotated[Literal["no", "yes"], Param("biases of the convolutions")] = "no"
    ending: Annotated[
        Literal["residual", "direct", "dual-pixel"],
        Param("whether the result is added to the image, is the image, or comes of two views"),
    ] = "residual"
    channels: Annotated[int, Param("channels of the input", 1, 64)] = 3

    official = Official(
        keys=("patch_embed.proj.weight", "encoder_level1.0.attn.temperature", "output.weight"),
        absent=("prompt1.prompt_param",),
        sizes=_sizes,
        license="Academic Public License, no commercial use (Restormer)",
    )

    def tensors(self) -> Shapes:
        width, bias, dual = self.width, self.bias == "yes", self.ending == "dual-pixel"
        heads = counts(self.heads, length=4, low=1)

        def block(width: int, level: int) -> Shapes:
            return transposed_block(width, heads[level], self.factor, self.norm, bias=bias)

        return (
            conv("patch_embed.proj", self.channels, width, bias=bias)
            | pyramid(width, self.blocks, self.refinement, block, bias=bias)
            | (conv("skip_conv", width, 2 * width, 1, bias=bias) if dual else {})
            | conv("output", 2 * width, self.channels // 2 if dual else self.channels, bias=bias)
        )
