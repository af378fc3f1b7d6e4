"""How weights that others published are recognised, and their network's sizes read from names and shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from gir_cli.errors import UsageError
from gir_cli.layouts.shapes import Shapes

MOST_IN_ALL = 500  # blocks
MOST = 99  # blocks in a row, and rows of them


def without(shapes: Shapes, *endings: str) -> dict[str, str]:
    """Return the names in `shapes` as they are, but for those that end in one of `endings`."""
    return {name: name for name in shapes if not name.endswith(endings)}


@dataclass(frozen=True)
class Official:
    """How the official checkpoints of a network are known.

    `keys` are all there, and none of `absent`; `sizes` gives the configuration that names and shapes
    show. `renamed` first finds the names of a file's tensors in this network, each with that in the file,
    which may be of another generation; it leaves out what is computed anew, such as masks, and `aside`
    gives the settings that show in that. `license` is the terms of the code the weights were published with.
    """

    keys: tuple[str, ...]
    sizes: Callable[[Shapes], dict[str, Any]]
    absent: tuple[str, ...] = ()
    renamed: Callable[[Shapes], dict[str, str]] = without
    aside: Callable[[Shapes], dict[str, Any]] = lambda shapes: {}
    license: str = ""

    def missing(self, names: Collection[str]) -> list[str]:
        """Return the keys that `names` lacks."""
        return [key for key in self.keys if key not in names]

    def knows(self, names: Collection[str]) -> bool:
        """Say whether `names` are this network's."""
        return not self.missing(names) and not any(key in names for key in self.absent)


def blocks(shapes: Collection[str], prefix: str) -> int:
    """Return how many numbered blocks follow `prefix`, such as 'body.': the largest number plus one."""
    numbers = (re.match(r"\d{1,5}(?=\.)", name[len(prefix) :]) for name in shapes if name.startswith(prefix))
    return max((int(number[0]) + 1 for number in numbers if number), default=0)


def counts(text: str, *, length: int | None = None, low: int = 0) -> tuple[int, ...]:
    """Return the whole numbers that `text` spells, as in '1-1-1-28'; UsageError if it does not."""
    parts = text.split("-")
    if len(parts) > MOST or not all(part.isdecimal() and low <= int(part[:6]) <= MOST for part in parts):
        raise UsageError(f"'{text[:99]}' is not a list of numbers from {low} to {MOST}, such as 2-2-4-8")
    if sum(map(int, parts)) > MOST_IN_ALL:
        raise UsageError(f"'{text}' adds up to more than {MOST_IN_ALL}")
    if length is not None and len(parts) != length:
        raise UsageError(f"'{text}' holds {len(parts)} numbers, not {length}")
    return tuple(int(part) for part in parts)


def spelled(numbers: Iterable[int]) -> str:
    """Return `numbers` as text that `counts` reads."""
    return "-".join(str(number) for number in numbers)
