"""Degradation operators: typed parameters that are called on pixels and keep no state.

An operator maps `pixels`, float32 `(H, W, C)` sRGB in [0, 1], to pixels of the same shape and type;
it leaves its input alone, may overshoot, and draws all its randomness from the stream it is given.
C is 3, or 1 for a gray picture: what a gray sensor, print or file would show, so colour noise is a
single field there, and a change of colour none at all. Coordinates are pixels, y downwards.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np

from gir_cli.catalog import Catalog
from gir_cli.rng import Rng

#: The order in which light, lens, sensor, file and wear act on a picture.
STAGES = ("scene", "optics", "sampling", "sensor", "processing", "storage", "damage")


class Operator(Protocol):
    """One degradation with concrete values.

    `stage` is one of STAGES and `rank` its place within it. The first declared parameter is the
    strength; `shown` gives three values of it, weak to strong, for a sheet of examples. `identity`,
    if it isn't empty, gives the values that leave a picture as it is.
    """

    name: ClassVar[str]
    stage: ClassVar[str]
    rank: ClassVar[int]
    shown: ClassVar[tuple[float, ...]]
    identity: ClassVar[dict[str, float]]

    def __call__(self, pixels: np.ndarray, rng: Rng) -> np.ndarray: ...


OPERATORS: Catalog[type[Operator]] = Catalog("operator", __name__)


def physical_order(name: str) -> tuple[int, int]:
    """Return the sort key that puts operators in the order in which they happen to a picture."""
    operator = OPERATORS[name]
    return STAGES.index(operator.stage), operator.rank
