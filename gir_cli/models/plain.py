"""Plain stacks of 3×3 convolutions: DnCNN, FDnCNN, FFDNet and Real-ESRGAN's compact up-scaler."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.layouts.plain import DncnnConfig, FdncnnConfig, FfdnetConfig, PlainConfig, SrvggConfig
from gir_cli.models import MODELS, Description, bounded
from gir_cli.models.blocks import conv3, exactly

MIDDLE = 25 / 255  # the noise level where none is given


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


class _Stack(nn.Module):
    """What the three denoisers share."""

    Config: type[PlainConfig]

    def __init__(self, config: PlainConfig | None = None) -> None:
        super().__init__()
        self.config = config or self.Config()
        pixels = self.config.channels * self.config.fold**2
        self.model = stack(pixels + self.config.extra, pixels, self.config)

    @property
    def description(self) -> Description:
        config, fold = self.config, self.config.fold
        return Description(
            config.channels,
            multiple=fold,
            padding="replicate",
            reach=bounded(config.depth * fold + fold - 1),
            noise_level=config.extra > 0,
            bytes_per_pixel=12 * config.width // fold**2 + 64,
        )


@MODELS.add("dncnn")
class Dncnn(_Stack):
    """DnCNN: (N, C, H, W) -> same. It predicts the noise (Zhang et al., 2017, Fig. 1)."""

    Config = DncnnConfig

    def forward(self, x: Tensor) -> Tensor:
        return x - run(self.model, x)


@MODELS.add("fdncnn")
class Fdncnn(_Stack):
    """Flexible DnCNN: (N, C, H, W) and the noise's standard deviation, in [0, 1] -> same shape."""

    Config = FdncnnConfig

    def forward(self, x: Tensor, sigma: Tensor | float = MIDDLE) -> Tensor:
        return run(self.model, torch.cat((x, sigma_map(sigma, x)), 1))


@MODELS.add("ffdnet")
class Ffdnet(_Stack):
    """FFDNet: (N, C, H, W) and the noise's standard deviation, in [0, 1] -> same shape; H and W even.

    It works on pixels folded by 2 (Zhang et al., 2018, Fig. 2).
    """

    Config = FfdnetConfig

    def forward(self, x: Tensor, sigma: Tensor | float = MIDDLE) -> Tensor:
        folded = functional.pixel_unshuffle(x, 2)
        return functional.pixel_shuffle(run(self.model, torch.cat((folded, sigma_map(sigma, folded)), 1)), 2)


@MODELS.add("srvgg")
class Srvgg(nn.Module):
    """SRVGGNetCompact: (N, C, H, W) -> (N, C, H · scale, W · scale).

    The small networks of Real-ESRGAN (Wang et al., 2021): every layer at the input's size, then one
    pixel shuffle, added to the input with each pixel repeated.
    """

    Config = SrvggConfig

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
