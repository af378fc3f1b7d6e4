"""The metric LPIPS, version 0.1, from the files that the user has of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gir_cli import records
from gir_cli.checkpoints import read_tensors, shapes
from gir_cli.devices import out_of_memory
from gir_cli.errors import WeightsError
from gir_cli.features import Features, read_features
from gir_cli.metrics import METRICS, Undefined, size

TINY = 1e-10  # added to the norm of a pixel's features


class Lpips:
    """How different two pictures look to a network (Zhang et al., 2018), a metric of the catalogue made ready.

    `weights` say for each stage of `features` how much each channel counts; `files` tells which they are.
    """

    name, unit, perfect, needs = "lpips", "", METRICS["lpips"].perfect, ""

    def __init__(self, features: Features, weights: Sequence[Tensor], files: str, device: torch.device) -> None:
        self.features, self.files, self.device = features.to(device), files, device
        self.weights = [weight.to(device) for weight in weights]

    def __call__(self, restored: np.ndarray, clean: np.ndarray) -> float:
        """Return the distance of two pictures (H, W, 3) in [0, 1]; 0 for equal ones.

        Raises Undefined where they are smaller than the network takes, or larger than memory holds.
        """
        least = self.features.plan.least
        if min(restored.shape[:2]) < least:
            raise Undefined(f"lpips needs {least} pixels a side, not {size(restored)}")
        try:
            return self._distance(self._batch(restored), self._batch(clean))
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise Undefined(f"lpips needs more memory than there is for {size(restored)} pixels") from None

    def _batch(self, pixels: np.ndarray) -> Tensor:
        return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None].to(self.device)

    @torch.inference_mode()
    def _distance(self, restored: Tensor, clean: Tensor) -> float:
        total = 0.0
        # Exact fp32, and the same sums each time: equal pictures must have equal features.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            # Not as one batch, and stage by stage: so only one stage's features are kept.
            for one, other, weight in zip(self.features(restored), self.features(clean), self.weights, strict=True):
                apart = (_normalised(one) - _normalised(other)).square()
                total += float(torch.einsum("nchw,c->nhw", apart, weight).double().mean())
        return total


def _normalised(features: Tensor) -> Tensor:
    """Return `features` (N, C, H, W) with the features of each pixel at norm 1."""
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + TINY)


def read_lpips(backbone: Path, weights: Path, device: torch.device) -> Lpips:
    """Return the metric of two files, or raise WeightsError.

    `backbone` is a classifier as `read_features` takes it, `weights` the linear ones that the authors publish
    for that network, `lin0.model.1.weight` to `lin4.model.1.weight`.
    """
    features = read_features(backbone)
    found = read_tensors(weights)
    names = [f"lin{stage}.model.1.weight" for stage in range(len(features.plan.stages))]
    wanted = {name: (1, channels, 1, 1) for name, channels in zip(names, features.plan.channels, strict=True)}
    if {name: shape for name, shape in shapes(found).items() if name in wanted} != wanted:
        raise WeightsError(f"{weights}: holds no linear weights of LPIPS for {features.net}, {names[0]} to {names[-1]}")
    linear = [found[name].flatten().float() for name in names]
    if not all(weight.isfinite().all() for weight in linear):
        raise WeightsError(f"{weights}: holds values that are not finite")
    told = (f"{role} sha256 {records.digest(path)[:16]}" for role, path in (("of", backbone), ("weights", weights)))
    return Lpips(features, linear, f"lpips 0.1, {features.net} {', '.join(told)}", device)
