"""Print what a model makes of each task: python tests/quality.py WEIGHTS DIR [TASK…].

DIR holds clean images. Without tasks: a clean picture, groups A (one trained degradation) and D to G (mixtures).
Input and restored PSNR are means over images in dB, RGB, after rounding to 8 bits; `worst` is the image
with the smallest gain.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from suite_inputs import degraded, images, psnr, rows

from gir_cli.chain import parse
from gir_cli.restore import Restorer


def main(weights: str, folder: str, *wanted: str) -> None:
    restorer = Restorer(Path(weights))
    clean = list(images(Path(folder)))
    print(f"{len(clean)} images, {restorer.facts}")
    print("task                          input  restored   gain  worst")
    untouched = [{"task": "clean", "group": "-", "chain": "", "psnr": ""}]
    for row in untouched + rows():
        if row["task"] in wanted or (not wanted and row["group"] in "-ADEFG"):
            before, after = [], []
            for stem, pixels in clean:
                worse = degraded(parse(row["chain"]), pixels, row["task"], stem).astype(np.float32)
                before.append(min(psnr(worse, pixels) if row["chain"] else 99.0, 99.0))
                after.append(psnr(np.rint(restorer(worse) * 255) / np.float32(255), pixels))
            gains = np.subtract(after, before)
            print(
                f"{row['group']} {row['task']:26} {np.mean(before):6.2f}    {np.mean(after):6.2f} "
                f"{gains.mean():+6.2f} {gains.min():+6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
