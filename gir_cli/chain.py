"""Chains of degradations: their text, their drawing, their order, the training distributions.

A chain is written ``blur:sigma=2 noise:sigma=0..25 jpeg:quality=30|50``: operators in the order in
which they act, each with parameters after a colon, separated by commas; the first may be given
without its name (``noise:25``). A value is

* a number or a word: that value;
* ``a|b|c``: one of them, equally likely;
* ``a..b``: uniform between a and b;
* ``a..b@weak``: between a and b, nearer to a more often;
* ``a..b@log``: uniform in the logarithm;
* ``a..b@inverse``: uniform in 1 / value.

The path of a file spells a space, comma or bar as in a URL: ``%20``, ``%2C``, ``%7C``, and a per cent
sign as ``%25``. A step holds what is still to be drawn; drawing gives an operator, which holds concrete values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import quote, unquote

import numpy as np

from gir_cli.catalog import Catalog
from gir_cli.errors import UsageError, nearest
from gir_cli.ops import OPERATORS, Operator, physical_order
from gir_cli.params import Field, params_of
from gir_cli.rng import Rng, below

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
SHAPES = ("even", "weak", "log", "inverse")
LEAST = 1e-300  # what is less overflows as a divisor, and counts as 0
INTERVAL = re.compile(rf"({NUMBER})\.\.({NUMBER})(?:@(\w+))?")


@dataclass(frozen=True)
class Interval:
    """A value drawn between `first` and `last`.

    `shape` is `even`, `weak` (`first` + (`last` − `first`) · u^1.5: nearer to the first end), `log`
    (uniform in the logarithm) or `inverse` (uniform in 1 / value). Whole-number parameters round
    the result.
    """

    first: float
    last: float
    shape: str = "even"

    def draw(self, rng: Rng) -> float:
        value = self._at(float(rng.uniform()))
        low, high = sorted((self.first, self.last))
        return min(max(value, low), high)  # rounding may lead a hair outside

    def _at(self, u: float) -> float:
        if self.shape == "log":
            return self.first * (self.last / self.first) ** u
        if self.shape == "inverse":
            return 1 / (1 / self.first + (1 / self.last - 1 / self.first) * u)
        return self.first + (self.last - self.first) * (u**1.5 if self.shape == "weak" else u)

    def __str__(self) -> str:
        return f"{spell(self.first)}..{spell(self.last)}" + ("" if self.shape == "even" else f"@{self.shape}")


@dataclass(frozen=True)
class Choice:
    """A value drawn from `values`, all equally likely."""

    values: tuple[Any, ...]

    def draw(self, rng: Rng) -> Any:
        return self.values[below(rng, len(self.values))]

    def __str__(self) -> str:
        return "|".join(spell(value) for value in self.values)


@dataclass(frozen=True)
class Step:
    """An operator still to be drawn: its name, and a value, Interval or Choice per parameter."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def draw(self, rng: Rng) -> Operator:
        """Return the operator with concrete values; parameters are drawn in their declared order."""
        concrete = {}
        for name, parameter in params_of(OPERATORS[self.name]).items():
            value = self.values.get(name)
            if value is None and parameter.param.drawn:
                value = Interval(*parameter.param.drawn)
            if isinstance(value, (Interval, Choice)):
                value = value.draw(rng)
                value = round(value) if parameter.type is int else value
            if value is not None:
                concrete[name] = value
        return OPERATORS[self.name](**concrete)

    def __str__(self) -> str:
        values = ",".join(f"{name}={spell(value)}" for name, value in self.values.items())
        return f"{self.name}:{values}" if values else self.name


Chain = tuple[Step, ...]


def spell(value: Any) -> str:
    """Return the chain text of a value; a float is spelled so that it reads back exactly."""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return quote(value, "/~", errors="surrogateescape") if isinstance(value, str) else str(value)


def step(text: str) -> Step:
    """Return the step that `text` (``name`` or ``name:key=value,…``) spells, or raise UsageError."""
    return Step(*spelled(text, OPERATORS))


