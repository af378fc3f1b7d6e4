"""The record that a restored file carries: what made it, from what, and how."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gir_cli import __version__
from gir_cli.image import decode

PROGRAM = "gir"


def digest(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def record(source: str, *, options: Mapping[str, Any], model: str | None = None, weights: str | None = None) -> str:
    """Return the record as one line of JSON, for `image.encode`.

    `source` is the SHA-256 of the input file, `options` what was asked for, `model` the architecture's or the
    model's name and `weights` the SHA-256 of the weights file. What is None is left out. ASCII alone,
    so that it survives in every container.
    """
    facts = {
        "program": PROGRAM,
        "version": __version__,
        "model": model,
        "weights_sha256": weights,
        "options": dict(options),
        "input_sha256": source,
    }
    return json.dumps({name: fact for name, fact in facts.items() if fact is not None}, default=str)


def parsed(text: str | None) -> dict[str, Any] | None:
    """Return what a record says, or None where there is none or it is not ours."""
    try:
        facts = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) and facts.get("program") == PROGRAM else None


def read(data: bytes) -> dict[str, Any] | None:
    """Return the record in the image file `data`, or None; raises InputError as `image.decode` does."""
    return parsed(decode(data).record)
