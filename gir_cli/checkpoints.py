"""Weights that others published: read without running anything, unwrapped, and recognised from their keys.

A checkpoint is a pickle that torch reads with `weights_only`, or a safetensors file. What it is comes
from the names and shapes of its tensors alone: each network class says, as `official`, what its own
look like.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as read_safetensors
from torch import Tensor

from gir_cli import records
from gir_cli.errors import UsageError, WeightsError
from gir_cli.models import MODELS
from gir_cli.models.official import Official
from gir_cli.params import params_of

LARGEST = 4 << 30  # bytes of a weights file; the largest restoration networks have about 200 MB
CONTAINERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net", "generator", "g_ema")
PREFIXES = ("module.", "net.", "netG.", "model.")
SHOWN = 3  # names that a message lists


@dataclass(frozen=True)
class Checkpoint:
    """A recognised state dict: the network's name, its configuration, and tensors under the network's names."""

    model: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    license: str


def read(path: Path) -> Any:
    """Return what checkpoint file `path` holds, or raise WeightsError; code in it is never run."""
    check_size(path)
    return safetensors(path) if records.is_safetensors(path) else _pickled(path)


def check_size(path: Path) -> None:
    """Raise WeightsError unless `path` is a file of a size that weights may have."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    if path.stat().st_size > LARGEST:
        raise WeightsError(f"{path}: too large for a weights file")


def safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of safetensors file `path`, or raise WeightsError; the header is checked first."""
    records.header(path)
    try:
        return read_safetensors(path.read_bytes())
    except Exception as error:  # safetensors raises its own type for each kind of damage
        raise WeightsError(f"{path}: damaged weights file ({records.brief(error)})") from None


def _pickled(path: Path) -> Any:
    """Return what torch finds in `path`, with the classes that it takes for harmless only."""
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files end in a dozen types
        if "global" in str(error).lower():
            raise WeightsError(f"{path}: holds more than tensors, which could run code; not read") from None
        raise WeightsError(f"{path}: not a checkpoint that torch can read, or damaged") from None


def _check_archive(path: Path) -> None:
    """Refuse an archive whose parts unpack to far more than the file."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(part.file_size for part in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise WeightsError(f"{path}: damaged weights file ({records.brief(error)})") from None
    if total > LARGEST or total > 16 * path.stat().st_size + (1 << 20):
        raise WeightsError(f"{path}: unpacks to {total} bytes, too many for a weights file")


def tensors_of(found: Any) -> dict[str, Tensor]:
    """Return the tensors by name that the containers of `found` hold; moving averages are preferred.

    Empty where there are none. What is beside them, such as the states of optimisers, is left out.
    """
    if not isinstance(found, Mapping):
        return {}
    for name in CONTAINERS:
        if inner := tensors_of(found.get(name)):
            return inner
    return {name: value for name, value in found.items() if isinstance(name, str) and _is_tensor(value)}


def _is_tensor(value: Any) -> bool:
    plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    return plain and not value.is_quantized and not value.is_complex()


def check_extent(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise WeightsError if `tensors` claim far more values than file `path` holds: views can repeat one for ever."""
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > 4 * path.stat().st_size + (1 << 20):
        raise WeightsError(f"{path}: its tensors claim {claimed} bytes, more than the file holds")


def recognised(tensors: Mapping[str, Tensor], path: Path) -> Checkpoint:
    """Return what the `tensors` of file `path` are.

    Raises WeightsError naming what was looked for.
    """
    for names in _spellings(tensors):
        for model, official in known():
            renamed, sizes = _understood(official, names)
            if sizes:
                return Checkpoint(model, sizes, renamed, official.license)
    raise WeightsError(f"{path}: {_unknown(tensors)}")


def known() -> list[tuple[str, Official]]:
    """Return the networks whose published weights are recognised."""
    officials = ((name, getattr(network, "official", None)) for name, network in MODELS.items())
    return [(name, official) for name, official in officials if official]


def _spellings(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Yield `tensors` as they are, then without each prefix that all of their names have, again and again."""
    yield dict(tensors)
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            yield from _spellings({name.removeprefix(prefix): value for name, value in tensors.items()})


def _understood(official: Official, names: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors under the network's names, and the configuration that their shapes show.

    The latter is empty where they are not what they should be.
    """
    try:
        renamed = official.renamed(names)
        shapes = {name: tuple(tensor.shape) for name, tensor in renamed.items()}
        sizes = official.sizes(shapes) if official.knows(shapes) else {}
        return renamed, sizes and sizes | official.aside(names)
    except (LookupError, ValueError, ZeroDivisionError, RuntimeError):
        return names, {}


def _unknown(tensors: Mapping[str, Tensor]) -> str:
    """Say what was looked for, what came nearest, and what was found."""
    looked = ", ".join(name for name, _ in known())
    if not tensors:
        return f"holds no tensors by name (looked in {', '.join(CONTAINERS)})"
    found = ", ".join(f"'{name}'" for name in list(tensors)[:SHOWN])
    said = f"no network that I know (looked for {looked}); it holds {len(tensors)} tensors: {found} …"
    near = [(len(official.missing(tensors)) / len(official.keys), name, official) for name, official in known()]
    share, name, official = min(near, key=lambda item: item[0])
    if share == 1:
        return said
    why = ", ".join(f"'{key}'" for key in official.missing(tensors)[:SHOWN])
    return f"{said}; nearest is {name}, but " + (f"it misses {why}" if why else "its shapes do not fit together")


def read_settings(model: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of `model` that `texts` spell, or raise UsageError."""
    declared = params_of(MODELS.find(model).Config)
    for key in texts:
        if key not in declared:
            raise UsageError(f"{model} has no setting '{key}' (it has {', '.join(declared)})")
    return {key: declared[key].read(text, model) for key, text in texts.items()}
