"""The layout of SRResNet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from gir_cli.layouts import LAYOUTS, Layout
from gir_cli.layouts.official import Official, blocks
from gir_cli.layouts.shapes import Shapes, conv, repeated
from gir_cli.params import Param

OTHERS = {"recon_trunk.": "body.", "HRconv.": "conv_hr."}  # names of the same network in another toolbox


def _renamed(shapes: Shapes) -> dict[str, str]:
    """Turn the other toolbox's names into this network's."""
    return {_modern(name): name for name in shapes}


def _modern(name: str) -> str:
    for before, after in OTHERS.items():
        name = re.sub(f"^{re.escape(before)}", after, name)
    return name


def _sizes(shapes: Shapes) -> dict[str, Any]:
    width, channels = shapes["conv_first.weight"][:2]
    if "upconv2.weight" in shapes:
        scale = 4
    else:
        rows = shapes.get("upconv1.weight", (width,))[0]
        scale = {4: 2, 9: 3}.get(rows // width, 1)
    return {"width": width, "blocks": blocks(shapes, "body."), "scale": scale, "channels": channels}


@LAYOUTS.add("srresnet")
@dataclass(frozen=True)
class SrresnetConfig(Layout):
    """Sizes of an SRResNet."""

    width: Annotated[int, Param("channels inside", 1, 1024)] = 64
    blocks: Annotated[int, Param("residual blocks", 1, 200)] = 16
    scale: Annotated[int, Param("how many times larger the result is: 1, 2, 3 or 4", 1, 4)] = 1
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3

    official = Official(
        keys=("body.0.conv1.weight", "conv_first.weight", "conv_hr.weight", "conv_last.weight"),
        absent=("conv_after_body.weight", "conv_body.weight"),
        renamed=_renamed,
        sizes=_sizes,
        license="Apache-2.0 (BasicSR)",
    )

    def tensors(self) -> Shapes:
        width = self.width
        shuffles = {2: (2,), 3: (3,), 4: (2, 2)}.get(self.scale, ())
        made = conv("conv_first", self.channels, width)
        made |= repeated("body", self.blocks, conv("conv1", width, width) | conv("conv2", width, width))
        for number, factor in enumerate(shuffles, 1):
            made |= conv(f"upconv{number}", width, width * factor**2)
        return made | conv("conv_hr", width, width) | conv("conv_last", width, self.channels)
