"""gir models: the weights that can be found."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from gir_cli import records
from gir_cli.cli.places import DEFAULT_MODEL, weights_places
from gir_cli.errors import WeightsError

EPILOG = """Examples:

  gir models
  gir models --json | jq -r .path
"""


def models(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """List the weights that can be found, one a line: name, architecture, parameters, scale, file."""
    for name, path in records.there(weights_places()).items():
        facts = _facts(name, path)
        if as_json:
            print(json.dumps(facts))
        else:
            mark = "*" if name == DEFAULT_MODEL else ""
            print("\t".join(str(facts[key]) for key in ("name", "model", "parameters", "scale", "path")) + f"\t{mark}")
    return 0


def _facts(name: str, path: Any) -> dict[str, Any]:
    facts = {"name": name, "model": "?", "parameters": "?", "scale": "?", "path": str(path), "error": None}
    try:
        record = records.record(path)
        return (
            facts | {key: record.get(key, "?") for key in ("model", "scale")} | {"parameters": records.parameters(path)}
        )
    except WeightsError as error:
        return facts | {"error": str(error)}
