"""The layout of SwinIR."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from gir_cli.errors import UsageError
from gir_cli.layouts import LAYOUTS, Layout
from gir_cli.layouts.official import MOST, Official, blocks, counts, spelled, without
from gir_cli.layouts.shapes import Shapes, check_heads, conv, inside, linear, norm, repeated, together
from gir_cli.params import Param

JPEG_WINDOW = 7  # the networks for JPEG have it, and levels up to 255


def _renamed(shapes: Shapes) -> dict[str, str]:
    """Leave out what follows from the size of the picture; it is computed when needed."""
    return without(shapes, "attn_mask", "relative_position_index")


def _unshifted(shapes: Shapes) -> dict[str, Any]:
    """Tell from the tables that files may keep: there are no masks where the training pictures were one window."""
    kept = {name.rpartition(".")[2] for name in shapes if ".blocks.1." in name}
    return {"shift": "no"} if "relative_position_index" in kept and "attn_mask" not in kept else {}


def _upsampler(shapes: Shapes, channels: int) -> dict[str, Any]:
    """Return what the layers after the groups show of the head and its scale."""
    if "conv_up1.weight" in shapes:
        scale = 4 if "conv_up2.weight" in shapes else 2
        return {"upsampler": "nearest+conv", "scale": scale, "features": shapes["conv_up1.weight"][0]}
    if "conv_before_upsample.0.weight" in shapes:
        features = shapes["conv_before_upsample.0.weight"][0]
        steps = [shape[0] // features for name, shape in shapes.items() if _is_step(name)]
        return {"upsampler": "pixelshuffle", "scale": math.isqrt(math.prod(steps)), "features": features}
    if "upsample.0.weight" in shapes:
        rows = shapes["upsample.0.weight"][0]
        return {"upsampler": "pixelshuffledirect", "scale": math.isqrt(rows // channels)}
    return {"upsampler": "none", "scale": 1}


def _is_step(name: str) -> bool:
    return name.startswith("upsample.") and name.endswith(".weight")


def _sizes(shapes: Shapes) -> dict[str, Any]:
    width, channels = shapes["conv_first.weight"][:2]
    count = blocks(shapes, "layers.")
    if count > MOST:
        return {}
    groups = [f"layers.{number}.residual_group.blocks." for number in range(count)]
    tables = [shapes[f"{group}0.attn.relative_position_bias_table"] for group in groups]
    window = (math.isqrt(tables[0][0]) + 1) // 2
    return {
        "width": width,
        "depths": spelled(blocks(shapes, group) for group in groups),
        "heads": spelled(heads for _, heads in tables),
        "window": window,
        "hidden": shapes[f"{groups[0]}0.mlp.fc1.weight"][0],
        "resi": "3conv" if "layers.0.conv.0.weight" in shapes else "1conv",
        "img_range": 255.0 if window == JPEG_WINDOW else 1.0,
        "channels": channels,
        **_upsampler(shapes, channels),
    }


@LAYOUTS.add("swinir")
@dataclass(frozen=True)
class SwinirConfig(Layout):
    """Sizes of a SwinIR."""

    width: Annotated[int, Param("channels of a token", 1, 1024)] = 180
    depths: Annotated[str, Param("blocks of each group")] = "6-6-6-6-6-6"
    heads: Annotated[str, Param("heads of each group")] = "6-6-6-6-6-6"
    window: Annotated[int, Param("side of the windows", 2, 64)] = 8
    hidden: Annotated[int, Param("channels of the feed-forward half", 1, 4096)] = 360
    resi: Annotated[Literal["1conv", "3conv"], Param("convolutions at the end of a group")] = "1conv"
    upsampler: Annotated[
        Literal["none", "pixelshuffle", "pixelshuffledirect", "nearest+conv"], Param("how the result is made")
    ] = "none"
    features: Annotated[int, Param("channels of the up-sampling layers", 1, 1024)] = 64
    scale: Annotated[int, Param("how many times larger the result is", 1, 8)] = 1
    shift: Annotated[
        Literal["yes", "no"], Param("whether every second block shifts its windows; no if trained on single windows")
    ] = "yes"
    img_range: Annotated[float, Param("what white is inside: 1, or 255 for JPEG", 1e-3, 1e5)] = 1.0
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3

    official = Official(
        keys=("conv_first.weight", "layers.0.residual_group.blocks.0.attn.qkv.weight", "norm.weight"),
        renamed=_renamed,
        sizes=_sizes,
        aside=_unshifted,
        license="Apache-2.0 (SwinIR)",
    )

    def tensors(self) -> Shapes:
        depths = counts(self.depths)
        heads = counts(self.heads, length=len(depths), low=1)
        groups = (
            inside(f"layers.{number}", self._group(*sizes))
            for number, sizes in enumerate(zip(depths, heads, strict=True))
        )
        return (
            conv("conv_first", self.channels, self.width)
            | norm("patch_embed.norm", self.width)
            | together(groups)
            | norm("norm", self.width)
            | self._tail("conv_after_body")
            | self._head()
        )

    def _group(self, depth: int, heads: int) -> Shapes:
        check_heads(self.width, heads)
        return repeated("residual_group.blocks", depth, self._block(heads)) | self._tail("conv")

    def _block(self, heads: int) -> Shapes:
        width = self.width
        return (
            norm("norm1", width)
            | {"attn.relative_position_bias_table": ((2 * self.window - 1) ** 2, heads)}
            | linear("attn.qkv", width, 3 * width)
            | linear("attn.proj", width, width)
            | norm("norm2", width)
            | linear("mlp.fc1", width, self.hidden)
            | linear("mlp.fc2", self.hidden, width)
        )

    def _tail(self, name: str) -> Shapes:
        width, narrow = self.width, self.width // 4
        if self.resi == "1conv":
            return conv(name, width, width)
        return (
            conv(f"{name}.0", width, narrow) | conv(f"{name}.2", narrow, narrow, 1) | conv(f"{name}.4", narrow, width)
        )

    def _head(self) -> Shapes:
        width, features, channels = self.width, self.features, self.channels
        if self.upsampler == "pixelshuffledirect":
            return conv("upsample.0", width, channels * self.scale**2)
        expected = {"none": (1,), "nearest+conv": (2, 4)}.get(self.upsampler)
        if expected and self.scale not in expected:
            raise UsageError(f"swinir: scale={self.scale} does not go with the upsampler {self.upsampler}")
        if self.upsampler == "none":
            return conv("conv_last", width, channels)
        made = conv("conv_before_upsample.0", width, features) | conv("conv_last", features, channels)
        if self.upsampler == "pixelshuffle":
            return made | self._enlarger()
        names = ("conv_up1", "conv_up2", "conv_hr") if self.scale == 4 else ("conv_up1", "conv_hr")
        return made | together(conv(name, features, features) for name in names)

    def _enlarger(self) -> Shapes:
        scale, features = self.scale, self.features
        if scale == 3:
            return conv("upsample.0", features, 9 * features)
        if scale & (scale - 1):
            raise UsageError(f"swinir: scale={scale} is neither 3 nor a power of 2")
        return together(conv(f"upsample.{2 * step}", features, 4 * features) for step in range(scale.bit_length() - 1))
