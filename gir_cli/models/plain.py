"""Plain stacks of 3×3 convolutions: DnCNN, FDnCNN, FFDNet and Real-ESRGAN's compact up-scaler."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.models import MODELS, Description, bounded
from gir_cli.models.blocks import conv3, exactly
from gir_cli.models.official import Official, Shapes, blocks
from gir_cli.params import Checked, Param

EPS = 1e-4  # of the batch normalisation
MIDDLE = 25 / 255  # the noise level where none is given
UNLICENSED = "none stated (the authors' repositories); MIT (KAIR)"


@dataclass(frozen=True)
class PlainConfig(Checked):
    """Sizes of a plain stack of convolutions."""

    width: Annotated[int, Param("channels inside", 1, 1024)] = 64
    depth: Annotated[int, Param("convolutions in a row", 2, 200)] = 20
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3


@dataclass(frozen=True)
class FfdnetConfig(PlainConfig):
    """Sizes of an FFDNet; those of the colour network, where the gray one has 64 channels and 15 convolutions."""

    width: Annotated[int, Param("channels inside", 1, 1024)] = 96
    depth: Annotated[int, Param("convolutions in a row", 2, 200)] = 12


@dataclass(frozen=True)
class SrvggConfig(Checked):
    """Sizes of a compact up-scaler."""

    width: Annotated[int, Param("channels inside", 1, 1024)] = 64
    depth: Annotated[int, Param("convolutions between the first and the last", 0, 200)] = 32
    scale: Annotated[int, Param("how many times larger the result is", 1, 8)] = 4
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3


def stack(inner: int, outer: int, config: PlainConfig) -> nn.Sequential:
    """Return `depth` convolutions with ReLUs between."""
    layers: list[nn.Module] = [conv3(inner, config.width), nn.ReLU(inplace=True)]
    for _ in range(config.depth - 2):
        layers += [conv3(config.width, config.width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, conv3(config.width, outer))


def run(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Return what `layers` make of `x`, the first and the last convolution exact."""
    return exactly(layers[-1], layers[1:-1](exactly(layers[0], x)))


def sigma_map(sigma: Tensor | float, x: Tensor) -> Tensor:
    """Return `sigma`, a number or a tensor that broadcasts to (N, 1, 1, 1), at every pixel of `x`."""
    sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    return sigma.expand(x.shape[0], 1, *x.shape[-2:])


def _kernels(shapes: Shapes) -> list[tuple[int, ...]]:
    """Return the shapes of the kernels `model.N.weight` in order."""
    found = (shapes.get(f"model.{number}.weight", ()) for number in range(blocks(shapes, "model.")))
    return [shape for shape in found if len(shape) == 4]


def _folded(tensors: dict[str, Any]) -> dict[str, Any]:
    """Fold batch normalisation, where a file has it, into the convolution before; number layers as without it."""
    if not any(name.endswith(".running_var") for name in tensors):
        return tensors
    out: dict[str, Any] = {}
    for number in range(blocks(tensors, "model.")):
        kernel = tensors.get(f"model.{number}.weight")
        if kernel is None or kernel.ndim != 4:
            continue
        bias, norm = tensors.get(f"model.{number}.bias", kernel.new_zeros(len(kernel))), f"model.{number + 1}."
        if f"{norm}running_var" in tensors:
            mean, spread = tensors[f"{norm}running_mean"], torch.sqrt(tensors[f"{norm}running_var"] + EPS)
            gain = tensors[f"{norm}weight"] / spread
            kernel, bias = kernel * gain[:, None, None, None], (bias - mean) * gain + tensors[f"{norm}bias"]
        out |= {f"model.{len(out)}.weight": kernel, f"model.{len(out)}.bias": bias}
    return out


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
        renamed=_folded,
        sizes=lambda shapes: _plain(shapes, extra=extra, fold=fold),
        license=UNLICENSED,
    )


