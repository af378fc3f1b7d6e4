"""Features of classifiers of photographs: AlexNet and VGG-16, from weights files that the user has.

Two pictures that look alike have like features, which metrics and losses make use of. A file is one of
torchvision's, a state dict with `features.0.weight` and so on, as .pth or safetensors; which of the
networks it holds is told by its shapes. Nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gir_cli.checkpoints import read_tensors, shapes
from gir_cli.errors import WeightsError
from gir_cli.weights import fill

#: Mean and deviation of ImageNet's red, green and blue, which the classifiers were trained with.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Plan:
    """A classifier's convolutional part.

    `stages` are convolutions (channels, kernel, stride), each with a ReLU; features are taken after each
    stage. Before the stages whose numbers are in `halved` maxima over `window` pixels are taken, at every
    second. `least` is the smallest side of a picture that has features of every stage.
    """

    stages: tuple[tuple[tuple[int, int, int], ...], ...]
    halved: tuple[int, ...]
    window: int
    least: int

    @property
    def channels(self) -> tuple[int, ...]:
        """The number of features of each stage."""
        return tuple(stage[-1][0] for stage in self.stages)


def _threes(channels: int, count: int) -> tuple[tuple[int, int, int], ...]:
    return ((channels, 3, 1),) * count


#: AlexNet in its later form (Krizhevsky, 2014) and VGG-16 (Simonyan and Zisserman, 2015).
PLANS = {
    "alex": Plan(
        (((64, 11, 4),), ((192, 5, 1),), _threes(384, 1), _threes(256, 1), _threes(256, 1)),
        halved=(1, 2),
        window=3,
        least=31,
    ),
    "vgg": Plan(
        (_threes(64, 2), _threes(128, 2), _threes(256, 3), _threes(512, 3), _threes(512, 3)),
        halved=(1, 2, 3, 4),
        window=2,
        least=16,
    ),
}


class Features(nn.Module):
    """The convolutional part of a classifier, its layers numbered as torchvision's are.

    Called on a batch (N, 3, H, W) of pixels in [0, 1], it yields the features (N, channels, h, w) of each
    stage, the finest first, and keeps none.
    """

    def __init__(self, net: str) -> None:
        super().__init__()
        self.net, self.plan = net, PLANS[net]
        layers: list[nn.Module] = []
        self.ends: list[int] = []  # the last layer of each stage
        before = 3
        for number, stage in enumerate(self.plan.stages):
            if number in self.plan.halved:
                layers.append(nn.MaxPool2d(self.plan.window, 2))
            for channels, kernel, stride in stage:
                # AlexNet's first is padded by 2 and not by 5: it is the one that strides.
                padding = kernel // 2 if stride == 1 else 2
                layers += [nn.Conv2d(before, channels, kernel, stride, padding), nn.ReLU()]
                before = channels
            self.ends.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)

    def forward(self, batch: Tensor) -> Iterator[Tensor]:
        mean, deviation = (batch.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        there = (batch - mean) / deviation
        for number, layer in enumerate(self.features):
            there = layer(there)
            if number in self.ends:
                yield there


def read_features(path: Path) -> Features:
    """Return the network that file `path` holds the weights of, on the CPU and frozen; WeightsError if there is none.

    What else is in the file, such as the classifier behind the features, is passed over.
    """
    found = {name: value for name, value in read_tensors(path).items() if name.startswith("features.")}
    for net in PLANS:
        with torch.device("meta"):  # nothing is allocated before names and shapes agree
            network = Features(net)
        if shapes(network.state_dict()) == shapes(found):
            fill(network, found, path)
            return network.eval().requires_grad_(False)
    raise WeightsError(f"{path}: holds neither AlexNet nor VGG-16 as torchvision has them, from features.0.weight on")
