"""A training run: a network with its optimisers, its moving average and its place in the run."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gir_cli import __version__, device_chain, records
from gir_cli.data import DeviceSamples, Samples, Sources, psnr, to_float
from gir_cli.devices import fast_precision, keep_freed_memory, out_of_memory, place_channels_last
from gir_cli.errors import GirError, UsageError
from gir_cli.features import Features, read_features
from gir_cli.growth import grow
from gir_cli.layouts import read_config
from gir_cli.models import Description
from gir_cli.train import state
from gir_cli.train.distributed import ALONE, Ranks, total
from gir_cli.train.losses import loss
from gir_cli.train.optimizer import optimizers, set_rates
from gir_cli.train.settings import Settings, address, averaging, frequencies, probabilities, shapes, sides
from gir_cli.weights import built, config_of, load

PATIENCE = 10  # updates in a row that may be skipped for not being finite
VALIDATION = (0, 48, 128)  # address of the validation samples


@dataclass(frozen=True)
class Limits:
    """What bounds a run from outside: seconds for the whole of it and for this slice, and where and how it runs."""

    time: float | None = None
    stop_after: float | None = None
    device: str = "cpu"
    workers: int = 1
    compiled: bool = False
    ranks: Ranks = ALONE


def check_trainable(settings: Settings, description: Description) -> None:
    """Raise UsageError if the network is not one that maps RGB patches of these sides to clean ones."""
    model = settings.model
    if description.scale != 1 or description.channels != 3 or description.noise_level:
        raise UsageError(f"{model}: only networks that take RGB alone and keep the size can be trained here")
    for side in sides(settings):
        if side % description.multiple or side < description.minimum:
            raise UsageError(f"{model}: patches={side} is no multiple of {description.multiple}, which it needs")


def multiplications(network: nn.Module) -> float:
    """Return the multiplications that `network` takes for a pixel of a picture, counted on one of 128×128."""
    from torch.utils.flop_counter import FlopCounterMode

    side = -(-128 // network.description.multiple) * network.description.multiple
    picture = torch.zeros(1, 3, side, side, device=next(network.parameters()).device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(picture)
    return counter.get_total_flops() / 2 / side**2


class Run:
    """A network in training with all its state."""

    def __init__(self, settings: Settings, sources: Sources, folder: Path, limits: Limits) -> None:
        keep_freed_memory()
        self.settings, self.folder, self.limits, self.sources = settings, folder, limits, sources
        self.device, self.ranks = torch.device(limits.device), limits.ranks
        for shape in shapes(settings):
            self.ranks.share((0, *shape))  # a batch that cannot be shared is said before any work
        self.digests = {"data": sources.digest, "perceptual_backbone": "", "teacher": ""}
        self.classifier = self._classifier()
        samples, self.validation = sources.samples(
            settings.distribution,
            settings.seed,
            settings.pairs_share,
            probabilities(settings),
            frequencies(settings),
            settings.zoom,
            settings.exposed,
            settings.figured,
        )
        self.samples = self._samples(samples)
        self.network = self._network().to(self.device)
        place_channels_last(self.network)
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.optimizers = optimizers(self.network, settings)
        self.parallel = self._parallel()
        fast = fast_precision(self.device) == torch.bfloat16
        self.bf16 = settings.precision == "bf16" or (settings.precision == "auto" and fast)
        self.step, self.images, self.seconds = 0, 0, 0.0
        self.fixed_by: float | None = None  # the time budget, in seconds, from which the number of steps follows
        # Updates skipped in all, and in a row; kept on the device, so that no step waits for them.
        self.skips = torch.zeros(2, dtype=torch.int64, device=self.device)
        self.best, self.parents = -math.inf, []
        self.teacher = self._teacher()

    def _samples(self, samples: Samples) -> Samples | DeviceSamples:
        distribution = samples.mixture(self.settings.largest)  # what is wrong with it is said before any work
        if self.settings.degrade_on == "cpu":
            return samples
        if samples.pairs is not None:
            raise UsageError("--degrade-on=device has nothing to do for --pairs; leave one of them out")
        if self.device.type == "mps":
            raise UsageError("--degrade-on=device needs 64-bit floats, which mps has not")
        device_chain.check(distribution)
        return DeviceSamples(samples)

    def _network(self) -> nn.Module:
        """Return the network at its start; its weights depend on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(self.settings.seed)
            network = built(self.settings.model, read_config(self.settings.model, self.settings.config))
        check_trainable(self.settings, network.description)
        if self.settings.loss == "gate" and getattr(network, "gate", None) is None:
            raise UsageError("--loss=gate needs a girnet of several experts, as --config experts=2")
        return network

    def _parallel(self) -> nn.Module:
        """Return the network as it is called in training: compiled, and joined with other processes' copies."""
        network = torch.compile(self.network) if self.limits.compiled else self.network
        if self.ranks.count == 1:
            return network
        places = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=places)

    def _classifier(self) -> Features | None:
        """Return the network of the perceptual loss, its file's digest noted; UsageError if patches are too small."""
        if not self.settings.perceptual:
            return None
        path = Path(self.settings.perceptual_backbone)
        classifier = read_features(path)
        self.digests["perceptual_backbone"] = records.digest(path)
        least = classifier.plan.least
        if min(sides(self.settings)) < least:
            raise UsageError(f"{path}: patches={self.settings.patches} must not be under {least}, which it needs")
        place_channels_last(classifier)
        return classifier.to(self.device)

    def _teacher(self) -> nn.Module | None:
        if not self.settings.teacher:
            return None
        model = load(Path(self.settings.teacher))
        about = model.description
        if about.scale != 1 or about.channels != 3 or about.noise_level:
            raise UsageError(f"{self.settings.teacher}: a teacher takes RGB alone and keeps the size")
        self.parents, self.digests["teacher"] = [model.digest], model.digest
        place_channels_last(model.network)
        return model.network.to(self.device)

    def start_from(self, path: Path) -> None:
        """Take the weights of file `path`, of a network of the same kind and no larger, as the start."""
        model = load(path)
        if model.record["model"] != self.settings.model:
            raise UsageError(f"{path}: is a {model.record['model']}, and this run's network a {self.settings.model}")
        try:
            grow(self.network, model.network)
        except UsageError as error:
            raise UsageError(f"{path}: is no {self.settings.model} that can become this run's ({error})") from None
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.parents = [*self.parents, model.digest]

    def resume(self) -> bool:
        """Take up the newest checkpoint of the run folder; say whether there was one."""
        found = state.read_checkpoint(self.folder)
        if found is None:
            return False
        facts, tensors = found
        state.check_same_run(self.folder, facts["settings"], self.settings, self.digests)
        state.put_back(tensors, self.network, self.average, self.optimizers)
        self.step, self.images, self.skips[0] = facts["step"], facts["images"], facts["skipped"]
        self.seconds, self.best, self.parents = facts["seconds"], facts["best"], facts["parents"]
        if self.limits.time is not None:
            self._keep_length(facts)
        return True

    def _keep_length(self, facts: Mapping[str, Any]) -> None:
        """Keep the number of steps that a time budget has given the run, if one has; UsageError if it was another."""
        # Checkpoints from before this was kept are taken to have their length.
        self.fixed_by = facts.get("fixed_by", self.limits.time)
        if self.fixed_by is None:
            return
        steps = facts["settings"]["steps"]
        if self.fixed_by != self.limits.time:
            raise UsageError(
                f"{self.folder}: its length of {steps} steps came of a --time of {self.fixed_by:g}s and stays;"
                f" --steps instead of --time changes it"
            )
        self.settings = dataclasses.replace(self.settings, steps=steps)

    def update(self, worse: Tensor, clean: Tensor) -> Tensor:
        """Take one step on a batch of uint8 levels; return the loss, not waited for."""
        set_rates(self.optimizers, self.step, self.settings)
        value = self._gradient(worse, clean)
        # Other processes' losses are seen in the gradient, which is the mean of all.
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip or math.inf)
        broken = ~norm.isfinite()
        for optimizer in self.optimizers:
            optimizer.found_inf = broken.float()
            optimizer.step()
        self._move_average()
        self.skips = torch.where(broken, self.skips + 1, self.skips * self.skips.new_tensor([1, 0]))
        for parameter in self.network.parameters():
            parameter.grad = None
        self.step += 1
        self.images += len(worse) * self.ranks.count
        return value

    def _gradient(self, worse: Tensor, clean: Tensor) -> Tensor:
        """Give the parameters the gradient of a batch, computed in parts; return the loss."""
        parts = min(self.settings.accumulate, len(worse))
        value = torch.zeros((), device=self.device)
        for part, (some, truth) in enumerate(zip(worse.tensor_split(parts), clean.tensor_split(parts), strict=True)):
            waits = self.ranks.count > 1 and part < parts - 1
            with self.parallel.no_sync() if waits else nullcontext():
                share = self._loss(to_float(some, self.device), to_float(truth, self.device)) * (len(some) / len(worse))
                share.backward()
            value += share.detach()
        return value

    def _loss(self, worse: Tensor, clean: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            if self.settings.loss == "gate":
                return self.parallel(worse, clean)
            restored = self.parallel(worse).float()
            if self.teacher is None:
                return loss(self.settings, restored, clean, self.classifier)
            with torch.no_grad():
                taught = self.teacher(worse).float()
            true, learnt = (loss(self.settings, restored, aim, self.classifier) for aim in (clean, taught))
        share = self.settings.teacher_share
        return (1 - share) * true + share * learnt

    @property
    def skipped(self) -> int:
        """Updates that were skipped because their gradient was not finite; waits for the device."""
        return int(self.skips[0])

    def check(self) -> None:
        """Raise GirError if the last updates were all skipped; waits for the device."""
        if int(self.skips[1]) < PATIENCE:
            return
        first, count, side = address(self.step - 1, self.settings)
        raise GirError(
            f"{self.folder}: the loss was not finite in the {int(self.skips[1])} steps before step {self.step} (the"
            f" last on samples {first} to {first + count - 1}, {side}x{side}); try a smaller rate"
        )

    def affordable(self, count: int, side: int) -> int:
        """Return the largest of `count`'s halves for which a step at `side` fits in memory; 0 if none does."""
        while count := count // 2:
            try:
                self._loss(*torch.zeros(2, count, 3, side, side, device=self.device)).backward()
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            else:
                break
        return count

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
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        for start in range(first, first + count, 8)[self.ranks.rank :: self.ranks.count]:
            worse, clean = (to_float(part, self.device) for part in self.validation[start, 8, side])
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                restored = network(worse).float()
            sums += torch.stack([psnr(restored, clean).sum(), psnr(worse, clean).sum()])
        restored, untouched = (total(sums, self.ranks) / count).tolist()
        return restored, untouched

    def checkpoint(self) -> None:
        """Write the state to the run folder; the first process does it for all."""
        if not self.ranks.leads:
            return
        facts = {
            "images": self.images,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "fixed_by": self.fixed_by,
            "best": self.best,
            "parents": self.parents,
            "settings": state.held(self.settings, self.digests),
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
                "photographs": len(self.sources.photographs or ()),
                "pairs": len(self.sources.pairs.clean) if self.sources.pairs else 0,
                "data_digest": self.digests["data"],
                "perceptual_digest": self.digests["perceptual_backbone"],
                "steps_done": self.step,
                "images": self.images,
                "seconds": round(self.seconds),
                "bf16": self.bf16,
                "processes": self.ranks.count,
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
