"""The layout of SCUNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from gir_cli.errors import UsageError
from gir_cli.layouts import LAYOUTS, Layout
from gir_cli.layouts.official import Official, blocks, counts, spelled
from gir_cli.layouts.shapes import Shapes, conv, deconv, inside, linear, norm, repeated
from gir_cli.params import Param

HEAD, WINDOW = 32, 8  # channels of a head, side of a window
PLACES = ("m_down1", "m_down2", "m_down3", "m_body", "m_up3", "m_up2", "m_up1")


def _is_block(place: str, number: int) -> str:
    return f"{place}.{number}.conv1_1.weight"


def _sizes(shapes: Shapes) -> dict[str, Any]:
    width, channels = shapes["m_head.0.weight"][:2]
    numbers = [sum(_is_block(place, i) in shapes for i in range(blocks(shapes, f"{place}."))) for place in PLACES]
    return {"width": width, "blocks": spelled(numbers), "channels": channels}


@LAYOUTS.add("scunet")
@dataclass(frozen=True)
class ScunetConfig(Layout):
    """Sizes of a SCUNet."""

    width: Annotated[int, Param("channels of the first level, a multiple of 64", 64, 512)] = 64
    blocks: Annotated[str, Param("blocks of the seven levels, down and up again")] = "4-4-4-4-4-4-4"
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3

    official = Official(
        keys=("m_head.0.weight", "m_body.0.trans_block.msa.relative_position_params", "m_tail.0.weight"),
        sizes=_sizes,
        license="Apache-2.0 (SCUNet)",
    )

    def tensors(self) -> Shapes:
        width, numbers = self.width, counts(self.blocks, length=7)
        if width % (2 * HEAD):
            raise UsageError(f"scunet: width={width} is no multiple of {2 * HEAD}")
        made = conv("m_head.0", self.channels, width, bias=False) | conv("m_tail.0", width, self.channels, bias=False)
        made |= repeated("m_body", numbers[3], _block(8 * width))
        for level in range(3):
            down, up, wide = numbers[level], numbers[6 - level], width << level
            made |= repeated(f"m_down{level + 1}", down, _block(wide))
            made |= conv(f"m_down{level + 1}.{down}", wide, 2 * wide, 2, bias=False)
            made |= deconv(f"m_up{level + 1}.0", 2 * wide, wide, 2, bias=False)
            made |= repeated(f"m_up{level + 1}", up, _block(wide), first=1)
        return made


def _block(width: int) -> Shapes:
    half = width // 2
    return (
        inside("trans_block", _attention_block(half))
        | conv("conv1_1", width, width, 1)
        | conv("conv1_2", width, width, 1)
        | conv("conv_block.0", half, half, bias=False)
        | conv("conv_block.2", half, half, bias=False)
    )


def _attention_block(width: int) -> Shapes:
    side = 2 * WINDOW - 1
    return (
        norm("ln1", width)
        | {"msa.relative_position_params": (width // HEAD, side, side)}
        | linear("msa.embedding_layer", width, 3 * width)
        | linear("msa.linear", width, width)
        | norm("ln2", width)
        | linear("mlp.0", width, 4 * width)
        | linear("mlp.2", 4 * width, width)
    )
