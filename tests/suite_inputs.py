"""Print the input PSNR of every synthetic task beside its reference: python tests/suite_inputs.py DIR [TASK…].

DIR holds the clean images; the references are for the 24 of Kodak. Each stage of a chain draws from
the stream addressed by (seed, task, stem, stage), so that a figure depends on nothing else. A mark
at the end shows a formula-only task off by more than 0.1 dB, or one with random shapes by 0.6.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from gir_cli.chain import Chain, parse
from gir_cli.rng import stream

SHAPES = {"rain", "snow", "drops", "scratch", "holes", "motion", "haze"}


def rows() -> list[dict[str, str]]:
    """Return the tasks: task, group, chain and reference PSNR."""
    with open(Path(__file__).with_name("gir110_inputs.tsv"), newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def images(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (stem, pixels) of the folder's images, float32 RGB in [0, 1]."""
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        levels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        if levels is not None:
            yield path.stem, np.ascontiguousarray(levels[..., ::-1]).astype(np.float32) / 255


def degraded(chain: Chain, clean: np.ndarray, task: str, stem: str) -> np.ndarray:
    """Return `clean` under the chain, rounded to 8 bits, in [0, 1]."""
    pixels = clean
    for stage, step in enumerate(chain):
        rng = stream(0, task, stem, stage)
        pixels = step.draw(rng)(pixels.clip(0, 1), rng)  # clipped in between, as chain.apply does
    return np.rint(np.clip(pixels, 0, 1) * 255) / np.float32(255)


def psnr(worse: np.ndarray, clean: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio over all channels, in dB, for a peak of 1."""
    return float(-10 * np.log10(np.mean((worse - clean) ** 2, dtype=np.float64)))


def main(folder: str, *wanted: str) -> None:
    clean = list(images(Path(folder)))
    for row in rows():
        if wanted and row["task"] not in wanted:
            continue
        chain = parse(row["chain"])
        mean = np.mean([psnr(degraded(chain, pixels, row["task"], stem), pixels) for stem, pixels in clean])
        off = mean - float(row["psnr"])
        allowed = 0.6 if SHAPES & {step.name for step in chain} else 0.1
        mark = "  <--" if abs(off) > allowed else ""
        print(f"{row['group']}  {row['task']:27} {mean:6.2f} {float(row['psnr']):6.2f} {off:+6.2f}{mark}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
