"""Print the input PSNR of every synthetic task beside its reference: python tests/suite_inputs.py DIR [TASK...].

DIR holds the clean images; the references are for the 24 of Kodak. A mark at the end shows a
formula-only task off by more than 0.1 dB, or one with random shapes by 0.6.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gir_cli.chain import parse
from gir_cli.evaluate import evaluate, means
from gir_cli.suite import chosen, gir110

SHAPES = {"rain", "snow", "drops", "scratch", "holes", "motion", "haze"}


def main(folder: str, *names: str) -> None:
    """Measure and print a task a line."""
    for task in chosen(names, gir110()):
        ((_, mean),) = means(evaluate([task], Path(folder), None, {}), "psnr").items()
        off = mean["input"] - task.reference
        allowed = 0.6 if SHAPES & {step.name for step in parse(task.chain)} else 0.1
        mark = "  <--" if abs(off) > allowed else ""
        print(f"{task.group}  {task.name:27} {mean['input']:6.2f} {task.reference:6.2f} {off:+6.2f}{mark}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
