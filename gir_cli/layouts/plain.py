"""The layouts of DnCNN, FDnCNN, FFDNet and Real-ESRGAN's compact up-scaler."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from gir_cli.layouts import LAYOUTS, Layout
from gir_cli.layouts.official import Official, blocks, without
from gir_cli.layouts.shapes import Shapes, conv
from gir_cli.params import Param

UNLICENSED = "none stated (the authors' repositories); MIT (KAIR)"
NORMALISATION = ("weight", "bias", "running_mean", "running_var")


def _renamed(shapes: Shapes) -> dict[str, str]:
    """Leave batch normalisation out, where a file has it, and number layers as without it.

    It is folded into the convolution before, whose bias then is where the normalisation's was.
    """
    count = blocks(shapes, "model.")
    norms = {number for number in range(count) if f"model.{number}.running_var" in shapes}
    if not norms:
        return without(shapes)
    for number in norms:
        kernel = shapes[f"model.{number - 1}.weight"]
        if len(kernel) != 4 or any(shapes[f"model.{number}.{part}"] != kernel[:1] for part in NORMALISATION):
            raise ValueError(f"layer {number} does not normalise what the one before gives")
    layers = [number for number in range(count) if number not in norms and f"model.{number}.weight" in shapes]
    found: dict[str, str] = {}
    for place, number in enumerate(layers):
        biased = number + 1 if number + 1 in norms else number
        found[f"model.{2 * place}.weight"] = f"model.{number}.weight"
        found[f"model.{2 * place}.bias"] = f"model.{biased}.bias"
    return found


def _kernels(shapes: Shapes) -> list[tuple[int, ...]]:
    """Return the shapes of the kernels `model.N.weight` in order."""
    found = (shapes.get(f"model.{number}.weight", ()) for number in range(blocks(shapes, "model.")))
    return [shape for shape in found if len(shape) == 4]


def _plain(shapes: Shapes, *, extra: int, fold: int) -> dict[str, Any]:
    """Return the sizes if the stack takes `extra` channels beside those that it gives, else nothing."""
    kernels = _kernels(shapes)
    if len(kernels) < 2 or not all(re.fullmatch(r"model\.\d+\.\w+", name) for name in shapes):
        return {}
    inner, outer = kernels[0][1], kernels[-1][0]
    folded = inner == outer + 1 and outer in (4, 12)  # FFDNet of gray or colour
    if inner != outer + extra or folded != (fold == 2):
        return {}
    return {
        "width": kernels[0][0],
        "depth": len(kernels),
        "channels": outer // fold**2,
    }


def _stack(extra: int, fold: int = 1) -> Official:
    return Official(
        keys=("model.0.weight", "model.2.weight"),
        renamed=_renamed,
        sizes=lambda shapes: _plain(shapes, extra=extra, fold=fold),
        license=UNLICENSED,
    )


@dataclass(frozen=True)
class PlainConfig(Layout):
    """Sizes of a plain stack of convolutions.

    It works on pixels folded by `fold`, with `extra` channels beside.
    """

    width: Annotated[int, Param("channels inside", 1, 1024)] = 64
    depth: Annotated[int, Param("convolutions in a row", 2, 200)] = 20
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3

    extra, fold = 0, 1

    def tensors(self) -> Shapes:
        pixels = self.channels * self.fold**2
        made = conv("model.0", pixels + self.extra, self.width)
        for number in range(1, self.depth - 1):
            made |= conv(f"model.{2 * number}", self.width, self.width)
        return made | conv(f"model.{2 * self.depth - 2}", self.width, pixels)


@LAYOUTS.add("dncnn")
@dataclass(frozen=True)
class DncnnConfig(PlainConfig):
    """Sizes of a DnCNN."""

    official = _stack(extra=0)


@LAYOUTS.add("fdncnn")
@dataclass(frozen=True)
class FdncnnConfig(PlainConfig):
    """Sizes of a flexible DnCNN, which takes a map of the noise beside the image."""

    extra = 1
    official = _stack(extra=1)


@LAYOUTS.add("ffdnet")
@dataclass(frozen=True)
class FfdnetConfig(PlainConfig):
    """Sizes of an FFDNet; those of the colour network, where the gray one has 64 channels and 15 convolutions."""

    width: Annotated[int, Param("channels inside", 1, 1024)] = 96
    depth: Annotated[int, Param("convolutions in a row", 2, 200)] = 12

    extra, fold = 1, 2
    official = _stack(extra=1, fold=2)


def _srvgg_sizes(shapes: Shapes) -> dict[str, Any]:
    count = blocks(shapes, "body.")
    width, channels = shapes["body.0.weight"][:2]
    rows = shapes.get(f"body.{count - 1}.weight", (0,))[0]
    scale = math.isqrt(rows // max(channels, 1))
    if len(shapes["body.1.weight"]) != 1 or len(shapes["body.0.weight"]) != 4:
        return {}
    return {"width": width, "depth": count // 2 - 1, "scale": scale, "channels": channels}


@LAYOUTS.add("srvgg")
@dataclass(frozen=True)
class SrvggConfig(Layout):
    """Sizes of a compact up-scaler."""

    width: Annotated[int, Param("channels inside", 1, 1024)] = 64
    depth: Annotated[int, Param("convolutions between the first and the last", 0, 200)] = 32
    scale: Annotated[int, Param("how many times larger the result is", 1, 8)] = 4
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3

    official = Official(
        keys=("body.0.weight", "body.1.weight", "body.2.weight"),
        sizes=_srvgg_sizes,
        license="BSD-3-Clause (Real-ESRGAN)",
    )

    def tensors(self) -> Shapes:
        made: Shapes = {}
        inner = self.channels
        for number in range(self.depth + 1):
            made |= conv(f"body.{2 * number}", inner, self.width) | {f"body.{2 * number + 1}.weight": (self.width,)}
            inner = self.width
        return made | conv(f"body.{2 * self.depth + 2}", inner, self.channels * self.scale**2)
