"""What tests share of classifiers: files with random weights, and their features written out call by call."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

#: Net -> torchvision's number of each convolution: (inputs, outputs, kernel).
CONVOLUTIONS = {
    "alex": {0: (3, 64, 11), 3: (64, 192, 5), 6: (192, 384, 3), 8: (384, 256, 3), 10: (256, 256, 3)},
    "vgg": {
        number: (before, after, 3)
        for number, before, after in zip(
            (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
            (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512),
            (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
            strict=True,
        )
    },
}
CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


def random_classifier(net: str, seed: int = 0) -> dict[str, Tensor]:
    """Return tensors by torchvision's names, of a size that keeps features as large as pixels."""
    rng = torch.Generator().manual_seed(seed)
    tensors = {"classifier.6.bias": torch.zeros(10)}
    for number, (before, after, side) in CONVOLUTIONS[net].items():
        scale = (2 / (before * side * side)) ** 0.5
        tensors[f"features.{number}.weight"] = torch.randn(after, before, side, side, generator=rng) * scale
        tensors[f"features.{number}.bias"] = torch.randn(after, generator=rng) * 0.1
    return tensors


def random_linear(net: str) -> dict[str, Tensor]:
    """Return positive weights by the names that LPIPS has for them."""
    rng = torch.Generator().manual_seed(1)
    return {
        f"lin{stage}.model.1.weight": torch.rand(1, channels, 1, 1, generator=rng)
        for stage, channels in enumerate(CHANNELS[net])
    }


def write_lpips(folder: Path, net: str) -> tuple[Path, Path]:
    """Write the two files of the metric, and return their paths."""
    backbone, weights = folder / f"{net}-backbone.pth", folder / f"{net}-weights.pth"
    torch.save(random_classifier(net), backbone)
    torch.save(random_linear(net), weights)
    return backbone, weights


def defined_features(net: str, tensors: dict[str, Tensor], pixels: Tensor) -> list[Tensor]:
    """Return the features of `pixels` (N, 3, H, W) in [0, 1] after each stage, as the papers have them."""
    # LPIPS' own constants, for pixels in [-1, 1].
    shift, scale = (pixels.new_tensor(v).view(1, 3, 1, 1) for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
    x = (2 * pixels - 1 - shift) / scale

    def convolved(number: int, stride: int = 1, padding: int = 1) -> Tensor:
        kernel, bias = (tensors[f"features.{number}.{kind}"].to(x) for kind in ("weight", "bias"))
        return functional.conv2d(x, kernel, bias, stride, padding).clamp(min=0)

    found = []
    if net == "alex":
        x = convolved(0, 4, 2)
        found.append(x)
        x = functional.max_pool2d(x, 3, 2)
        x = convolved(3, 1, 2)
        found.append(x)
        x = functional.max_pool2d(x, 3, 2)
        for number in (6, 8, 10):
            x = convolved(number)
            found.append(x)
        return found
    for stage in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
        x = functional.max_pool2d(x, 2) if found else x
        for number in stage:
            x = convolved(number)
        found.append(x)
    return found


def defined_lpips(net: str, tensors: dict[str, Tensor], linear: dict[str, Tensor], a: Tensor, b: Tensor) -> float:
    """Return the distance of two pictures (1, 3, H, W) by the formula of the paper."""
    total = 0.0
    for stage, (one, other) in enumerate(
        zip(defined_features(net, tensors, a), defined_features(net, tensors, b), strict=True)
    ):
        one, other = (x / ((x**2).sum(1, keepdim=True).sqrt() + 1e-10) for x in (one, other))
        weighed = functional.conv2d((one - other) ** 2, linear[f"lin{stage}.model.1.weight"].to(one))
        total += float(weighed.mean())
    return total