class _Stack(nn.Module):
    """What the three denoisers share."""

    Config = PlainConfig
    extra, fold = 0, 1

    def __init__(self, config: PlainConfig | None = None) -> None:
        super().__init__()
        self.config = config or self.Config()
        folded = self.config.channels * self.fold**2
        self.model = stack(folded + self.extra, folded, self.config)

    @property
    def description(self) -> Description:
        config, fold = self.config, self.fold
        return Description(
            config.channels,
            multiple=fold,
            padding="replicate",
            reach=bounded(config.depth * fold + fold - 1),
            noise_level=self.extra > 0,
            bytes_per_pixel=12 * config.width // fold**2 + 64,
        )


@MODELS.add("dncnn")
class Dncnn(_Stack):
    """DnCNN: (N, C, H, W) -> same. It predicts the noise (Zhang et al., 2017, Fig. 1)."""

    official = _stack(extra=0)

    def forward(self, x: Tensor) -> Tensor:
        return x - run(self.model, x)


@MODELS.add("fdncnn")
class Fdncnn(_Stack):
    """Flexible DnCNN: (N, C, H, W) and the noise's standard deviation, in [0, 1] -> same shape."""

    extra = 1
    official = _stack(extra=1)

    def forward(self, x: Tensor, sigma: Tensor | float = MIDDLE) -> Tensor:
        return run(self.model, torch.cat((x, sigma_map(sigma, x)), 1))


@MODELS.add("ffdnet")
class Ffdnet(_Stack):
    """FFDNet: (N, C, H, W) and the noise's standard deviation, in [0, 1] -> same shape; H and W even.

    It works on pixels folded by 2 (Zhang et al., 2018, Fig. 2).
    """

    Config = FfdnetConfig
    extra, fold = 1, 2
    official = _stack(extra=1, fold=2)

    def forward(self, x: Tensor, sigma: Tensor | float = MIDDLE) -> Tensor:
        folded = functional.pixel_unshuffle(x, 2)
        return functional.pixel_shuffle(run(self.model, torch.cat((folded, sigma_map(sigma, folded)), 1)), 2)


def _srvgg_sizes(shapes: Shapes) -> dict[str, Any]:
    count = blocks(shapes, "body.")
    width, channels = shapes["body.0.weight"][:2]
    rows = shapes.get(f"body.{count - 1}.weight", (0,))[0]
    scale = math.isqrt(rows // max(channels, 1))
    if len(shapes["body.1.weight"]) != 1 or len(shapes["body.0.weight"]) != 4:
        return {}
    return {"width": width, "depth": count // 2 - 1, "scale": scale, "channels": channels}


@MODELS.add("srvgg")
class Srvgg(nn.Module):
    """SRVGGNetCompact: (N, C, H, W) -> (N, C, H · scale, W · scale).

    The small networks of Real-ESRGAN (Wang et al., 2021): every layer at the input's size, then one
    pixel shuffle, added to the input with each pixel repeated.
    """

    Config = SrvggConfig
    official = Official(
        keys=("body.0.weight", "body.1.weight", "body.2.weight"),
        sizes=_srvgg_sizes,
        license="BSD-3-Clause (Real-ESRGAN)",
    )

    def __init__(self, config: SrvggConfig = SrvggConfig()) -> None:
        super().__init__()
        width = config.width
        self.config = config
        layers: list[nn.Module] = [conv3(config.channels, width), nn.PReLU(width)]
        for _ in range(config.depth):
            layers += [conv3(width, width), nn.PReLU(width)]
        self.body = nn.Sequential(*layers, conv3(width, config.channels * config.scale**2))

    @property
    def description(self) -> Description:
        config = self.config
        reach = bounded(config.depth + 2)
        return Description(config.channels, config.scale, reach=reach, bytes_per_pixel=12 * config.width + 400)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.config.scale
        residual = functional.pixel_shuffle(run(self.body, x), scale)
        return residual + functional.interpolate(x, scale_factor=scale, mode="nearest")
