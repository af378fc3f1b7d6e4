"""gir models: the weights that can be found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from gir_cli import files, records
from gir_cli.cli.places import DEFAULT_MODEL, weights_places
from gir_cli.cli.terminal import say
from gir_cli.errors import GirError

EPILOG = """Examples:

  gir models
  gir models --json | jq -r .path
"""


def models(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """List the weights that can be found, one a line: name, architecture, parameters, scale, file.

    Checkpoints that others published, .pth, .pt or .ckpt, are listed with what they are recognised as.
    """
    for name, path in records.there(weights_places()).items():
        facts = _facts(name, path)
        if as_json:
            print(json.dumps(facts))
            continue
        mark = "*" if name == DEFAULT_MODEL else ""
        fields = [str(facts[key]) for key in ("name", "model", "parameters", "scale", "path")]
        print("\t".join([*map(files.shown, fields), mark]))
        if facts["convert"]:
            say(files.shown(f"gir: {name}: as others published it; {facts['convert']} makes it quicker to load"))
        if facts["error"]:
            say(files.shown(f"gir: {facts['error']}"))
    return 0


def _facts(name: str, path: Path) -> dict[str, Any]:
    facts = {"name": name, "model": "?", "parameters": "?", "scale": "?", "path": str(path)}
    facts |= {"convert": None, "error": None}
    try:
        found = _ours(path) if records.ours(path) else _published(path)
    except GirError as error:
        return facts | {"error": str(error)}
    except OSError as error:
        return facts | {"error": f"{path}: {files.reason(error)}"}
    return facts | {key: found[key] for key in facts if key in found}


def _ours(path: Path) -> dict[str, Any]:
    records.in_header(path)
    record = records.record(path)
    return {key: record[key] for key in ("model", "scale") if key in record} | {"parameters": records.parameters(path)}


def _published(path: Path) -> dict[str, Any]:
    from gir_cli.cli.info import published

    return published(path)
