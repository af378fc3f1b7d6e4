"""Muon for hidden kernels, AdamW for the rest."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

from gir_cli.train.settings import Settings, rate


def orthogonalised(matrices: Tensor) -> Tensor:
    """Return (N, R, C) matrices with their singular values brought near 1, in bf16 arithmetic.

    Five Newton–Schulz iterations with the coefficients of Muon (Jordan et al., 2024): values end in
    about 0.7 to 1.2, which is all that the optimiser needs.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised (Jordan et al., 2024).

    Kernels are flattened to (out, in · h · w); those of one shape are orthogonalised together.
    Tall updates are scaled by sqrt(rows / columns). Each step also shrinks the kernels by `lr` ·
    `decay`: updates of fixed size would otherwise let them grow without end, layer upon layer.
    """

    def __init__(self, kernels: list[Tensor], lr: float, decay: float, momentum: float = 0.95) -> None:
        super().__init__(kernels, {"lr": lr, "decay": decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            alike = defaultdict(list)
            for kernel in group["params"]:
                if kernel.grad is not None:
                    alike[kernel.flatten(1).shape].append(kernel)
            for shape, kernels in alike.items():
                updates = torch.stack([self._momentum(kernel, group["momentum"]) for kernel in kernels])
                size = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for kernel, update in zip(kernels, orthogonalised(updates), strict=True):
                    kernel.mul_(1 - group["lr"] * group["decay"]).sub_(update.reshape(kernel.shape), alpha=size)

    def _momentum(self, kernel: Tensor, decay: float) -> Tensor:
        state = self.state[kernel]
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
        state["momentum"].lerp_(kernel.grad, 1 - decay)
        return kernel.grad.lerp(state["momentum"], decay).flatten(1)


def is_hidden(name: str, network: nn.Module) -> bool:
    """Say whether parameter `name` is a kernel between features, which Muon is for.

    Not so: biases and scales, depthwise kernels, and the first and the last kernel, which touch the image.
    """
    kernels = [key for key, value in network.named_parameters() if value.ndim >= 2 and value.shape[1] > 1]
    return name in kernels[1:-1]


def optimizers(network: nn.Module, settings: Settings) -> list[torch.optim.Optimizer]:
    """Return the optimisers that share the network's parameters."""
    parameters = dict(network.named_parameters())
    if settings.optimizer == "adam":
        return [torch.optim.Adam(parameters.values(), lr=settings.rate)]
    hidden = [value for name, value in parameters.items() if is_hidden(name, network)]
    rest = [value for name, value in parameters.items() if not is_hidden(name, network)]
    return [
        Muon(hidden, lr=settings.rate, decay=settings.decay),
        torch.optim.AdamW(rest, lr=settings.adam_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def set_rates(found: list[torch.optim.Optimizer], step: int, settings: Settings) -> None:
    """Give each optimiser its learning rate at `step`."""
    for optimizer in found:
        for group in optimizer.param_groups:
            # A resumed run may name another rate: the base is always the settings', never the state's.
            base = settings.rate if len(found) == 1 or isinstance(optimizer, Muon) else settings.adam_rate
            group["lr"] = base * rate(step, settings)
