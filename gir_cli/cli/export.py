"""gir export: a model for other runtimes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from gir_cli import files, records
from gir_cli.cli.options import spread
from gir_cli.cli.places import DEFAULT_MODEL, weights_places
from gir_cli.cli.terminal import say
from gir_cli.errors import GirError, UsageError
from gir_cli.params import Checked, Param

EPILOG = """Examples:

  gir export -o gir.pt2
  gir export -m gir-small -o gir.onnx
  gir export -m NAFNet-SIDD-width32.pth -o nafnet.onnx
"""


@dataclass(frozen=True)
class Exporting(Checked):
    """What is exported, and where to."""

    model: Annotated[
        str | None, Param("weights: a name that gir models lists, or a file; GIR_MODEL says another default")
    ] = None
    output: Annotated[str | None, Param("the file to write, .pt2 or .onnx", metavar="FILE")] = None
    quiet: Annotated[bool, Param("say nothing but errors")] = False


@spread
def export(exporting: Exporting = Exporting()) -> int:
    """Write a model for other runtimes, as .pt2 or ONNX.

    Batch, height and width stay open; height and width are multiples of what the record in the file
    says. The file is compared with the model on a random image of another size before it is kept. ONNX
    needs the Python packages onnx, onnxscript and onnxruntime.
    """
    target, form = _target(exporting.output)
    weights = records.find(exporting.model or os.environ.get("GIR_MODEL") or DEFAULT_MODEL, weights_places())

    from gir_cli.export import check_form, exported, takes
    from gir_cli.weights import load

    check_form(form)
    model = load(weights)
    try:
        data = exported(model, form)
    except GirError as error:
        raise GirError(f"{files.shown(str(weights))}: {error}") from None
    files.write(str(target), data)
    if not exporting.quiet:
        say(f"gir: {files.shown(str(target))}: {_summary(takes(model.description))}")
    return 0


def _target(output: str | None) -> tuple[Path, Any]:
    if output is None:
        raise UsageError("export needs -o FILE.pt2 or -o FILE.onnx")
    target = Path(output)
    if target.suffix not in (".pt2", ".onnx"):
        raise UsageError(f"-o {files.shown(output)}: models are exported to .pt2 or .onnx files")
    return target, target.suffix.removeprefix(".")


def _summary(taken: dict[str, Any]) -> str:
    shape = "height = width" if taken["square"] else "height and width"
    return f"takes {taken['image']}; {shape} multiples of {taken['multiple']} from {taken['minimum']} on"
