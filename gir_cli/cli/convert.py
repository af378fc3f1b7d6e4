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
  gir convert a.safetensors --blend b.safetensors=0.6 -o between.safetensors
  gir convert a.safetensors --graft b.safetensors='toner.*' -o both.safetensors
  gir convert a.safetensors --beside b.safetensors -o experts.safetensors
  gir convert experts.safetensors --expert 2 -o b.safetensors
  gir convert a.safetensors --grow width=64 -o wider.safetensors
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
    blend: Annotated[
        str | None,
        Param(
            "weights of the same network to mix in, best tuned from one start, and their share", metavar="FILE=SHARE"
        ),
    ] = None
    graft: Annotated[
        str | None,
        Param("weights of the same kind, and the parameters to take from them, by name", metavar="FILE=NAMES"),
    ] = None
    beside: Annotated[
        str | None, Param("a girnet to stand beside this one as another expert; train the gate then", metavar="FILE")
    ] = None
    expert: Annotated[int, Param("the expert of a girnet to take out of it; 0 for the whole network", 0, 8)] = 0
    grow: Annotated[
        str, Param("settings in which the network is to be larger, doing the same, as width=64", metavar="CONFIG")
    ] = ""
    quiet: Annotated[bool, Param("say nothing but errors")] = False


@spread
def convert(
    checkpoint: Annotated[str, typer.Argument(metavar="FILE", show_default=False)],
    converting: Converting = Converting(),
) -> int:
    """Turn weights that others published into gir's, or into another precision, or join, part or grow them.

    The network and its sizes are recognised from the names and shapes of the tensors; code in the file
    is never run. What tensors cannot show is set: img_range of swinir, local of nafnet, scale of
    xrestormer, ending of restormer. A blend is the weighted mean of every value (network interpolation,
    Wang et al., 2019): it is of use between runs that began with the same weights. A graft takes
    whole parts of another file, as 'toner.*,head.*', where the rest is alike. A girnet beside another is
    a second expert: a gate, which is new and gives each, and leaving all as it is, the same share until
    `gir train --loss gate` has taught it better, says where which is to be believed. An expert
    taken out is a girnet of its own, without gate and toner, to be trained on or looked at. A network
    that is grown does what it did: what it has more of learns when it is trained on.
    """
    ways = converting.blend, converting.graft, converting.beside, converting.expert, converting.grow
    if sum(map(bool, ways)) > 1:
        raise UsageError("--blend, --graft, --beside, --expert and --grow exclude each other; give one")
    other, share = _blend(converting.blend) if converting.blend else (None, 0.0)
    other, parts = _graft(converting.graft) if converting.graft else (other, "")
    other = Path(converting.beside) if converting.beside else other
    target = _target([Path(checkpoint), other] if other else [Path(checkpoint)], converting.output)
    settings = dict(_pair(text) for text in converting.set)
    records.check(Path(checkpoint), settings)

    from gir_cli.joining import alone, beside, blended, grafted, grown
    from gir_cli.weights import load, save

    model = load(Path(checkpoint), settings)
    if other:
        mate = load(other, settings)
        if converting.beside:
            model = beside(model, mate)
        else:
            model = grafted(model, mate, parts) if parts else blended(model, mate, share)
    if converting.expert:
        model = alone(model, converting.expert)
    if converting.grow:
        model = grown(model, converting.grow)
    record = {**model.record, "name": target.stem}
    target.parent.mkdir(parents=True, exist_ok=True)
    save(target, _tensors(model.network, converting.dtype, checkpoint), record)
    if not converting.quiet:
        say(f"gir: {files.shown(str(target))}: {_summary(record)}")
    return 0


def _target(inputs: list[Path], output: str | None) -> Path:
    if output is None:
        raise UsageError("convert needs -o FILE.safetensors")
    target = Path(output)
    if target.suffix != ".safetensors":
        raise UsageError(f"-o {files.shown(output)}: weights are written to .safetensors files")
    if target.exists() and any(path.exists() and target.samefile(path) for path in inputs):
        raise UsageError(f"-o {files.shown(output)} is the input itself")
    return target


def _blend(text: str) -> tuple[Path, float]:
    """Return the file of other weights and their share."""
    file, _, share = text.rpartition("=")
    try:
        found = float(share)
    except ValueError:
        found = -1.0
    if not (file and 0 <= found <= 1):
        raise UsageError(f"--blend={files.shown(text)} is not FILE=SHARE with a share from 0 to 1")
    return Path(file), found


def _graft(text: str) -> tuple[Path, str]:
    """Return the file of other weights and the names of what to take."""
    file, _, parts = text.rpartition("=")
    if not (file and parts):
        raise UsageError(f"--graft={files.shown(text)} is not FILE=NAMES, as b.safetensors=toner.*")
    return Path(file), parts


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
    terms = (
        f"; terms of the code it was published with: {record.get('license', 'not told')}" if "origin" in record else ""
    )
    return f"{record['model']} {config}{terms}"
