"""gir degrade: make clean images worse, reproducibly."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from gir_cli import files
from gir_cli.batch import Placing, is_stdout
from gir_cli.chain import PRESETS, Chain, apply, concrete, draw, in_physical_order, parse, preset, step
from gir_cli.cli.batch import Batch, Running
from gir_cli.cli.options import spread
from gir_cli.cli.work import Job, Result
from gir_cli.errors import InputError, OutputError, UsageError
from gir_cli.gallery import gallery
from gir_cli.image import Image, Saving
from gir_cli.ops import OPERATORS, Operator, physical_order
from gir_cli.params import Checked, Param, params_of
from gir_cli.rng import Rng, stream

RECIPE = 1  # version of the lines that --record writes

EPILOG = """Examples:

  gir degrade --noise 25 --blur 2 in.png                      in.degraded.png here, or stdout in a pipe
  gir degrade --jpeg 10..40 -r photos/ -o worse/              a tree, a quality drawn per image
  gir degrade --chain 'jpeg:quality=30 down:factor=2 jpeg:quality=50' in.png -o twice.png
  gir degrade --random gir --seed 7 --record chains.jsonl photos/ -o worse/
"""


@dataclass(frozen=True)
class Drawing(Checked):
    """Which degradations act on an image."""

    chain: Annotated[str | None, Param("degradations in the order given, as 'blur:sigma=2 noise:sigma=0..25'")] = None
    random: Annotated[
        str | None, Param("draw a chain per image from a training distribution: " + ", ".join(PRESETS))
    ] = None
    seed: Annotated[int, Param("seed; an image's draws depend on it and on its path below the operand", 0, 2**63)] = 0
    record: Annotated[str | None, Param("write each image's exact chain to a JSON Lines file")] = None
    recipe: Annotated[str | None, Param("replay such a file: the same images get the same pixels")] = None
    gallery: Annotated[bool, Param("make one labelled sheet of every operator at three strengths on the image")] = False
    list: Annotated[bool, Param("print operators, parameters, units, ranges and defaults, and stop")] = False


def _flag_help(name: str) -> str:
    operator = OPERATORS[name]
    fields = list(params_of(operator).values())
    main, *rest = fields
    said = f"{operator.__doc__.splitlines()[0].rstrip('.')}: {main.name}, {main.param.help}"
    return said + (f"; also {', '.join(field.name for field in rest)}" if rest else "")


#: One option an operator, so that `--motion 15,angle=30` is the step `motion:15,angle=30`.
Flags = dataclasses.make_dataclass(
    "Flags",
    [
        (
            name,
            Annotated[str | None, Param(_flag_help(name), metavar=next(iter(params_of(OPERATORS[name]))).upper())],
            None,
        )
        for name in sorted(OPERATORS, key=physical_order)
    ],
    bases=(Checked,),
    frozen=True,
)


@spread
def degrade(
    operands: Annotated[list[str] | None, typer.Argument(metavar="[FILE|DIR|-]...", show_default=False)] = None,
    flags: Flags = Flags(),
    drawing: Drawing = Drawing(),
    placing: Placing = Placing(),
    saving: Saving = Saving(),
    running: Running = Running(),
) -> int:
    """Make clean images worse, reproducibly.

    Each degradation is an option that takes its strength, and more as --motion 15,angle=30. A value may be
    drawn per image: 10..40 between two, 10|20|40 one of several. Options act in physical order (scene, optics,
    sampling, sensor, processing, storage, damage), however they are typed; --chain acts in the order typed.
    """
    if drawing.list:
        print("\n".join(listing()))
        return 0
    plan_of = _plan(flags, drawing)
    cv2.setNumThreads(1)  # images are worked on side by side
    suffix = ".gallery" if drawing.gallery else ".degraded"
    batch = Batch(placing, saving, running, suffix=suffix, beside=drawing.record)
    drawn: list[str] = []
    act = partial(_sheet, seed=drawing.seed) if drawing.gallery else partial(_degraded, plan=plan_of, drawn=drawn)
    earlier = _earlier(drawing, placing)
    try:
        return batch.run(list(operands or ()), lambda work, items: work.inside(items, act))
    finally:
        if drawing.record is not None and drawn:
            # Those drawn last: of a run that is stopped, the batch has not heard of every file that is written.
            _write_record(drawing.record, [*earlier, *batch.replay, *drawn])


def _earlier(drawing: Drawing, placing: Placing) -> list[str]:
    """Return the lines that stay in the file of --record: all, where this run leaves out what is there.

    Raises UsageError or OutputError, before any work, where the file cannot be written.
    """
    path = drawing.record
    if path is None:
        return []
    if is_stdout(path):
        raise UsageError("--record needs a file of its own")
    if drawing.recipe is not None and files.identity(path) == files.identity(drawing.recipe):
        raise UsageError(f"{files.shown(path)} is the recipe that is replayed")
    with _named(path):
        files.check_place(path)
    if not (placing.skip_existing or placing.update) or not os.path.isfile(path):
        return []
    return [json.dumps(found.record()) for found in _draws(path).values()]


def _write_record(path: str, lines: list[str]) -> None:
    """Write the lines of --record; of those with one key the last, where the first stood."""
    by_key = {json.loads(line)["key"]: line for line in lines}
    with _named(path):
        files.write(path, "".join(f"{line}\n" for line in by_key.values()).encode())


@contextmanager
def _named(path: str) -> Iterator[None]:
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{files.shown(path)}: {error}") from None


@dataclass(frozen=True)
class Draw:
    """What one page of an image gets: the seed and address of its random streams, and its operators."""

    seed: int
    key: str
    operators: tuple[Operator, ...]

    def applied(self, image: Image) -> Image:
        """Return `image` degraded; a gray one stays so: its one channel is degraded."""
        pixels = image.visible()
        if not image.gray:
            return image.replaced(apply(self.operators, pixels, stream(self.seed, self.key, "apply")))
        worse = apply(self.operators, np.ascontiguousarray(pixels[:, :, :1]), stream(self.seed, self.key, "apply"))
        return image.replaced(np.repeat(worse, 3, axis=2))

    def record(self) -> dict[str, Any]:
        """Return what replays this, as JSON values."""
        chain = " ".join(str(concrete(operator)) for operator in self.operators)
        return {"gir": RECIPE, "key": self.key, "seed": self.seed, "chain": chain}


Plan = Callable[[str, Image], Draw]


def _plan(flags: Any, drawing: Drawing) -> Plan:
    """Return the function from an image's key and the image to what it gets."""
    typed = tuple(step(f"{name}:{text}") for name, text in dataclasses.asdict(flags).items() if text is not None)
    ways = {
        "operator options": bool(typed),
        "--chain": drawing.chain is not None,
        "--random": drawing.random is not None,
        "--recipe": drawing.recipe is not None,
        "--gallery": drawing.gallery,
    }
    given = [name for name, is_given in ways.items() if is_given]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other")
    if not given:
        raise UsageError("no degradation is given, such as --noise 25 (gir degrade --list names them all)")
    if drawing.recipe is not None:
        return _recipe(drawing.recipe)
    if drawing.random is not None:
        name = drawing.random
        preset(name, 64, 64)  # an unknown name is found before any work
        return lambda key, image: _drawn(
            lambda rng: preset(name, image.height, image.width).draw(rng), drawing.seed, key
        )
    chain = in_physical_order(typed) if typed else parse(drawing.chain or "")
    return lambda key, image: _drawn(lambda rng: chain, drawing.seed, key)


