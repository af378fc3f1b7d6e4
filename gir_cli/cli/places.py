"""Where this program keeps and looks for things; the environment is read here and nowhere below."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_MODEL = "gir"


def weights_places() -> list[Path]:
    """Return the folders in which weights are looked up by name, in order."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "shipped" if (package / "shipped").is_dir() else package.parent / "weights"
    given = [Path(place) for place in os.environ.get("GIR_WEIGHTS", "").split(":") if place]
    return [*given, shipped, _home("XDG_DATA_HOME", ".local/share") / "weights"]


def place_among() -> tuple[int, int, int]:
    """Return (rank, number of processes, rank on this machine) as torchrun says them; (0, 1, 0) without it."""
    told = [os.environ.get(name, default) for name, default in (("RANK", ""), ("WORLD_SIZE", ""), ("LOCAL_RANK", "0"))]
    if not all(text.isdecimal() for text in told):
        return 0, 1, 0
    rank, count, local = map(int, told)
    return rank, count, local


def launched() -> str | None:
    """Return the shard, K/N, that torchrun gives to this process; None without it."""
    rank, count, _ = place_among()
    return f"{rank + 1}/{count}" if count > 1 else None


def cache() -> Path:
    """Return the folder for what can be made again."""
    return _home("XDG_CACHE_HOME", ".cache")


def _home(variable: str, otherwise: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / otherwise) / "gir"
