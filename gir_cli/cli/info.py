"""gir info: what an image or a weights file is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from gir_cli import files, provenance, records
from gir_cli.errors import GirError, InputError
from gir_cli.image import MAX_PIXELS, decode, read_header

EPILOG = """Examples:

  gir info out.png                       format, size, depth, profile, how it was restored
  gir info --json weights/gir-small.safetensors
"""


def info(
    operands: Annotated[list[str], typer.Argument(metavar="FILE...", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """Say what an image or a weights file is, and how it came to be."""
    failed = False
    for path in operands:
        try:
            facts = {"file": files.shown(path), **_facts(path)}
        except GirError as error:
            failed = True
            typer.echo(f"gir: {files.shown(path)}: {str(error).removeprefix(f'{path}: ')}", err=True)
            continue
        print(json.dumps(facts) if as_json else "\n".join(_lines(facts)))
    return InputError.status if failed else 0


def _facts(path: str) -> dict[str, Any]:
    data = files.read(path)
    if data[8:9] == b"{" and not path.lower().endswith((".pgm", ".ppm")):
        return _weights(Path(path))
    return _image(data)


def _weights(path: Path) -> dict[str, Any]:
    return {"kind": "weights", "sha256": records.digest(path), "parameters": records.parameters(path)} | records.record(
        path
    )


def _image(data: bytes) -> dict[str, Any]:
    header = read_header(data, max_pixels=MAX_PIXELS)
    image = decode(data)
    return {
        "kind": "image",
        "format": header.format,
        "width": image.width,
        "height": image.height,
        "depth": image.depth,
        "gray": image.gray,
        "alpha": image.alpha is not None,
        "frames": header.frames,
        "icc_bytes": len(image.icc or b""),
        "exif_bytes": len(image.exif or b""),
        "xmp_bytes": len(image.xmp or b""),
        "provenance": provenance.parsed(image.record),
    }


def _lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        elif value not in (None, "", []):
            lines.append(f"{indent}{name}: {value}")
    return lines
