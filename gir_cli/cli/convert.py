"""gir convert: weights that others published, in gir's own form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gir_cli import files, records
from gir_cli.cli.options import spread
from gir_cli.cli.terminal import say
from gir_cli.errors import UsageError, WeightsError
from gir_cli.params import Checked, Param

EPILOG = """Examples:

  gir convert NAFNet-SIDD-width32.pth -o nafnet.safetensors
  gir convert net.pth -o net.safetensors --dtype fp16
  gir convert NAFNet-REDS-width64.pth -o reds.safetensors --set local=256
  gir convert Restormer.pth -o direct.safetensors --set ending=direct
"""


@dataclass(frozen=True)
class Converting(Checked):
    """What comes of a checkpoint."""

    output: Annotated[str | None, Param("the file to write, in safetensors form", metavar="FILE")] = None
    dtype: Annotated[Literal["fp32", "fp16"], Param("precision of the values in the file")] = "fp32"
    set: Annotated[
        tuple[str, ...],
        Param("a setting of the network that its tensors cannot show; may be repeated", metavar="KEY=VALUE"),
    ] = ()
    quiet: Annotated[bool, Param("say nothing but errors")] = False


@spread
def convert(
    checkpoint: Annotated[str, typer.Argument(metavar="FILE", show_default=False)],
    converting: Converting = Converting(),
) -> int:
    """Turn weights that others published into gir's, or into another precision.

    The network and its sizes are recognised from the names and shapes of the tensors; code in the file
    is never run. What tensors cannot show is set: img_range of swinir, local of nafnet, scale of
    xrestormer, ending of restormer.
    """
    target = _target(checkpoint, converting.output)
    settings = dict(_pair(text) for text in converting.set)
    records.check(Path(checkpoint), settings)

    from gir_cli.weights import load, save

    model = load(Path(checkpoint), settings)
    record = {**model.record, "name": target.stem}
    target.parent.mkdir(parents=True, exist_ok=True)
    save(target, _tensors(model.network, converting.dtype, checkpoint), record)
    if not converting.quiet:
        say(f"gir: {files.shown(str(target))}: {_summary(record)}")
    return 0


def _target(checkpoint: str, output: str | None) -> Path:
    if output is None:
        raise UsageError("convert needs -o FILE.safetensors")
    target = Path(output)
    if target.suffix != ".safetensors":
        raise UsageError(f"-o {files.shown(output)}: weights are written to .safetensors files")
    if target.exists() and Path(checkpoint).exists() and target.samefile(checkpoint):
        raise UsageError(f"-o {files.shown(output)} is the input itself")
    return target


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise UsageError(f"--set={text} is not KEY=VALUE")
    return key, value


def _tensors(network: Any, dtype: str, checkpoint: str) -> dict[str, Any]:
    """Return the network's tensors by name in the precision `dtype`; WeightsError if they do not fit it."""
    tensors = network.state_dict()
    if dtype == "fp32":
        return tensors
    halves = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    for name, value in halves.items():
        if not value.isfinite().all():
            raise WeightsError(f"{checkpoint}: '{name}' holds values too large for fp16")
    return halves


def _summary(record: dict[str, Any]) -> str:
    config = " ".join(f"{key}={value}" for key, value in record["config"].items())
    terms = f"; terms of the code it was published with: {record['license']}" if "origin" in record else ""
    return f"{record['model']} {config}{terms}"
