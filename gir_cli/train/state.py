"""The run folder: checkpoints that are whole or absent, the log, the result.

A checkpoint is a folder `checkpoint-STEP` with `state.safetensors` (weights, moving average,
optimisers' moments) and `state.json` (step, settings, hash). It is written aside and renamed; on
load the newest one whose hash matches is taken. The last two are kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import Tensor, nn

from gir_cli.errors import GirError, UsageError
from gir_cli.train.settings import FIXED, Settings

KEPT = 2


def snapshot(network: nn.Module, average: Mapping[str, Tensor], optimizers: list) -> dict[str, Tensor]:
    """Return all tensors of a run by name."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    tensors = {f"weights/{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average/{name}": value for name, value in average.items()}
    for place, optimizer in enumerate(optimizers):
        for parameter, moments in optimizer.state.items():
            tensors |= {f"moment{place}/{key}/{names[parameter]}": value for key, value in moments.items()}
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def put_back(tensors: Mapping[str, Tensor], network: nn.Module, average: dict[str, Tensor], optimizers: list) -> None:
    """Give a run the tensors of a snapshot, on the run's own devices."""
    parameters = dict(network.named_parameters())
    for name, value in tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "average":
            average[rest].copy_(value)
        elif kind.startswith("moment"):
            key, _, parameter = rest.partition("/")
            owner = parameters[parameter]
            # Fused optimisers need a moment to lie in memory as its parameter does.
            moment = torch.empty_like(owner) if value.ndim else torch.empty((), device=owner.device)
            optimizers[int(kind.removeprefix("moment"))].state[owner][key] = moment.copy_(value)
    network.load_state_dict({n.partition("/")[2]: v for n, v in tensors.items() if n.startswith("weights/")})


def write_checkpoint(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a checkpoint aside, rename it, and remove all but the last two."""
    data = write_tensors(dict(tensors))
    aside = folder / f".checkpoint-{step:09d}.{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        (aside / "state.safetensors").write_bytes(data)
        record = {"step": step, "sha256": hashlib.sha256(data).hexdigest(), **facts}
        (aside / "state.json").write_text(json.dumps(record, indent=1))
        final = folder / f"checkpoint-{step:09d}"
        shutil.rmtree(final, ignore_errors=True)
        os.replace(aside, final)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    for old in checkpoints(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def checkpoints(folder: Path) -> list[Path]:
    """Return the run's checkpoints, the newest first."""
    found = [place for place in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", place.name)]
    return sorted(found, key=lambda place: int(place.name.partition("-")[2]), reverse=True)


def read_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Return the newest whole checkpoint's facts and tensors, or None where there is none."""
    for place in checkpoints(folder):
        try:
            facts = json.loads((place / "state.json").read_text())
            data = (place / "state.safetensors").read_bytes()
        except (OSError, ValueError):
            continue
        if isinstance(facts, dict) and hashlib.sha256(data).hexdigest() == facts.get("sha256"):
            return facts, read_tensors(data)
    return None


def held(settings: Settings, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return what a checkpoint holds of `settings`: digests, of the data and of files, where content is what counts."""
    return dataclasses.asdict(settings) | dict(digests)


def check_same_run(folder: Path, old: Mapping[str, Any], settings: Settings, digests: Mapping[str, str]) -> None:
    """Raise UsageError naming the first setting of run `folder` that must not change but did."""
    plain = dataclasses.asdict(settings)
    new = held(settings, digests)
    # A run begun before there was a setting had its default.
    begun = dataclasses.asdict(Settings()) | dict(old)
    for name in (*FIXED, "data"):
        # An old run holds its teacher's path where one of now holds the digest.
        if begun[name] not in (new[name], plain.get(name)):
            raise UsageError(
                f"{folder} was begun with {name}={begun[name]}, not {new[name]};"
                f" another -o with --start {folder}/best.safetensors goes on from its weights"
            )


def log(folder: Path, facts: Mapping[str, Any]) -> None:
    """Append one JSON object to the run's log, on a line of its own even if the last one was cut off."""
    with open(folder / "log.jsonl", "a+b") as out:
        out.seek(max(out.tell() - 1, 0))
        begin = "\n" if out.read(1) not in (b"", b"\n") else ""
        out.write(f"{begin}{json.dumps(facts)}\n".encode())


def check_room(folder: Path, network: nn.Module) -> int:
    """Return the bytes that the run folder will hold at most; GirError if the disk has not that much.

    Weights, average and up to two moments in each checkpoint, of which one more than is kept exists for
    a moment; and two files of weights.
    """
    size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    needed = (4 * (KEPT + 1) + 2) * size
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise GirError(f"{folder}: {needed >> 20} MiB are needed on its disk, and {free >> 20} are free")
    return needed