def spelled(text: str, catalog: Catalog[Any]) -> tuple[str, dict[str, Any]]:
    """Return the name of a member of `catalog` and the values for its parameters that `text` spells.

    Raises UsageError if there is no such member, or it has no such parameter or value.
    """
    name, _, rest = text.partition(":")
    declared = params_of(catalog.find(name))
    values: dict[str, Any] = {}
    for place, item in enumerate(rest.split(",") if rest else ()):
        key, given, value = item.partition("=")
        if not given and place == 0:
            key, value = next(iter(declared), ""), item
        if key not in declared:
            hint = nearest(key, list(declared)) or f" (it has {', '.join(declared) or 'none'})"
            raise UsageError(f"{name} has no parameter '{key}'{hint}")
        if key in values:
            raise UsageError(f"{name}: {key} is given twice")
        values[key] = _value(value, declared[key], name)
    return name, values


def _value(text: str, parameter: Field, owner: str) -> Any:
    if "|" in text:
        return Choice(tuple(parameter.read(unquote(part, errors="surrogateescape"), owner) for part in text.split("|")))
    if parameter.type not in (int, float):
        return parameter.read(unquote(text, errors="surrogateescape"), owner)
    interval = INTERVAL.fullmatch(text)
    if not interval:
        return parameter.read(text, owner)
    first, last = (parameter.read(end, owner) for end in interval.groups()[:2])
    shape = interval.group(3) or "even"
    if shape not in SHAPES:
        raise UsageError(f"{owner}: {parameter.name}={text}: '@{shape}' is none of @{', @'.join(SHAPES)}")
    if shape in ("log", "inverse") and min(first, last) < LEAST:
        raise UsageError(f"{owner}: {parameter.name}={text}: both ends of a @{shape} interval must be above 0")
    return Interval(first, last, shape)


def parse(text: str) -> Chain:
    """Return the chain that `text` spells, or raise UsageError saying what is wrong with it."""
    return tuple(step(word) for word in text.split())


def concrete(operator: Operator) -> Step:
    """Return the step that draws exactly `operator`: every value that differs from its default."""
    values = {
        name: getattr(operator, name)
        for name, parameter in params_of(type(operator)).items()
        if getattr(operator, name) != parameter.default or parameter.param.drawn
    }
    return Step(operator.name, values)


def draw(chain: Chain, rng: Rng) -> list[Operator]:
    """Return the chain's operators with concrete values."""
    return [part.draw(rng) for part in chain]


def apply(operators: Iterable[Operator], pixels: np.ndarray, rng: Rng) -> np.ndarray:
    """Return `pixels` (float32 (H, W, C) in [0, 1]) after all operators.

    Between two operators values are clipped to [0, 1], as a sensor or a file in between would do;
    what the last one gives is not, the encoder does that. One operator alone is thus unclipped.
    """
    for place, operator in enumerate(operators):
        pixels = operator(pixels.clip(0, 1) if place else pixels, rng)
    return pixels


def in_physical_order(chain: Iterable[Step]) -> Chain:
    """Return the steps in the order in which they happen to a picture; equal ones stay as given."""
    return tuple(sorted(chain, key=lambda part: physical_order(part.name)))


class Distribution(Protocol):
    """What draws the chain of one picture; `steps` are all that it may be made of."""

    @property
    def steps(self) -> Chain: ...

    def draw(self, rng: Rng) -> Chain: ...


