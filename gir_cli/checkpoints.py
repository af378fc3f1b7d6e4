"""Weights that others published: read without running anything, and unwrapped.

A checkpoint is a pickle that torch reads with `weights_only`, or a safetensors file.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as read_safetensors
from torch import Tensor

from gir_cli import records
from gir_cli.errors import WeightsError
from gir_cli.layouts.shapes import Shapes
from gir_cli.recognition import CONTAINERS

LARGEST = 4 << 30  # bytes of a weights file; the largest restoration networks have about 200 MB
EPS = 1e-4  # of DnCNN's batch normalisation


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


def tensors_of(found: Any, deep: int = 8) -> dict[str, Tensor]:
    """Return the tensors by name that the containers of `found`, within each other, hold; averages are preferred.

    Empty where there are none, or `deep` containers down, for one may hold itself. What is beside them, such as the
    states of optimisers, is left out, and so are names that cannot be printed, which no network has.
    """
    if not isinstance(found, Mapping) or not deep:
        return {}
    for name in CONTAINERS:
        if inner := tensors_of(found.get(name), deep - 1):
            return inner
    return {name: value for name, value in found.items() if _is_name(name) and _is_tensor(value)}


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name.isprintable()


def _is_tensor(value: Any) -> bool:
    plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    return plain and not value.is_quantized and not value.is_complex()


def check_extent(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise WeightsError if `tensors` claim far more values than file `path` holds: views can repeat one for ever."""
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > 4 * path.stat().st_size + (1 << 20):
        raise WeightsError(f"{path}: its tensors claim {claimed} bytes, more than the file holds")


def norms_folded(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `tensors` with each batch normalisation, where there is any, folded into the convolution before.

    The kernel takes the place of the convolution's, its bias that of the normalisation's.
    """
    out = dict(tensors)
    for norm in [name.removesuffix(".running_var") for name in tensors if name.endswith(".running_var")]:
        stack, _, number = norm.rpartition(".")
        layer = f"{stack}.{int(number) - 1}"
        gain = tensors[f"{norm}.weight"] / torch.sqrt(tensors[f"{norm}.running_var"] + EPS)
        off = tensors.get(f"{layer}.bias", 0) - tensors[f"{norm}.running_mean"]
        out[f"{layer}.weight"] = tensors[f"{layer}.weight"] * gain[:, None, None, None]
        out[f"{norm}.bias"] = off * gain + tensors[f"{norm}.bias"]
    return out


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors by name in file `path`, or raise WeightsError; code in it is never run."""
    tensors = tensors_of(read(path))
    check_extent(tensors, path)
    return tensors


def shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    """Return the shapes of `tensors` by name."""
    return {name: tuple(value.shape) for name, value in tensors.items()}
