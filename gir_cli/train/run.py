"""A training run: a network with its optimisers, its moving average and its place in the run."""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gir_cli import __version__
from gir_cli.data import Photographs, Samples, psnr, to_float
from gir_cli.devices import fast_precision, keep_freed_memory, place_channels_last
from gir_cli.errors import GirError, UsageError
from gir_cli.models import MODELS, Description
from gir_cli.params import params_of
from gir_cli.train import state
from gir_cli.train.losses import loss
from gir_cli.train.optimizer import optimizers, set_rates
from gir_cli.train.settings import Settings, address, averaging, sides
from gir_cli.weights import built, config_of, load

PATIENCE = 10  # updates in a row that may be skipped for not being finite
HELD_OUT = 32  # one photograph in so many is kept for validation
VALIDATION = (0, 48, 128)  # address of the validation samples


@dataclass(frozen=True)
class Limits:
    """What bounds a run from outside: seconds for the whole of it, seconds for this slice, and where it runs."""

    time: float | None = None
    stop_after: float | None = None
    device: str = "cpu"
    workers: int = 1


def read_config(model: str, text: str) -> dict[str, Any]:
    """Return the backbone settings that `text`, such as ``width=32,blocks=2``, spells."""
    declared = params_of(MODELS.find(model).Config)
    config = {}
    for item in text.split(",") if text else ():
        key, _, value = item.partition("=")
        if key not in declared:
            raise UsageError(f"{model} has no setting '{key}' (it has {', '.join(declared)})")
        config[key] = declared[key].read(value, model)
    return config


def check_trainable(settings: Settings, description: Description) -> None:
    """Raise UsageError if the network is not one that maps RGB patches of these sides to clean ones."""
    model = settings.model
    if description.scale != 1 or description.channels != 3 or description.noise_level:
        raise UsageError(f"{model}: only networks that take RGB alone and keep the size can be trained here")
    for side in sides(settings):
        if side % description.multiple or side < description.minimum:
            raise UsageError(f"{model}: patches={side} is no multiple of {description.multiple}, which it needs")


class Run:
    """A network in training with all its state."""

    def __init__(self, settings: Settings, photographs: Photographs, folder: Path, limits: Limits) -> None:
        keep_freed_memory()
        self.settings, self.folder, self.limits = settings, folder, limits
        self.device = torch.device(limits.device)
        self.digest = photographs.digest
        train, valid = photographs.held_out(HELD_OUT)
        self.samples = Samples(train, settings.distribution, settings.seed)
        self.validation = Samples(valid, settings.distribution, settings.seed, "valid")
        self.network = self._network().to(self.device)
        place_channels_last(self.network)
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.optimizers = optimizers(self.network, settings)
        fast = fast_precision(self.device) == torch.bfloat16
        self.bf16 = settings.precision == "bf16" or (settings.precision == "auto" and fast)
        self.step, self.images, self.skipped, self.row, self.seconds = 0, 0, 0, 0, 0.0
        self.best, self.parents = -math.inf, []

    def _network(self) -> nn.Module:
        """Return the network at its start; its weights depend on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(self.settings.seed)
            network = built(self.settings.model, read_config(self.settings.model, self.settings.config))
        check_trainable(self.settings, network.description)
        return network

    def start_from(self, path: Path) -> None:
        """Take the weights of file `path` as the start."""
        model = load(path)
        if model.record["model"] != self.settings.model or model.record["config"] != config_of(self.network):
            raise UsageError(f"{path}: is a {model.record['model']} of another configuration than this run's")
        self.network.load_state_dict(model.network.state_dict())
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.parents = [model.digest]

    def resume(self) -> bool:
        """Take up the newest checkpoint of the run folder; say whether there was one."""
        found = state.read_checkpoint(self.folder)
        if found is None:
            return False
        facts, tensors = found
        state.check_same_run(self.folder, facts["settings"], self.settings, self.digest)
        state.put_back(tensors, self.network, self.average, self.optimizers)
        self.step, self.images, self.skipped = facts["step"], facts["images"], facts["skipped"]
        self.seconds, self.best, self.parents = facts["seconds"], facts["best"], facts["parents"]
        if self.limits.time is not None:
            self.settings = dataclasses.replace(self.settings, steps=facts["settings"]["steps"])
        return True

    def update(self, worse: Tensor, clean: Tensor) -> Tensor:
        """Take one step on a batch of uint8 levels; return the loss, not waited for."""
        set_rates(self.optimizers, self.step, self.settings)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            restored = self.network(to_float(worse, self.device))
        value = loss(self.settings.loss, restored.float(), to_float(clean, self.device))
        value.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip or math.inf)
        if state.finite(norm + value):
            for optimizer in self.optimizers:
                optimizer.step()
            self._move_average()
            self.row = 0
        else:
            self._skip()
        for parameter in self.network.parameters():
            parameter.grad = None
        self.step += 1
        self.images += len(worse)
        return value.detach()

    def _skip(self) -> None:
        self.skipped, self.row = self.skipped + 1, self.row + 1
        if self.row == PATIENCE:
            first, count, side = address(self.step, self.settings)
            raise GirError(
                f"{self.folder}: the loss is not finite at step {self.step} (samples {first} to {first + count - 1},"
                f" {side}x{side}), {PATIENCE} times in a row; try a smaller rate"
            )

    @torch.no_grad()
    def _move_average(self) -> None:
        share = 1 - averaging(self.step, self.settings)
        new = {name: value for name, value in self.network.state_dict().items() if value.is_floating_point()}
        torch._foreach_lerp_([self.average[name] for name in new], list(new.values()), share)

    def validate(self) -> tuple[float, float]:
        """Return the mean PSNR in dB of the averaged network, and of its input, on fixed samples."""
        network = copy.deepcopy(self.network).eval()
        network.load_state_dict(self.average)
        first, count, side = VALIDATION
        scores = []
        for start in range(first, first + count, 8):
            worse, clean = (to_float(part, self.device) for part in self.validation[start, 8, side])
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                restored = network(worse).float()
            scores.append(torch.stack([psnr(restored, clean), psnr(worse, clean)]))
        restored, untouched = torch.cat(scores, 1).mean(1).tolist()
        return restored, untouched

    def checkpoint(self) -> None:
        """Write the state to the run folder."""
        facts = {
            "images": self.images,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "best": self.best,
            "parents": self.parents,
            "settings": dataclasses.asdict(self.settings) | {"data": self.digest},
        }
        tensors = state.snapshot(self.network, self.average, self.optimizers)
        state.write_checkpoint(self.folder, self.step, tensors, facts)

    def record(self, score: tuple[float, float] | None, about: dict[str, Any]) -> dict[str, Any]:
        """Return the record of weights made now."""
        return {
            "name": about.get("name", self.folder.name),
            "model": self.settings.model,
            "config": config_of(self.network),
            "scale": self.network.description.scale,
            "train": {
                **dataclasses.asdict(self.settings),
                "data": about.get("data", []),
                "photographs": len(self.samples.photographs) + len(self.validation.photographs),
                "data_digest": self.digest,
                "steps_done": self.step,
                "images": self.images,
                "seconds": round(self.seconds),
                "bf16": self.bf16,
                "device": about.get("device", self.device.type),
                "program": __version__,
                "commit": about.get("commit", ""),
                "torch": torch.__version__,
                "command": about.get("command", ""),
            },
            "scores": {"validation": {"psnr": score[0], "input": score[1]}} if score else {},
            "license": about.get("license", ""),
            "parents": self.parents,
        }
