"""What was found out once about a machine, kept in files that may be lost at any time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from gir_cli import files
from gir_cli.errors import GirError


def remembered(folder: Path | None, facts: Mapping[str, str], find: Callable[[], bool]) -> bool:
    """Return find(), or what it gave for the same `facts` before, if that is kept in `folder`.

    There is one file for each set of facts. One that is damaged counts for nothing, and a folder that
    cannot be written to, or None, keeps nothing.
    """
    if folder is None:
        return find()
    said = dict(facts)
    path = str(folder / f"{hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]}.json")
    with suppress(GirError, ValueError, RecursionError):
        kept = json.loads(files.read(path))
        if isinstance(kept, dict) and isinstance(kept.get("found"), bool) and kept == {**said, "found": kept["found"]}:
            return kept["found"]
    found = find()
    with suppress(GirError):
        files.write(path, json.dumps({**said, "found": found}).encode())
    return found
