"""General image restoration: one model for any photograph, and the tools around it."""

from __future__ import annotations

__version__ = "0.1.0"

#: Public names and the modules they are loaded from at first use, so that importing the package is cheap.
_HOMES = {
    "decode": "image",
    "encode": "image",
    "Image": "image",
    "OPERATORS": "ops",
    "parse": "chain",
    "draw": "chain",
    "apply": "chain",
    "stream": "rng",
    "MODELS": "models",
    "load": "weights",
    "save": "weights",
    "Restorer": "restore",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'gir_cli' has no attribute '{name}'")
    return getattr(importlib.import_module(f"gir_cli.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