@dataclass(frozen=True)
class Mixture:
    """A distribution of chains: how many of `steps` act at once, and how often none does.

    `counts[k]` is the probability of k + 1 distinct steps, among pictures that are degraded at
    all; `clean` is the share left untouched. `weights` are how often each step comes beside others, all
    alike if there are none. Drawn steps keep the order of `steps`.
    """

    steps: Chain
    counts: tuple[float, ...] = (1.0,)
    clean: float = 0.0
    weights: tuple[float, ...] = ()

    def draw(self, rng: Rng) -> Chain:
        """Return the steps that act on one picture."""
        if rng.uniform() < self.clean:
            return ()
        count = 1 + int(np.searchsorted(np.cumsum(self.counts), rng.uniform()))
        # Weighted draws without replacement: the first of exponential clocks (Efraimidis and Spirakis, 2006).
        clocks = -np.log1p(-rng.uniform(size=len(self.steps))) / (self.weights or 1.0)
        first = np.argsort(clocks, kind="stable")[:count]
        return tuple(self.steps[place] for place in sorted(first))


class Slot:
    """A place in a pipeline: chain texts, and the probability of each; what is missing to 1 is for none."""

    def __init__(self, shares: Mapping[str, float]) -> None:
        self.chains = tuple(parse(text) for text in shares)
        self.edges = np.cumsum(list(shares.values()))

    def draw(self, rng: Rng) -> Chain:
        place = int(np.searchsorted(self.edges, rng.uniform(), side="right"))
        return self.chains[place] if place < len(self.chains) else ()


@dataclass(frozen=True)
class Pipeline:
    """A distribution of chains: one chain from every slot, in the order of the slots.

    The first `shuffled` of them come in a random order.
    """

    slots: tuple[Slot, ...]
    shuffled: int = 0

    @property
    def steps(self) -> Chain:
        """All steps that may act."""
        return tuple(part for slot in self.slots for chain in slot.chains for part in chain)

    def draw(self, rng: Rng) -> Chain:
        """Return the steps that act on one picture."""
        first = [self.slots[place] for place in np.argsort(rng.uniform(size=self.shuffled), kind="stable")]
        return tuple(part for slot in (*first, *self.slots[self.shuffled :]) for part in slot.draw(rng))


PICTURE = 627  # mean side of the pictures that tasks are made for, 768×512
SCENE = 192  # side from which on a crop is taken for a scene of its own, with all of the ramp of haze


def in_crops(chain: Iterable[Step], side: int) -> Chain:
    """Return the steps of `chain`, which is meant for whole pictures, as crops of side × side see them.

    Bands and scratches are met in proportion to the side, drops to the area; and a crop sees only a part of
    the depth ramp of haze.
    """
    share = min(side / PICTURE, 1.0)
    met = {"holes": share, "scratch": share, "drops": share**2}
    span = min(1.0, side / SCENE)

    def seen(part: Step) -> Step:
        if part.name in met:
            return Step(part.name, {**part.values, "count": Interval(0, 2 * met[part.name] * part.values["count"])})
        if part.name == "haze" and span < 1:
            return Step(part.name, {**part.values, "top": Interval(0, 1 - span), "span": span})
        return part

    return tuple(seen(part) for part in chain)


#: How often the trained types come beside each other: what most photographs suffer from most often. Bands and
#: darkness are rare: networks that met them often found them in window bars and in any dark picture.
COMMON = {"noise": 2.0, "jpeg": 3.0, "blur": 2.5, "down": 2.0, "rain": 1.5, "haze": 1.0, "dark": 0.5, "holes": 0.7}


def gir_steps(height: int, width: int) -> Chain:
    """Return the ten trained types of GIR with their ranges, for pictures of height × width.

    Bands between random points cover a share of a picture that grows with count / side, so small
    crops get fewer, and some none; and a crop sees only a part of the depth ramp of haze.
    """
    side = math.sqrt(height * width)
    few, many = (max(low, min(high, round(high * side / PICTURE))) for low, high in ((0, 1), (1, 10)))
    span = min(1.0, side / SCENE)
    haze = "beta=0..1.8,airlight=0.8..1" + (f",top=0..{1 - span:.3g},span={span:.3g}" if span < 1 else "")
    return parse(
        "rain:density=0..0.0012@weak,length=15..35,width=0.7..1.1,strength=0.4..0.7 "
        f"haze:{haze} dark:gamma=1..2.8 motion:length=0..21@weak blur:sigma=0..3@weak "
        "down:factor=1..4@weak noise:sigma=0..50@weak shot:peak=4000..60@log jpeg:quality=10..95@weak "
        f"holes:count={few}..{many},width=1..10"
    )


