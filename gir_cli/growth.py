"""The weights of a smaller network put into a larger one that at first does the same (Net2Net, Chen et al., 2016)."""

from __future__ import annotations

import torch
from torch import nn

from gir_cli.errors import UsageError

SAME = 1e-4  # of the largest value: how far the larger network's result may be from the smaller one's


def grow(network: nn.Module, smaller: nn.Module) -> None:
    """Put the tensors of a `smaller` network of the same kind into `network`, which is new.

    They take the first channels of each layer. These take nothing from channels that are only in `network`,
    whose own weights stay as they were. UsageError if `smaller` has something that does not fit, or if `network`
    then gives anything else than it, as where features are normalised together or layers are not the identity.
    """
    for fact in ("channels", "scale"):
        if getattr(smaller.description, fact) != getattr(network.description, fact):
            raise UsageError(f"the larger network needs the same {fact}")
    tensors, given = network.state_dict(), smaller.state_dict()
    if beyond := sorted(given.keys() - tensors.keys()):
        raise UsageError(f"'{beyond[0]}' is nowhere in the larger network")
    transposed = {f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.ConvTranspose2d)}
    with torch.no_grad():
        for name, value in given.items():
            tensor = tensors[name]
            if value.ndim != tensor.ndim or any(a > b for a, b in zip(value.shape, tensor.shape, strict=True)):
                raise UsageError(f"'{name}' of shape {list(value.shape)} does not fit in {list(tensor.shape)}")
            if tensor.ndim > 1:
                tensor = tensor.transpose(0, 1) if name in transposed else tensor
                value = value.transpose(0, 1) if name in transposed else value
                tensor[: len(value)] = 0  # what the first channels take of others
            tensor[tuple(slice(side) for side in value.shape)] = value
        _check_same(network, smaller)


def _check_same(network: nn.Module, smaller: nn.Module) -> None:
    """Raise UsageError unless both, not in training, take and give the same of a random picture."""
    description, like = network.description, next(network.parameters())
    side = -(-max(64, description.minimum) // description.multiple) * description.multiple
    generator = torch.Generator().manual_seed(0)
    sizes = [(1, description.channels, side, side), (1, 1, 1, 1)][: 1 + description.noise_level]
    given = [torch.rand(size, generator=generator).to(like.device) for size in sizes]  # a picture, its noise
    learning = network.training
    there, here = (each.to(like.device).eval()(*given) for each in (smaller, network))
    network.train(learning)
    if not (there - here).abs().max() <= SAME * there.abs().max():
        raise UsageError("with its weights, the larger network does not give the same")
