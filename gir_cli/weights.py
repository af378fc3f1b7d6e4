"""Weights files: safetensors whose header holds, under the key `gir`, a JSON record.

The record says what the network is (`model`, `config`, `scale`), how it came to be (`train`), and
how it scored. Files are untrusted: sizes, names, shapes, dtypes and finiteness are checked before
anything of that size is allocated, and nothing in a file can name code to run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor, nn
from torch.nn import functional

from gir_cli import records
from gir_cli.errors import UsageError, WeightsError
from gir_cli.models import MODELS, Description
from gir_cli.params import params_of

LARGEST = 4 << 30  # bytes of a weights file; the largest restoration networks have about 200 MB


def configured(name: str, config: Mapping[str, Any]) -> Any:
    """Return the checked configuration of model `name`, or raise UsageError."""
    declared = params_of(MODELS.find(name).Config)
    for key in config:
        if key not in declared:
            raise UsageError(f"{name} has no setting '{key}' (it has {', '.join(declared)})")
    values = {key: declared[key].check(value, name) for key, value in config.items()}
    return MODELS.find(name).Config(**values)


def built(name: str, config: Mapping[str, Any]) -> nn.Module:
    """Return a new network of model `name` with `config`."""
    return MODELS.find(name)(configured(name, config))


@dataclass(frozen=True)
class Model:
    """A network with what is known of it; called on batches of any size.

    `record` is the JSON record of the weights file, `digest` the file's SHA-256.
    """

    network: nn.Module
    record: Mapping[str, Any]
    digest: str = ""

    @property
    def description(self) -> Description:
        return self.network.description

    def __call__(self, batch: Tensor, *, clamp: bool = True) -> Tensor:
        """Return the restored batch, fp32 (N, C, H · scale, W · scale), for (N, C, H, W) of any size.

        Height and width are padded by reflection (by repetition where there is too little to
        reflect) up to what the network takes, and the result is cut back.
        """
        height, width = batch.shape[-2:]
        with torch.inference_mode():
            out = self.network(padded(batch, self.description)).float()
        scale = self.description.scale
        out = out[..., : height * scale, : width * scale]
        return out.clamp(0, 1) if clamp else out


def padded(batch: Tensor, description: Description) -> Tensor:
    """Return `batch` (N, C, H, W) extended at right and bottom to a size that the network takes."""
    multiple = description.multiple
    for axis, pad in ((-1, (1, 0)), (-2, (0, 1))):
        size = batch.shape[axis]
        wanted = -(-max(size, description.minimum) // multiple) * multiple
        while size < wanted:
            step = min(wanted - size, size - 1) or wanted - size
            mode = "reflect" if size > 1 else "replicate"
            batch = functional.pad(batch, (0, pad[0] * step, 0, pad[1] * step), mode)
            size = batch.shape[axis]
    return batch


def save(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write `tensors` and `record` to `path`, aside first, then renamed."""
    data = write_tensors(
        {name: tensor.contiguous().cpu() for name, tensor in tensors.items()},
        {"gir": json.dumps({"format": records.FORMAT, **record})},
    )
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> Model:
    """Return the model in weights file `path`, in fp32 on the CPU; WeightsError says what is wrong with it."""
    data = _read(path)
    record = records.record(path)
    try:
        tensors = read_tensors(data)
        network = built(record["model"], record["config"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise WeightsError(f"{path}: its record is incomplete ({error})") from None
    except UsageError as error:
        raise WeightsError(f"{path}: {error}") from None
    except Exception as error:  # safetensors raises its own type for each kind of damage
        raise WeightsError(f"{path}: damaged weights file ({error})") from None
    _fill(network, tensors, path)
    return Model(network.eval(), record, hashlib.sha256(data).hexdigest())


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    if path.stat().st_size > LARGEST:
        raise WeightsError(f"{path}: too large for a weights file")
    return path.read_bytes()


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    expected = network.state_dict()
    for name in [*(expected.keys() - tensors.keys()), *(tensors.keys() - expected.keys())]:
        where = "misses" if name in expected else "has an unknown"
        raise WeightsError(f"{path}: {where} tensor '{name}'")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise WeightsError(f"{path}: '{name}' has shape {list(tensor.shape)}, not {list(expected[name].shape)}")
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{path}: '{name}' holds values that are not finite")
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})


def config_of(network: nn.Module) -> dict[str, Any]:
    """Return the network's configuration as JSON values."""
    return dataclasses.asdict(network.config)