def _gir(height: int, width: int) -> Distribution:
    return _common(gir_steps(height, width), (0.4, 0.3, 0.2, 0.1))


def _multi(height: int, width: int) -> Distribution:
    return _common(gir_steps(height, width), (1.0,))


def _common(steps: Chain, counts: tuple[float, ...]) -> Mixture:
    return Mixture(steps, counts, clean=0.05, weights=tuple(COMMON.get(step.name, 1.0) for step in steps))


def _real_esrgan(height: int, width: int) -> Distribution:
    """Real-ESRGAN's second-order model (Wang et al., 2021) at the picture's own size.

    Without its enlarging resizes and the final factor of 4; generalised and plateau-shaped kernels
    are plain Gaussians, and what it does to a shrunken picture is done after enlarging it back.
    """
    shrink = "shrink=area|bilinear|bicubic,enlarge=bilinear|bicubic"
    first = Slot({"blur:0.2..3": 0.62, "blur:0.2..3,minor=0.2..3,angle=-180..180": 0.28, "ringing:0.63..3.14": 0.1})
    again = Slot(
        {"blur:0.2..1.5": 0.5, "blur:0.2..1.5,minor=0.2..1.5,angle=-180..180": 0.22, "ringing:0.63..3.14": 0.08}
    )
    return Pipeline(
        (
            first,
            Slot({f"down:1..6.67@inverse,{shrink}": 0.7}),
            Slot({"noise:1..30": 0.3, "noise:1..30,kind=gray": 0.2, "shot:1000..28@log": 0.5}),
            Slot({"jpeg:30..95": 1}),
            again,
            Slot({f"down:1..3.33@inverse,{shrink}": 0.4}),
            Slot({"noise:1..25": 0.3, "noise:1..25,kind=gray": 0.2, "shot:1000..41@log": 0.5}),
            Slot({"ringing:1.05..3.14 jpeg:30..95": 0.4, "jpeg:30..95 ringing:1.05..3.14": 0.4, "jpeg:30..95": 0.2}),
        )
    )


def _bsrgan(height: int, width: int) -> Distribution:
    """BSRGAN's shuffled model (Zhang et al., 2021) at the picture's own size: scale factor 1.

    Its camera pipeline is `camera`; what it does to a shrunken picture is done after enlarging it
    back.
    """
    blur = Slot({"blur:0.1..2.3": 0.5, "blur:0.3..2.3,minor=0.3..2.3,angle=0..180": 0.5})
    resize = "down:1..4@inverse,shrink=nearest|bilinear|bicubic,enlarge=bilinear|bicubic"
    noise = Slot({"noise:2..25": 0.4, "noise:2..25,kind=gray": 0.4, "noise:2..25,kind=correlated": 0.2})
    camera = Slot({"camera:0.0005..0.01@log,read=0.00001..0.001@log": 0.25})
    shuffled = (blur, blur, Slot({resize: 0.75}), noise, Slot({"jpeg:30..95": 0.9}), camera)
    return Pipeline((*shuffled, Slot({"jpeg:30..95": 1})), shuffled=len(shuffled))


#: Training distributions by name; each makes the distribution for pictures of a height and width.
PRESETS: dict[str, Callable[[int, int], Distribution]] = {
    "gir": _gir,
    "multi": _multi,
    "real-esrgan": _real_esrgan,
    "bsrgan": _bsrgan,
}


@lru_cache(maxsize=256)
def preset(name: str, height: int, width: int) -> Distribution:
    """Return the training distribution `name` for pictures of height × width, or raise UsageError."""
    if name not in PRESETS:
        hint = nearest(name, list(PRESETS)) or f" (there are: {', '.join(PRESETS)})"
        raise UsageError(f"no preset is called '{name}'{hint}")
    return PRESETS[name](height, width)