def _drawn(chain_of: Callable[[Rng], Chain], seed: int, key: str) -> Draw:
    # Two streams, so that a replayed chain, which draws nothing, meets the same noise.
    rng = stream(seed, key, "draw")
    return Draw(seed, key, tuple(draw(chain_of(rng), rng)))


def _recipe(path: str) -> Plan:
    """Return the plan that file `path` records."""
    draws = _draws(path)

    def plan(key: str, image: Image) -> Draw:
        if key not in draws:
            raise InputError(f"the recipe {files.shown(path)} has no entry for '{files.shown(key)}'")
        return draws[key]

    return plan


def _draws(path: str) -> dict[str, Draw]:
    """Return what file `path` records, by key, or raise UsageError naming the line that is wrong."""
    try:
        lines = files.read(path).decode().splitlines()
    except (InputError, UnicodeDecodeError) as error:
        raise UsageError(f"{files.shown(path)}: {error}") from None
    draws = (_recorded(line, f"{files.shown(path)}:{number}") for number, line in enumerate(lines, 1))
    return {found.key: found for found in draws}


def _recorded(line: str, place: str) -> Draw:
    try:
        entry = json.loads(line)
        version, key, seed, chain = entry["gir"], entry["key"], entry["seed"], entry["chain"]
        if not (isinstance(key, str) and isinstance(chain, str) and isinstance(seed, int)):
            raise TypeError
        os.fsencode(key)  # what names no file is no key
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UsageError(f"{place}: not a line that gir degrade --record wrote") from None
    if version != RECIPE:
        raise UsageError(f"{place}: a recipe of version {version}; this program replays version {RECIPE}")
    try:
        operators = tuple(draw(parse(chain), stream(seed, key, "draw")))
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None
    return Draw(seed, key, operators)


def _sheet(job: Job, seed: int) -> Result:
    sheet = gallery(job.pages[0].visible(), seed) if job.pages else None
    # A picture of its own: nothing that belongs to the photograph's pixels goes along.
    return Result(job.item, [Image(sheet)] if job.pages else [])


def _degraded(job: Job, plan: Plan, drawn: list[str]) -> Result:
    if job.item.skipped:
        return Result(job.item, [])
    keys = [job.item.key, *(f"{job.item.key}#{page}" for page in range(1, len(job.pages)))]
    draws = [plan(key, image) for key, image in zip(keys, job.pages, strict=True)]
    replay = tuple(json.dumps(found.record()) for found in draws)
    drawn += replay
    pages = [found.applied(image) for found, image in zip(draws, job.pages, strict=True)]
    facts = {"seed": draws[0].seed, "chain": draws[0].record()["chain"]}
    return Result(job.item, pages, facts=facts, replay=replay)


def listing() -> list[str]:
    """Return the catalogue of operators as lines: operator, then a line a parameter."""
    lines = []
    for name in sorted(OPERATORS, key=physical_order):
        operator = OPERATORS[name]
        lines.append(f"{name}\t{operator.stage}\t{operator.__doc__.splitlines()[0]}")
        for field in params_of(operator).values():
            unit = f" [{field.param.unit}]" if field.param.unit else ""
            default = "drawn {:g} to {:g}".format(*field.param.drawn) if field.param.drawn else field.default
            default = "none" if default is None else default
            lines.append(f"  {field.name}\t{field.range}{unit}\tdefault {default}\t{field.param.help}")
    return lines
