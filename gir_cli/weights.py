"""Weights files: safetensors whose header holds, under the key `gir`, a JSON record.

The record says what the network is (`model`, `config`, `scale`), how it came to be (`train`), and
how it scored. Files are untrusted: sizes, names, shapes, dtypes and finiteness are checked before
anything of that size is allocated, and nothing in a file can name code to run.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import save as write_tensors
from torch import Tensor, nn
from torch.nn import functional

from gir_cli import records
from gir_cli.checkpoints import norms_folded, read_tensors, shapes
from gir_cli.errors import UsageError, WeightsError
from gir_cli.layouts import configured, difference
from gir_cli.models import MODELS, Description


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

    def __call__(self, batch: Tensor, *, sigma: Tensor | float | None = None, clamp: bool = True) -> Tensor:
        """Return the restored batch, fp32 (N, C, H · scale, W · scale), for (N, C, H, W) of any size.

        Height and width are extended, as the network's description says, up to what it takes, and the
        result is cut back. `sigma` is the noise's standard deviation, of pixels in [0, 1], for networks
        that want to know it: one number, or one for each picture as (N, 1, 1, 1). UsageError if it is
        given to a network that is blind.
        """
        height, width = batch.shape[-2:]
        description, scale = self.description, self.description.scale
        if sigma is not None and not description.noise_level:
            raise UsageError("this network is blind; it is not told the noise")
        given = () if sigma is None else (sigma,)
        with torch.inference_mode():
            out = self.network(padded(batch, description), *given).float()
        top, left = (scale * start for start in margins(height, width, description))
        out = out[..., top : top + height * scale, left : left + width * scale]
        return out.clamp(0, 1) if clamp else out


def margins(height: int, width: int, description: Description) -> tuple[int, int]:
    """Return the rows above and the columns left of a picture that `padded` has extended."""
    if not description.square:
        return 0, 0
    side = extended(max(height, width), description)
    return (side - height) // 2, (side - width) // 2


def extended(size: int, description: Description) -> int:
    """Return the height or width that the network takes in place of `size`."""
    return -(-max(size, description.minimum) // description.multiple) * description.multiple


def padded(batch: Tensor, description: Description) -> Tensor:
    """Return `batch` (N, C, H, W) extended to a size that the network takes.

    At right and bottom, by the description's padding; reflection repeats where there is too little to
    reflect. A square has the picture in the middle of zeros.
    """
    height, width = batch.shape[-2:]
    top, left = margins(height, width, description)
    sides = [extended(max(height, width) if description.square else size, description) for size in (height, width)]
    below, right = sides[0] - height - top, sides[1] - width - left
    if description.padding == "zeros":
        return functional.pad(batch, (left, right, top, below))
    if description.padding == "replicate":
        return functional.pad(batch, (0, right, 0, below), "replicate")
    return _reflected(_reflected(batch, -1, sides[1]), -2, sides[0])


def _reflected(batch: Tensor, axis: int, wanted: int) -> Tensor:
    while (size := batch.shape[axis]) < wanted:
        step = min(wanted - size, size - 1) or wanted - size
        pad = (0, step, 0, 0) if axis == -1 else (0, 0, 0, step)
        batch = functional.pad(batch, pad, "reflect" if size > 1 else "replicate")
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


def load(path: Path | str, settings: Mapping[str, str] = MappingProxyType({})) -> Model:
    """Return the model in weights file `path`, in fp32 on the CPU; WeightsError says what is wrong with it.

    The file is one of ours, or a checkpoint that others published; `settings`, as text, then say of its
    network what names and shapes of tensors cannot show.
    """
    path = Path(path)
    tensors, ours = read_tensors(path), records.ours(path)
    if ours and settings:
        raise UsageError(f"{path}: its record says what it is; no setting can change that")
    config, names = records.understood(path, shapes(tensors), settings)
    record = records.record(path) if ours else records.published(path, config)
    with torch.device("meta"):  # for the file's tensors take the place of the network's own
        network = MODELS.find(config.name)(config)
    folded = norms_folded(tensors)
    fill(network, {name: folded[there] for name, there in names.items()}, path)
    return Model(network.eval(), record, records.digest(path))


def fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put `tensors` in place of the network's own, which hold nothing yet."""
    expected = network.state_dict()
    if wrong := difference(shapes(expected), shapes(tensors)):
        raise WeightsError(f"{path}: {wrong}")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{path}: '{name}' holds values that are not finite")
    values = {name: tensor.to(expected[name].dtype).contiguous() for name, tensor in tensors.items()}
    network.load_state_dict(values, assign=True)


def config_of(network: nn.Module) -> dict[str, Any]:
    """Return the network's configuration as JSON values."""
    return dataclasses.asdict(network.config)
