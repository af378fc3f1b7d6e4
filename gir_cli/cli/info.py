"""gir info: what an image or a weights file is."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from gir_cli import exports, files, provenance, records
from gir_cli.errors import GirError
from gir_cli.image import MAX_PIXELS, decode, read_header
from gir_cli.layouts import Layout

EPILOG = """Examples:

  gir info out.png                       format, size, depth, profile, how it was restored
  gir info --json weights/gir-small.safetensors
  gir info official.pth                  the network, its sizes, how to convert it
  gir info gir.onnx                      the model that was exported, and what it takes
"""

PICKLED = (b"PK", b"\x80\x02")  # torch's archives, and its files of old


def info(
    operands: Annotated[list[str], typer.Argument(metavar="FILE...", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """Say what an image or a weights file is, and how it came to be.

    Weights that others published are recognised from the names and shapes of their tensors.
    """
    status = 0
    for path in operands:
        try:
            facts = {"file": files.shown(path), **_facts(path)}
        except GirError as error:
            status = status or error.status
            typer.echo(f"gir: {files.shown(path)}: {str(error).removeprefix(f'{path}: ')}", err=True)
            continue
        print(json.dumps(facts) if as_json else "\n".join(_lines(facts)))
    return status


def _facts(path: str) -> dict[str, Any]:
    start = files.read(path, 9)
    if start[8:] == b"{" and not path.lower().endswith((".pgm", ".ppm")):
        return _weights(Path(path))
    if path.endswith(exports.SUFFIXES):
        return _exported(Path(path))
    if start.startswith(PICKLED) or path.endswith(records.SUFFIXES):
        return published(Path(path))
    return _image(files.read(path))


def _weights(path: Path) -> dict[str, Any]:
    records.check(path)
    if not records.ours(path):
        return published(path)
    facts = {"kind": "weights", "sha256": records.digest(path), "parameters": records.parameters(path)}
    return facts | records.record(path)


def _exported(path: Path) -> dict[str, Any]:
    return {"kind": f"exported model ({path.suffix[1:]})"} | exports.record(path)


def published(path: Path) -> dict[str, Any]:
    """Return what the weights are that others published as file `path`, and how they become ours.

    Nothing in the file is run. Raises WeightsError if it is none that is known, or damaged.
    """
    records.check(path)
    config = _read(path)
    record = records.published(path, config)
    known = {name: record[name] for name in ("model", "config", "scale", "license")}
    return {
        "kind": "published weights",
        "sha256": record["parents"][0],
        "parameters": sum(math.prod(shape) for shape in config.tensors().values()),
        **known,
        "convert": f"gir convert {shlex.quote(str(path))} -o {shlex.quote(path.stem)}.safetensors",
    }


def _read(path: Path) -> Layout:
    """Return the configuration of the network in file `path`; torch is asked only for a pickle."""
    if records.is_safetensors(path):
        return records.in_header(path)

    from gir_cli.weights import load

    return load(path).network.config


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
        name = files.shown(name)
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        elif value not in (None, "", []):
            lines.append(f"{indent}{name}: {files.shown(str(value))}")
    return lines
