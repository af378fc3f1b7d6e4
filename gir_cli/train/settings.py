"""What a training run is: its settings, and the schedule that follows from them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from gir_cli.errors import UsageError
from gir_cli.params import Checked, Param


@dataclass(frozen=True)
class Settings(Checked):
    """Settings of a run; the defaults are tuned to be best within limited computing.

    Those in FIXED, and the data, define the run; the rest may change when it is resumed.
    """

    model: Annotated[str, Param("backbone")] = "girnet"
    config: Annotated[str, Param("the backbone's settings, as width=32,blocks=2")] = ""
    distribution: Annotated[str, Param("training distribution: a preset, or a chain")] = "gir"
    counts: Annotated[str, Param("how often 1, 2, … steps of a chain or preset act, as 0.5,0.3,0.2")] = ""
    often: Annotated[str, Param("how often kinds come beside the others in a mixture, as jpeg=3,haze=0.5")] = ""
    degrade_on: Annotated[
        Literal["cpu", "device"], Param("where samples are degraded: by workers, or in batches on the device")
    ] = "cpu"
    seed: Annotated[int, Param("seed of the weights and of all samples", 0, 2**31)] = 0
    loss: Annotated[
        Literal["l1", "charbonnier", "mse", "psnr", "psnr40", "gate"],
        Param("what is made small; gate is for the gate of a girnet's experts alone: --freeze all else"),
    ] = "charbonnier"
    fft: Annotated[float, Param("weight of the error of Fourier transforms beside the loss", 0, 100)] = 0.0
    perceptual: Annotated[float, Param("weight of the error of a classifier's features beside the loss", 0, 100)] = 0.0
    perceptual_backbone: Annotated[
        str, Param("that classifier: AlexNet or VGG-16 as torchvision has them", metavar="FILE")
    ] = ""
    teacher: Annotated[str, Param("weights file whose results are learnt beside the truth")] = ""
    teacher_share: Annotated[float, Param("share of the loss that the teacher's results have", 0, 1)] = 0.5
    freeze: Annotated[str, Param("parameters to leave as they are, by name, as 'stem.*,head.*'")] = ""
    steps: Annotated[int, Param("steps of the whole run", 1)] = 20000
    batch: Annotated[int, Param("patches in a step, of the first size", 1, 65536)] = 16
    accumulate: Annotated[int, Param("parts in which a batch is computed, to need less memory", 1, 65536)] = 1
    pairs_share: Annotated[float, Param("share of samples that come from --pairs, if there is --data too", 0, 1)] = 0.5
    patches: Annotated[str, Param("sides of the patches, each for an equal share of the steps")] = "64,64,64,128"
    zoom: Annotated[float, Param("largest factor by which photographs are reduced before patches are cut", 1, 16)] = 1.0
    exposed: Annotated[
        float, Param("share of the photographs made darker or paler, or edited, before they are degraded", 0, 1)
    ] = 0.0
    figured: Annotated[
        float, Param("share of the photographs on which figures (beads, bricks, letters, …) are drawn first", 0, 1)
    ] = 0.0
    optimizer: Annotated[Literal["muon", "adam"], Param("muon for hidden kernels and AdamW for the rest; or Adam")] = (
        "muon"
    )
    rate: Annotated[float, Param("learning rate of Muon, or of Adam alone", 0, 1)] = 0.01
    adam_rate: Annotated[float, Param("learning rate of AdamW beside Muon", 0, 1)] = 0.002
    decay: Annotated[float, Param("weight decay of Muon: each step shrinks kernels by rate times this", 0, 10)] = 0.2
    last_rate: Annotated[float, Param("share of the rate that is left at the end", 0, 1)] = 0.0
    warmup: Annotated[int, Param("steps of linear warm-up", 0)] = 200
    average: Annotated[float, Param("decay of the moving average of the weights", 0, 1)] = 0.999
    clip: Annotated[float, Param("largest norm of the gradient; 0 for no limit", 0)] = 1.0
    precision: Annotated[Literal["auto", "fp32", "bf16"], Param("precision of the forward and backward pass")] = "auto"
    every: Annotated[int, Param("steps between validations and checkpoints", 1)] = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        sides(self)
        probabilities(self)
        frequencies(self)
        if bool(self.perceptual) != bool(self.perceptual_backbone):
            raise UsageError("--perceptual, a weight, and --perceptual-backbone, a file, are of use together only")
        if self.loss == "gate" and (self.fft or self.perceptual or self.teacher):
            raise UsageError("--loss=gate stands alone, without --fft, --perceptual and --teacher")

    @property
    def largest(self) -> int:
        """The largest patch's side."""
        return max(sides(self))


