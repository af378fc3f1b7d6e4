"""The lines of tasks: scores that an acceptable and an excellent model reach. They are data, made by `gir lines`.

After the protocol of general image restoration (Kong et al., 2024) and SEAL (Chen et al., 2024): a task's lines
are the scores of a small and of a large network that were trained for it alone. A file of lines is the suite's
table, gir110.csv, with these columns filled in where there is a line:

input, acceptance, excellence -- means of the task's metric over the pictures: of the inputs, and of the lines;
images -- digest of the pictures as they were degraded: lines hold for those alone;
recipe, version -- what made the lines, and by which version of this program.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gir_cli import __version__, files
from gir_cli.errors import InputError
from gir_cli.metrics import METRICS, rises
from gir_cli.suite import table

LEAST = 0.1  # by which excellence is above acceptance, in the metric's unit


@dataclass(frozen=True)
class Line:
    """Acceptance and excellence of `task`, of which a digest of the `images` is part."""

    task: str
    metric: str
    input: float
    acceptance: float
    excellence: float
    images: str
    recipe: str
    version: str = __version__

    def lifted(self) -> Line:
        """Return the line with excellence at least LEAST better than acceptance; the recipe says if it was not."""
        sign = 1 if rises(METRICS[self.metric]) else -1
        if sign * (self.excellence - self.acceptance) >= LEAST:
            return self
        found = f"; excellence lifted from {self.excellence:.3f} to acceptance {'+-'[sign < 0]} {LEAST}"
        return replace(self, excellence=self.acceptance + sign * LEAST, recipe=self.recipe + found)


def read_lines(path: Path | None = None) -> dict[str, Line]:
    """Return the lines in file `path`, the shipped ones if None, by task; tasks without both lines are left out.

    Raises InputError if the file is not such a table.
    """
    try:
        rows = table() if path is None else _table(files.read(str(path)).decode())
        return {row["task"]: _line(row) for row in rows if row["acceptance"] and row["excellence"]}
    except (ValueError, LookupError, TypeError, csv.Error):
        raise InputError(f"{path}: not a table of lines as gir lines writes it") from None


def _table(text: str) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows:
        raise ValueError
    return rows


def _line(row: Mapping[str, str]) -> Line:
    return Line(
        task=row["task"],
        metric=row["metric"],
        input=float(row["input"]),
        acceptance=float(row["acceptance"]),
        excellence=float(row["excellence"]),
        images=row["images"],
        recipe=row["recipe"],
        version=row["version"],
    )


def written(lines: Iterable[Line]) -> str:
    """Return the suite's table with `lines` in it, as the text of a CSV file, in the suite's order."""
    found = {line.task: line for line in lines}
    out = io.StringIO()
    writer = csv.DictWriter(out, list(table()[0]), lineterminator="\n")
    writer.writeheader()
    blank = dict.fromkeys(("input", "acceptance", "excellence", "images", "recipe", "version"), "")
    for row in table():
        writer.writerow(row | (asdict(found[row["task"]]) if row["task"] in found else blank))
    return out.getvalue()
