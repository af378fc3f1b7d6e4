"""Where this program keeps and looks for things; the environment is read here and nowhere below."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_MODEL = "gir-small"


def weights_places() -> list[Path]:
    """Return the folders in which weights are looked up by name, in order."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "shipped" if (package / "shipped").is_dir() else package.parent / "weights"
    given = [Path(place) for place in os.environ.get("GIR_WEIGHTS", "").split(":") if place]
    return [*given, shipped, _home("XDG_DATA_HOME", ".local/share") / "weights"]


def launched() -> str | None:
    """Return the shard, K/N, that torchrun gives to this process; None without it."""
    rank, size = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    return f"{int(rank) + 1}/{size}" if rank.isdecimal() and size.isdecimal() else None


def cache() -> Path:
    """Return the folder for what can be made again."""
    return _home("XDG_CACHE_HOME", ".cache")


def _home(variable: str, otherwise: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / otherwise) / "gir"
