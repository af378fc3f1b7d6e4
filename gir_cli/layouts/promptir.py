"""The layout of PromptIR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from gir_cli.layouts import LAYOUTS, Layout
from gir_cli.layouts.official import Official, counts, spelled, without
from gir_cli.layouts.shapes import Shapes, conv, inside, linear
from gir_cli.layouts.transposed import USUAL, channel_heads, pyramid, shared_sizes, transposed_block
from gir_cli.params import Param

UNUSED = tuple(f"{kind}{number}" for kind in ("chnl_reduce", "reduce_noise_channel_") for number in (1, 2, 3))


def _renamed(shapes: Shapes) -> dict[str, str]:
    """Leave out the six kernels that some files hold and the network never uses."""
    return without(shapes, *(f"{name}.{part}" for name in UNUSED for part in ("weight", "bias")))


def _sizes(shapes: Shapes) -> dict[str, Any]:
    prompts = [shapes[f"prompt{number}.prompt_param"] for number in (1, 2, 3)]
    widths = dict(zip(("narrow", "medium", "wide"), (prompt[2] for prompt in prompts), strict=True))
    return {
        **shared_sizes(shapes, "attn", "ffn"),
        "heads": channel_heads(shapes, "attn"),
        "length": prompts[0][1],
        "sides": spelled(prompt[3] for prompt in prompts),
        **widths,
    }


@LAYOUTS.add("promptir")
@dataclass(frozen=True)
class PromptirConfig(Layout):
    """Sizes of a PromptIR."""

    width: Annotated[int, Param("channels of the first level", 2, 512)] = 48
    blocks: Annotated[str, Param("blocks of the four levels")] = "4-6-6-8"
    refinement: Annotated[int, Param("blocks at full size at the end", 0, 99)] = 4
    heads: Annotated[str, Param("heads of the four levels")] = "1-2-4-8"
    factor: Annotated[float, Param("factor of channels in the feed-forward half", 1, 8)] = USUAL
    norm: Annotated[Literal["with-bias", "bias-free"], Param("normalisation")] = "with-bias"
    bias: Annotated[Literal["no", "yes"], Param("biases of the convolutions")] = "no"
    length: Annotated[int, Param("prompts to mix at each level", 1, 99)] = 5
    narrow: Annotated[int, Param("channels of the first level's prompts", 1, 2048)] = 64
    medium: Annotated[int, Param("channels of the second level's prompts", 1, 2048)] = 128
    wide: Annotated[int, Param("channels of the third level's prompts", 1, 2048)] = 320
    sides: Annotated[str, Param("sides of the three levels' prompts, in features")] = "64-32-16"
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3

    official = Official(
        keys=(
            "patch_embed.proj.weight",
            "encoder_level1.0.attn.temperature",
            "prompt1.prompt_param",
            "prompt3.prompt_param",
            "reduce_noise_level1.weight",
        ),
        renamed=_renamed,
        sizes=_sizes,
        license="academic use only, no commercial use (PromptIR)",
    )

    def tensors(self) -> Shapes:
        width, bias = self.width, self.bias == "yes"
        heads = counts(self.heads, length=4, low=1)

        def block(width: int, level: int) -> Shapes:
            return transposed_block(width, heads[level], self.factor, self.norm, bias=bias)

        made = conv("patch_embed.proj", self.channels, width, bias=bias)
        made |= pyramid(width, self.blocks, self.refinement, block, bias=bias)
        # Unlike Restormer's, the lowest level is narrowed, after its prompt, before it is enlarged.
        made |= conv("up4_3.body.0", 4 * width, 8 * width, bias=False)
        made |= conv("reduce_chan_level3", 6 * width, 4 * width, 1, bias=bias)
        levels = (
            (2 * width, self.narrow, 2 * width),
            (4 * width, self.medium, 4 * width),
            (8 * width, self.wide, 4 * width),
        )
        sides = counts(self.sides, length=3, low=1)
        for number, ((inner, prompt, outer), side) in enumerate(zip(levels, sides, strict=True), 1):
            made |= self._prompt(f"prompt{number}", inner, prompt, side)
            made |= inside(f"noise_level{number}", block(inner + prompt, 2))
            made |= conv(f"reduce_noise_level{number}", inner + prompt, outer, 1, bias=bias)
        return made | conv("output", 2 * width, self.channels, bias=bias)

    def _prompt(self, name: str, width: int, outer: int, side: int) -> Shapes:
        maps = {f"{name}.prompt_param": (1, self.length, outer, side, side)}
        shares = linear(f"{name}.linear_layer", width, self.length)
        return maps | shares | conv(f"{name}.conv3x3", outer, outer, bias=False)
