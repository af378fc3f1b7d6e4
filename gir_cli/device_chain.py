"""Chains on a batch: what each of its pictures gets is planned on the host and done on a device.

A plan is a list of stages; a stage is one operator on some of the pictures, all at once. Each
picture's own order is kept, whatever the others' are. A plan holds numpy arrays, which pass between
processes as bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gir_cli.chain import Choice, Distribution, Step, spell
from gir_cli.device_ops import TWINS
from gir_cli.errors import UsageError
from gir_cli.ops import Operator, physical_order
from gir_cli.rng import Rng


@dataclass(frozen=True)
class Stage:
    """Operators called `name`, for the pictures `samples` (n,) of a batch: the fields of their twin."""

    name: str
    samples: np.ndarray
    fields: dict[str, Any]


def check(distribution: Distribution) -> None:
    """Raise UsageError naming what the distribution may draw and a device cannot do."""
    missing = dict.fromkeys(text for step in distribution.steps for text in _missing(step))
    if missing:
        raise UsageError(f"no device can do {', '.join(missing)}; leave --degrade-on at cpu for such chains")


def _missing(step: Step) -> Iterator[str]:
    if step.name not in TWINS:
        yield step.name
        return
    for name, known in TWINS[step.name].only.items():
        value = step.values.get(name, known[0])
        if not set(value.values if isinstance(value, Choice) else [value]) <= set(known):
            yield f"{step.name}:{name}={spell(value)}"


def planned(chains: Sequence[Sequence[Operator]], rngs: Sequence[Rng], side: int) -> list[Stage]:
    """Return the stages that do `chains`, one for each side × side picture of a batch.

    Pictures wait for each other where that makes fewer stages. What a picture's operators draw on
    the host they draw from its own stream in `rngs`, in their order.
    """
    stages = []
    left = {sample: list(chain) for sample, chain in enumerate(chains) if chain}
    while left:
        kind = min(_kind(chain[0]) for chain in left.values())
        samples = [sample for sample, chain in left.items() if _kind(chain[0]) == kind]
        operators = [left[sample].pop(0) for sample in samples]
        name = operators[0].name
        fields = TWINS[name].packed(operators, [rngs[sample] for sample in samples], side)
        stages.append(Stage(name, np.array(samples), fields))
        left = {sample: chain for sample, chain in left.items() if chain}
    return stages


def _kind(operator: Operator) -> tuple[Any, ...]:
    """Return what operators that act together have in common, sorted as they happen to a picture."""
    return *physical_order(operator.name), *(getattr(operator, name) for name in TWINS[operator.name].alike)


def apply(stages: Sequence[Stage], pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return `pixels` (float32 (N, 3, H, W) in [0, 1]) after all stages, with what is random drawn from `generator`.

    As in `chain.apply`, values are clipped between operators, and not after the last.
    """
    pixels = pixels.clone()
    for stage in stages:
        samples = _on(stage.samples, pixels.device)
        twin = TWINS[stage.name](**{name: _on(value, pixels.device) for name, value in stage.fields.items()})
        chosen = pixels.index_select(0, samples).clamp(0, 1)
        pixels.index_copy_(0, samples, twin(chosen, generator))
    return pixels


def _on(value: Any, device: torch.device) -> Any:
    return torch.from_numpy(value).to(device, non_blocking=True) if isinstance(value, np.ndarray) else value
