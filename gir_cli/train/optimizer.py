"""Muon for hidden kernels, AdamW for the rest."""

from __future__ import annotations

from collections import defaultdict
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from gir_cli.errors import UsageError
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
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised (Jordan et al., 2024).

    Kernels are flattened to (out, in · h · w); those of one shape are orthogonalised together.
    Tall updates are scaled by sqrt(rows / columns). Each step also shrinks the kernels by `lr` ·
    `decay`: updates of fixed size would otherwise let them grow without end, layer upon layer.
    Where `found_inf`, a scalar, is 1, nothing changes: torch's own fused optimisers read it as well.
    """

    found_inf: Tensor

    def __init__(self, kernels: list[Tensor], lr: float, decay: float, momentum: float = 0.95) -> None:
        super().__init__(kernels, {"lr": lr, "decay": decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        share = 1 - self.found_inf
        for group in self.param_groups:
            alike = defaultdict(list)
            for kernel in group["params"]:
                if kernel.grad is not None:
                    alike[kernel.shape].append(kernel)
            for shape, kernels in alike.items():
                updates = orthogonalised(self._momentum(kernels, group["momentum"], share).flatten(2))
                size = group["lr"] * max(1.0, shape[0] / shape[1:].numel()) ** 0.5
                torch._foreach_mul_(kernels, 1 - group["lr"] * group["decay"] * share)
                torch._foreach_sub_(kernels, list((updates * (size * share)).view(-1, *shape).unbind()))

    def _momentum(self, kernels: list[Tensor], decay: float, share: Tensor) -> Tensor:
        """Return where the momentum takes `kernels`, all of one shape, (N, …)."""
        for kernel in kernels:
            if not self.state[kernel]:
                self.state[kernel]["momentum"] = torch.zeros_like(kernel)
        kept = [self.state[kernel]["momentum"] for kernel in kernels]
        # Nothing times NaN would still be NaN.
        gradients = torch.where(share > 0, torch.stack([kernel.grad for kernel in kernels]), 0)
        momenta = torch.stack(kept).lerp_(gradients, (1 - decay) * share)
        torch._foreach_copy_(kept, list(momenta.unbind()))
        return gradients.lerp(momenta, decay)


def is_hidden(name: str, network: nn.Module) -> bool:
    """Say whether parameter `name` is a kernel between features, which Muon is for.

    Not so: biases and scales, depthwise kernels, and those that touch the image, which a network may name
    as its `outer` ones, by patterns; else they are the first and the last.
    """
    kernels = [key for key, value in network.named_parameters() if value.ndim >= 2 and value.shape[1] > 1]
    outer = getattr(network, "outer", (kernels[0], kernels[-1]))
    return name in kernels and not any(fnmatchcase(name, pattern) for pattern in outer)


def optimizers(network: nn.Module, settings: Settings) -> list[torch.optim.Optimizer]:
    """Return the optimisers that share the network's parameters.

    Those that `settings.freeze` names get no gradient and stay as they are.
    """
    for pattern in filter(None, settings.freeze.split(",")):
        frozen = [value for name, value in network.named_parameters() if fnmatchcase(name, pattern)]
        if not frozen:
            raise UsageError(f"freeze={pattern} names no parameter of {settings.model}")
        for value in frozen:
            value.requires_grad_(False)
    parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
    if not parameters:
        raise UsageError(f"freeze={settings.freeze} leaves nothing to train")
    if settings.optimizer == "adam":
        return [torch.optim.Adam(parameters.values(), lr=settings.rate, fused=True)]
    hidden = [value for name, value in parameters.items() if is_hidden(name, network)]
    rest = [value for name, value in parameters.items() if not is_hidden(name, network)]
    muon = [Muon(hidden, lr=settings.rate, decay=settings.decay)] if hidden else []
    adam = (
        [torch.optim.AdamW(rest, lr=settings.adam_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)]
        if rest
        else []
    )
    return [*muon, *adam]


def set_rates(found: list[torch.optim.Optimizer], step: int, settings: Settings) -> None:
    """Give each optimiser its learning rate at `step`."""
    for optimizer in found:
        for group in optimizer.param_groups:
            # A resumed run may name another rate: the base is always the settings', never the state's.
            base = settings.adam_rate if isinstance(optimizer, torch.optim.AdamW) else settings.rate
            group["lr"] = base * rate(step, settings)
