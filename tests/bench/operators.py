"""Print what operators and chains cost on one core: python tests/bench/operators.py [NAME…].

Milliseconds per megapixel (best of three) of every operator on one 1-megapixel picture, beside the
budget where there is one; of the `gir` preset's chains; and how many 64² and 128² crops a second
the `gir` mix makes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import cv2
import numpy as np

from gir_cli.chain import apply, draw, preset, step
from gir_cli.ops import OPERATORS, physical_order
from gir_cli.rng import quick_stream, stream

BUDGET = {"noise": 120, "blur": 25, "jpeg": 30, "rain": 150, "haze": 150}
CHAIN_BUDGET = 500
SIDE = 1000


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """Return the shortest of `times` runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def picture(side: int) -> np.ndarray:
    """Return a picture as smooth and as rough as photographs are: noise whose amplitude falls with its frequency."""
    rng = stream("picture")
    levels = np.zeros((side, side, 3), dtype=np.float32)
    for cells in (4, 16, 64, 256):
        grid = rng.standard_normal((cells, cells, 3)).astype(np.float32) / cells**0.5
        levels += cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(0.5 + 0.4 * levels, 0, 1)


def operator(name: str, pixels: np.ndarray) -> float:
    """Return the milliseconds that operator `name` takes with its defaults, drawn from a frozen stream."""
    rng = stream("bench", name)
    made = step(name).draw(rng)
    return 1e3 * seconds(lambda: made(pixels, rng))


def chains(pixels: np.ndarray, count: int = 40) -> np.ndarray:
    """Return the milliseconds that each of `count` chains of the gir preset takes."""
    taken = []
    for index in range(count):
        rng = stream("chain", index)
        operators = draw(preset("gir", *pixels.shape[:2]).draw(rng), rng)
        taken.append(1e3 * seconds(lambda operators=operators, rng=rng: apply(operators, pixels, rng), times=1))
    return np.array(taken)


def crops(side: int, count: int = 1000) -> float:
    """Return how many side × side crops a second the gir mix degrades."""
    pixels = picture(side)

    def work() -> None:
        for index in range(count):
            rng = quick_stream("crop", index)
            apply(draw(preset("gir", side, side).draw(rng), rng), pixels, rng)

    return count / seconds(work, times=2)


def main(*wanted: str) -> None:
    cv2.setNumThreads(1)
    pixels = picture(SIDE)
    for name in wanted or sorted(OPERATORS, key=physical_order):
        taken, budget = operator(name, pixels), BUDGET.get(name)
        limit = f"of {budget}" if budget else ""
        print(f"{name:10} {taken:6.1f} ms/MP {limit:7}{'  <--' if budget and taken > budget else ''}")
    if not wanted:
        taken = chains(pixels)
        mark = "  <--" if taken.max() > CHAIN_BUDGET else ""
        print(f"gir chains {taken.mean():6.1f} ms/MP on average, {taken.max():.1f} at most, of {CHAIN_BUDGET}{mark}")
        for side in (64, 128):
            print(f"gir crops  {crops(side):6.0f} of {side}² a second")


if __name__ == "__main__":
    main(*sys.argv[1:])
