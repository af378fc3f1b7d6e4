"""RRDBNet, the network of ESRGAN and Real-ESRGAN."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gir_cli.errors import UsageError
from gir_cli.models import MODELS, Description, bounded
from gir_cli.models.blocks import conv3, doubled, exactly, leaky, shrink_start
from gir_cli.models.official import Official, Shapes, blocks
from gir_cli.params import Checked, Param

SHARE = 0.2  # of a residual that is added (Wang et al., 2018, Sec. 3.1)
DEPTH = 15  # convolutions in a row in one block


@dataclass(frozen=True)
class RrdbnetConfig(Checked):
    """Sizes of an RRDBNet."""

    width: Annotated[int, Param("channels between blocks", 1, 1024)] = 64
    blocks: Annotated[int, Param("residual-in-residual dense blocks", 1, 200)] = 23
    growth: Annotated[int, Param("channels that each dense convolution adds", 1, 512)] = 32
    scale: Annotated[int, Param("how many times larger the result is: 1, 2, 4 or 8", 1, 8)] = 4
    unshuffle: Annotated[int, Param("factor by which pixels are first folded into channels", 1, 8)] = 1
    channels: Annotated[int, Param("channels of the image", 1, 64)] = 3


class DenseBlock(nn.Module):
    """Five convolutions, each of all that came before (Wang et al., 2018, Fig. 4)."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3, self.conv4 = (conv3(width + i * growth, growth) for i in range(4))
        self.conv5 = conv3(width + 4 * growth, width)

    def forward(self, x: Tensor) -> Tensor:  # (N, width, H, W) -> same
        seen = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat((seen, leaky(conv(seen))), 1)
        return x + SHARE * self.conv5(seen)


class Rrdb(nn.Module):
    """Three dense blocks inside one more residual."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return x + SHARE * self.rdb3(self.rdb2(self.rdb1(x)))


NAMES = {"RRDB_trunk": "body", "trunk_conv": "conv_body", "upconv": "conv_up", "HRconv": "conv_hr"}


def _renamed(tensors: dict[str, Any]) -> dict[str, Any]:
    """Turn both older generations of names into today's."""
    return {_modern(name, _ups(tensors)): tensor for name, tensor in tensors.items()}


def _ups(names: dict[str, Any]) -> int:
    """Return the number of enlargements in a network of the oldest names, whose last layer is model.(3n + 4)."""
    return max((blocks(names, "model.") - 5) // 3, 0)


def _modern(name: str, ups: int) -> str:
    body = re.fullmatch(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(\w+)", name)
    if body:
        return "body.{}.rdb{}.conv{}.{}".format(*body.groups())
    if old := re.fullmatch(r"model\.1\.sub\.\d+\.(weight|bias)", name):
        return f"conv_body.{old[1]}"
    if old := re.fullmatch(r"model\.(\d+)\.(weight|bias)", name):
        places = {0: "conv_first", 3 * ups + 2: "conv_hr", 3 * ups + 4: "conv_last"}
        number = int(old[1])
        return f"{places.get(number, f'conv_up{number // 3}')}.{old[2]}"
    for before, after in NAMES.items():
        name = name.replace(before, after)
    return name.replace(".RDB", ".rdb")


def _sizes(shapes: Shapes) -> dict[str, Any]:
    width, inner = shapes["conv_first.weight"][:2]
    channels = shapes["conv_last.weight"][0]
    unshuffle = math.isqrt(max(inner // max(channels, 1), 1))
    ups = sum(f"conv_up{number}.weight" in shapes for number in (1, 2, 3))
    return {
        "width": width,
        "blocks": blocks(shapes, "body."),
        "growth": shapes["body.0.rdb1.conv1.weight"][0],
        "scale": 2**ups // unshuffle,
        "unshuffle": unshuffle,
        "channels": channels,
    }


@MODELS.add("rrdbnet")
class Rrdbnet(nn.Module):
    """RRDBNet: (N, C, H, W) -> (N, C, H · scale, W · scale); H and W multiples of `unshuffle`.

    After ESRGAN (Wang et al., 2018, Fig. 3 and 4). Real-ESRGAN's networks for scales 2 and 1 fold
    pixels by 2 and 4 first and enlarge by 4 all the same (Wang et al., 2021, Sec. 3.3).
    """

    Config = RrdbnetConfig
    official = Official(
        keys=("body.0.rdb1.conv1.weight", "conv_first.weight", "conv_body.weight", "conv_last.weight"),
        renamed=_renamed,
        sizes=_sizes,
        license="Apache-2.0 (ESRGAN, BasicSR) or BSD-3-Clause (Real-ESRGAN)",
    )

    def __init__(self, config: RrdbnetConfig = RrdbnetConfig()) -> None:
        super().__init__()
        width, total = config.width, config.scale * config.unshuffle
        if total not in (1, 2, 4, 8):
            raise UsageError(f"rrdbnet: scale · unshuffle = {total} is no power of 2 up to 8")
        self.config = config
        self.conv_first = conv3(config.channels * config.unshuffle**2, width)
        self.body = nn.Sequential(*(Rrdb(width, config.growth) for _ in range(config.blocks)))
        self.conv_body = conv3(width, width)
        self.ups = [f"conv_up{number + 1}" for number in range(total.bit_length() - 1)]
        for name in self.ups:
            self.add_module(name, conv3(width, width))
        self.conv_hr = conv3(width, width)
        self.conv_last = conv3(width, config.channels)
        shrink_start(self)

    @property
    def description(self) -> Description:
        config = self.config
        reach = (DEPTH * config.blocks + 5) * config.unshuffle
        memory = 4 * config.width * (8 // config.unshuffle**2 + 3 * config.scale**2)
        return Description(
            config.channels, config.scale, config.unshuffle, reach=bounded(reach), bytes_per_pixel=memory
        )

    def forward(self, x: Tensor) -> Tensor:
        folded = functional.pixel_unshuffle(x, self.config.unshuffle)
        features = exactly(self.conv_first, folded)
        features = features + self.conv_body(self.body(features))
        for name in self.ups:
            features = leaky(getattr(self, name)(doubled(features)))
        return exactly(self.conv_last, leaky(self.conv_hr(features)))