#: Fields that must not change when a run is resumed; of the perceptual backbone and the teacher it is the content.
FIXED = (
    "model",
    "config",
    "distribution",
    "counts",
    "often",
    "degrade_on",
    "seed",
    "loss",
    "fft",
    "perceptual",
    "perceptual_backbone",
    "teacher",
    "teacher_share",
    "freeze",
    "pairs_share",
    "zoom",
    "exposed",
    "figured",
    "optimizer",
)

#: Settings by the name of a recipe. "paper" is the one of GIR (Kong et al., 2024): Adam from 2e-4 to 1e-7, L1.
RECIPES: dict[str, dict[str, Any]] = {
    "tuned": {},
    "paper": {
        "batch": 8,
        "patches": "128",
        "optimizer": "adam",
        "rate": 2e-4,
        "last_rate": 5e-4,
        "loss": "l1",
        "warmup": 0,
        "clip": 0.0,
    },
}


def sides(settings: Settings) -> list[int]:
    """Return the sides of the patches in their order, or raise UsageError."""
    try:
        found = [int(part) for part in settings.patches.split(",")]
    except ValueError:
        found = [0]
    if not all(8 <= side <= 4096 and side % 8 == 0 for side in found):
        raise UsageError(f"patches={settings.patches} is no list of multiples of 8 up to 4096, such as 64,64,128")
    return found


def probabilities(settings: Settings) -> tuple[float, ...]:
    """Return the probabilities of one, two, … steps of the chain acting, or none; UsageError if they are no such."""
    try:
        found = tuple(float(part) for part in settings.counts.split(",")) if settings.counts else ()
    except ValueError:
        found = (-1.0,)
    if found and not (min(found) >= 0 and math.isclose(sum(found), 1, abs_tol=1e-6)):
        raise UsageError(f"counts={settings.counts} is no list of probabilities with the sum 1, such as 0.5,0.3,0.2")
    return found


def frequencies(settings: Settings) -> tuple[tuple[str, float], ...]:
    """Return pairs of a step's name and how often it comes beside others; UsageError if the text spells none."""
    parts = [part.partition("=") for part in settings.often.split(",")] if settings.often else []
    try:
        found = tuple((name, float(value)) for name, _, value in parts)
    except ValueError:
        found = (("", -1.0),)
    if not all(0 < value < math.inf for _, value in found) or len(dict(found)) < len(found):
        raise UsageError(f"often={settings.often} is no list of kinds and numbers above 0, such as jpeg=3,haze=0.5")
    return found


def shapes(settings: Settings) -> list[tuple[int, int]]:
    """Return (number of patches, side) of the batches in their order.

    Larger patches come in smaller batches, so that a step keeps its number of pixels and its time.
    """
    choices = sides(settings)
    return [(max(1, round(settings.batch * (choices[0] / side) ** 2)), side) for side in choices]


def address(step: int, settings: Settings) -> tuple[int, int, int]:
    """Return step's (first sample, number of samples, side)."""
    choices = shapes(settings)
    return step * settings.batch, *choices[min(step * len(choices) // settings.steps, len(choices) - 1)]


def addresses(start: int, settings: Settings) -> Iterator[tuple[int, int, int]]:
    """Yield the addresses of the steps from `start` on."""
    for step in range(start, settings.steps):
        yield address(step, settings)


def rate(step: int, settings: Settings) -> float:
    """Return the share of the learning rate at `step`: linear warm-up, then a cosine down to `last_rate`."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.last_rate + (1 - settings.last_rate) * 0.5 * (1 + math.cos(math.pi * done))


def averaging(step: int, settings: Settings) -> float:
    """Return the decay of the moving average at `step`: it warms up, so that the start is forgotten."""
    return min(settings.average, (1 + step) / (10 + step))
