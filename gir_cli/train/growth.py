"""The weights of a smaller network put into a larger one that at first does the same (Net2Net, Chen et al., 2016)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gir_cli.errors import UsageError


def grow(network: nn.Module, smaller: Mapping[str, Tensor]) -> None:
    """Put the tensors of a `smaller` network of the same kind into `network`, which is new.

    They take the first channels of each layer. These take nothing from channels that are only in `network`,
    whose own weights stay as they were; where layers that are only in it are the identity, as new residual
    blocks are, it gives the same as the smaller one. UsageError if `smaller` has something that does not fit.
    """
    tensors = network.state_dict()
    if beyond := sorted(smaller.keys() - tensors.keys()):
        raise UsageError(f"'{beyond[0]}' is nowhere in this run's network")
    transposed = {f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.ConvTranspose2d)}
    with torch.no_grad():
        for name, value in smaller.items():
            tensor = tensors[name]
            if value.ndim != tensor.ndim or any(a > b for a, b in zip(value.shape, tensor.shape, strict=True)):
                raise UsageError(f"'{name}' of shape {list(value.shape)} does not fit in {list(tensor.shape)}")
            if tensor.ndim > 1:
                tensor = tensor.transpose(0, 1) if name in transposed else tensor
                value = value.transpose(0, 1) if name in transposed else value
                tensor[: len(value)] = 0  # what the first channels take of others
            tensor[tuple(slice(side) for side in value.shape)] = value
