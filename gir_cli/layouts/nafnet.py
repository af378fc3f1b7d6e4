"""The layout of NAFNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from gir_cli.errors import UsageError
from gir_cli.layouts import LAYOUTS, Layout
from gir_cli.layouts.official import Official, blocks, counts, spelled
from gir_cli.layouts.shapes import Shapes, conv, norm, repeated
from gir_cli.params import Param

DEEPEST = 8  # levels
GOPRO = "1-1-1-28"  # encoder of the deblurring networks, which are published for local pooling


def _sizes(shapes: Shapes) -> dict[str, Any]:
    width, channels = shapes["intro.weight"][:2]
    levels = blocks(shapes, "downs.")
    if levels > DEEPEST:
        return {}
    deep = width << levels
    encoder = spelled(blocks(shapes, f"encoders.{level}.") for level in range(levels))
    return {
        "width": width,
        "encoder": encoder,
        "middle": blocks(shapes, "middle_blks."),
        "decoder": spelled(blocks(shapes, f"decoders.{level}.") for level in range(levels)),
        "spread": shapes["middle_blks.0.conv1.weight"][0] // deep,
        "feed": shapes["middle_blks.0.conv4.weight"][0] // deep,
        "local": 256 if encoder == GOPRO else 0,
        "channels": channels,
    }


@LAYOUTS.add("nafnet")
@dataclass(frozen=True)
class NafnetConfig(Layout):
    """Sizes of a NAFNet."""

    width: Annotated[int, Param("channels of the first level", 1, 512)] = 32
    encoder: Annotated[str, Param("blocks of each level on the way down")] = "1-1-1-28"
    middle: Annotated[int, Param("blocks at the bottom", 0, 200)] = 1
    decoder: Annotated[str, Param("blocks of each level on the way up, lowest first")] = "1-1-1-1"
    spread: Annotated[int, Param("factor of channels in the first half of a block", 2, 8)] = 2
    feed: Annotated[int, Param("factor of channels in the second half of a block", 2, 8)] = 2
    local: Annotated[
        int, Param("side in pixels of the crops it was trained on, for means taken locally; 0 for whole means", 0, 4096)
    ] = 0
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3

    official = Official(
        keys=("intro.weight", "ending.weight", "middle_blks.0.sca.1.weight", "middle_blks.0.conv4.weight"),
        sizes=_sizes,
        license="MIT (NAFNet)",
    )

    def tensors(self) -> Shapes:
        encoder = counts(self.encoder)
        levels = len(encoder)
        if levels > DEEPEST:
            raise UsageError(f"nafnet: encoder={self.encoder} has more than {DEEPEST} levels")
        decoder = counts(self.decoder, length=levels)
        made = conv("intro", self.channels, self.width)
        for level, number in enumerate(encoder):
            width = self.width << level
            made |= repeated(f"encoders.{level}", number, self._block(width)) | conv(
                f"downs.{level}", width, 2 * width, 2
            )
        made |= repeated("middle_blks", self.middle, self._block(self.width << levels))
        for step, number in enumerate(decoder):
            width = self.width << levels - step
            made |= conv(f"ups.{step}.0", width, 2 * width, 1, bias=False)
            made |= repeated(f"decoders.{step}", number, self._block(width // 2))
        return made | conv("ending", self.width, self.channels)

    def _block(self, width: int) -> Shapes:
        wide, feed = width * self.spread, width * self.feed
        return (
            norm("norm1", width)
            | conv("conv1", width, wide, 1)
            | conv("conv2", 1, wide)
            | conv("sca.1", wide // 2, wide // 2, 1)
            | conv("conv3", wide // 2, width, 1)
            | norm("norm2", width)
            | conv("conv4", width, feed, 1)
            | conv("conv5", feed // 2, width, 1)
            | {"beta": (1, width, 1, 1), "gamma": (1, width, 1, 1)}
        )
