"""What can be known of weights without loading them: where they are, and the record in their header."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gir_cli.errors import WeightsError

FORMAT = 1
LONGEST = 16 << 20  # bytes of a safetensors header
SUFFIX = ".safetensors"


def find(name: str, places: Iterable[Path]) -> Path:
    """Return the file of the weights called `name`: an explicit path, or NAME.safetensors in one of `places`.

    Raises WeightsError naming every place that was searched.
    """
    if "/" in name or name.endswith((SUFFIX, ".pth", ".pt", ".ckpt")):
        if not Path(name).is_file():
            raise WeightsError(f"{name}: no such weights file")
        return Path(name)
    places = list(places)
    for place in places:
        if (path := place / f"{name}{SUFFIX}").is_file():
            return path
    searched = ", ".join(str(place) for place in places)
    raise WeightsError(f"no weights are called '{name}' (searched: {searched})")


def there(places: Iterable[Path]) -> dict[str, Path]:
    """Return the weights files in `places` by name; where two share one, the first counts."""
    found: dict[str, Path] = {}
    for place in places:
        for path in sorted(place.glob(f"*{SUFFIX}")) if place.is_dir() else ():
            found.setdefault(path.name.removesuffix(SUFFIX), path)
    return found


def digest(path: Path) -> str:
    """Return the SHA-256 of file `path` in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def header(path: Path) -> dict[str, Any]:
    """Return the safetensors header of file `path`: tensors by name, and `__metadata__`.

    Reads no more than the header; raises WeightsError if there is none.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else LONGEST + 1
            text = file.read(length) if length <= LONGEST else b""
    except OSError as error:
        raise WeightsError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if length > LONGEST or len(text) < length or not isinstance(found, dict):
        raise WeightsError(f"{path}: not a safetensors file, or cut short")
    return found


def record(path: Path) -> dict[str, Any]:
    """Return the record of weights file `path`, or raise WeightsError."""
    try:
        found = json.loads(header(path)["__metadata__"]["gir"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise WeightsError(f"{path}: holds no record of gir") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise WeightsError(f"{path}: written in a format that this version does not know")
    return found


def parameters(path: Path) -> int:
    """Return the number of values in weights file `path`, or raise WeightsError."""
    total = 0
    for name, entry in header(path).items():
        if name == "__metadata__":
            continue
        count = 1
        for side in entry["shape"]:
            count *= side
        total += count
    return total
