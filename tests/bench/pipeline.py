"""Print how many training samples one core makes: python tests/bench/pipeline.py DIR [SIDE].

Full `gir` mixes of 128² crops (or SIDE²) from the photographs in DIR, a second and core: with each
photograph decoded for each sample; from the decoded map by the operators; the crops and plans that
a worker makes for `--degrade-on device`, and what the device, here one core, then does with them.
Then, for both ways, the share of a training step of the default network that is spent waiting with
two workers. On a machine that is busy with other work, the speed per second
of processor time is the one to compare.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from gir_cli import files
from gir_cli.data import DeviceSamples, Photographs, Samples, open_photographs, photographs_in, quantised
from gir_cli.image import decode
from gir_cli.train.loop import train
from gir_cli.train.run import Limits
from gir_cli.train.settings import Settings

BATCH = 16
CPU = torch.device("cpu")


def speed(make: Callable[[int], object], batches: int) -> str:
    """Return the samples a second that `make`, called with the numbers of `batches` batches, makes."""
    make(batches)  # fills caches and pages in the map
    wall, core = time.perf_counter(), time.process_time()
    for number in range(batches):
        make(number)
    wall, core = time.perf_counter() - wall, time.process_time() - core
    return f"{BATCH * batches / wall:6.0f} a second, {BATCH * batches / core:6.0f} a second of the core"


class Undecoded:
    """Photographs that are decoded each time one is asked for."""

    crop = Photographs.crop

    def __init__(self, folder: Path) -> None:
        self.paths = photographs_in([folder])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return quantised(decode(files.read(str(self.paths[index]))).pixels)


def ways(photographs: Photographs, folder: Path, side: int) -> Iterator[tuple[str, str]]:
    """Yield each way of making samples with its speed."""
    samples = Samples(photographs, "gir", 0)
    device = DeviceSamples(samples)
    each = replace(samples, photographs=Undecoded(folder))
    plans = [device[BATCH * number, BATCH, side] for number in range(21)]
    yield "decoded for each sample", speed(lambda number: each[BATCH * number, BATCH, side], 3)
    yield "operators", speed(lambda number: samples[BATCH * number, BATCH, side], 40)
    yield "crops and plans", speed(lambda number: device[BATCH * number, BATCH, side], 40)
    yield "twins, on this core", speed(lambda number: device.pair(plans[number], CPU), 20)


def waiting(photographs: Photographs, side: int, place: str) -> float:
    """Return the share of a step that is spent waiting with two workers, after the first 10 steps."""
    settings = Settings(batch=BATCH, patches=str(side), steps=30, every=30, degrade_on=place)
    with tempfile.TemporaryDirectory() as folder:
        reports = train(settings, photographs, Path(folder), Limits(workers=2))
        shares = [report.waiting for report in reports if report.step > 10]
    return float(np.mean(shares))


def main(folder: str, side: str = "128") -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as cache:
        photographs = open_photographs([Path(folder)], Path(cache), int(side))
        for name, found in ways(photographs, Path(folder), int(side)):
            print(f"{name:24} {found}", flush=True)
        for place in ("cpu", "device"):
            print(f"waiting, degraded on {place:6} {waiting(photographs, int(side), place):.0%}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
