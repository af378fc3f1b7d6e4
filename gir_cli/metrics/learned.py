"""Metrics that are networks. They are run elsewhere, for here is no torch, and only with files that the user has."""

from __future__ import annotations

import numpy as np

from gir_cli.errors import UsageError
from gir_cli.metrics import METRICS, facts


@METRICS.add("lpips")
@facts(perfect=0.0, needs="--lpips-backbone and --lpips-weights")
def lpips(restored: np.ndarray, clean: np.ndarray) -> float:
    """How different two pictures look to a network (Zhang et al., 2018, version 0.1); lower is better.

    There is no value without the network's files: `lpips.read_lpips` returns this metric made of them.
    """
    raise UsageError(f"lpips needs {METRICS['lpips'].needs}, files that do not come with gir")
