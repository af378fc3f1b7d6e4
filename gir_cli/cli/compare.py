"""gir compare: how far images are from a reference."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, BinaryIO

import numpy as np
import typer

from gir_cli import files
from gir_cli.batch import STDIN, STDOUT, is_stdout
from gir_cli.cli import tables
from gir_cli.cli.learned import Learned, given
from gir_cli.cli.options import spread
from gir_cli.cli.terminal import product, say
from gir_cli.errors import InputError, OutputError, UsageError
from gir_cli.image import MAX_PIXELS, Image, by_extension, decode, encode, named
from gir_cli.metrics import METRICS, PROTOCOL, Given, Undefined, files_of, quantised, rises, scores, size
from gir_cli.params import Checked, Param
from gir_cli.report import sheet

EPILOG = """Examples:

  gir compare clean.png restored.png
  gir compare clean.png noisy.png mine.png theirs.png -o sheet.png
  gir restore noisy.png -o - | gir compare clean.png - --metric psnr --border 4
  gir compare clean.png mine.png --metric lpips --lpips-backbone alexnet.pth --lpips-weights alex.pth
"""

DEPTHS = {"8": "8 bits", "16": "16 bits", "float": "floats as they are"}
A_LINE = 4  # scores in a line of a sheet's label


@dataclass(frozen=True)
class Comparing(Checked):
    """What is measured, and where it goes."""

    output: Annotated[
        str | None, Param("write a sheet: images, crops and errors side by side, labelled; - is standard output")
    ] = None
    format: Annotated[str | None, Param("format of the sheet, by name or extension")] = None
    metric: Annotated[
        tuple[str, ...], Param("give this one instead of all; may be repeated", metavar="|".join(METRICS))
    ] = ()
    border: Annotated[int, Param("leave out so many pixels on every side", 0, unit="pixels")] = 0
    max_pixels: Annotated[int, Param("largest image accepted, checked before decoding", 1, unit="pixels")] = MAX_PIXELS
    json: Annotated[bool, Param("one JSON object an image compared; null for inf and for what is undefined")] = False


@dataclass(frozen=True)
class Opened:
    """An image, with its levels as metrics take them."""

    name: str
    image: Image
    levels: np.ndarray


@dataclass(frozen=True)
class Compared:
    """An image held against the reference: its score by each metric, or why it has none.

    `files` tells which files those metrics were made of that are networks.
    """

    opened: Opened
    scores: dict[str, float | Undefined]
    files: dict[str, str]

    @property
    def undefined(self) -> list[str]:
        """Why metrics have no value, a sentence each."""
        return [str(score) for score in self.scores.values() if isinstance(score, Undefined)]


@spread
def compare(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", show_default=False)],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", show_default=False)],
    comparing: Comparing = Comparing(),
    learned: Learned = Learned(),
) -> int:
    """Say how far images are from a reference: a line per metric, a column per image.

    Pixels are measured as the files hold them, at the depth of each. Images have the reference's size; transparency
    and profiles are left out of it. One operand may be - for standard input.
    """
    if is_stdout(comparing.output):
        comparing = replace(comparing, output=STDOUT)
    form = _checked([reference, *images], comparing)
    metrics = comparing.metric or [name for name in METRICS if learned.named or not METRICS[name].needs]
    networks = given(metrics, learned)
    with product() as out:
        clean = _opened(reference, comparing.max_pixels)
        outcomes = [_held(path, clean, comparing, metrics, networks) for path in images]
        compared = [outcome for outcome in outcomes if isinstance(outcome, Compared)]
        if comparing.output is not None and compared:
            _write(out, comparing.output, _sheet(clean, compared), form)
    if comparing.json:
        _tell_json(clean, [_name(path) for path in images], outcomes, comparing)
    else:
        _tell(clean, outcomes, comparing)
    undefined = comparing.metric and any(one.undefined for one in compared)
    return InputError.status if undefined or len(compared) < len(outcomes) else 0


def _checked(paths: list[str], comparing: Comparing) -> str:
    """Return the sheet's format, or raise UsageError for whatever can be refused before any work."""
    if paths.count(STDIN) > 1:
        raise UsageError("standard input can be one of the images only")
    for name in comparing.metric:
        METRICS.find(name)
    target = comparing.output
    if target in (None, STDOUT):
        return named(comparing.format or "png").name
    inputs = {files.identity(path) for path in paths if path != STDIN} - {None}
    if files.identity(target) in inputs:
        raise UsageError(f"{files.shown(target)} is one of the images compared")
    if comparing.format is not None:
        return named(comparing.format).name
    form = by_extension(target)
    if form is None:
        raise UsageError(f"{files.shown(target)}: the extension means no format; name one with -f, such as png")
    return named(form.name).name


def _opened(path: str, max_pixels: int) -> Opened:
    """Return the picture at `path`; what is wrong with it is raised with its name."""
    name = _name(path)
    try:
        data = sys.stdin.buffer.read() if path == STDIN else files.read(path)
        image = decode(data, max_pixels=max_pixels)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    for note in image.notes:
        say(f"gir: {name}: {note}")
    return Opened(name, image, quantised(image.pixels, image.depth))


def _name(path: str) -> str:
    return "<stdin>" if path == STDIN else files.shown(path)


def _held(
    path: str, reference: Opened, comparing: Comparing, metrics: Sequence[str], networks: Given
) -> Compared | InputError:
    """Return the image at `path` with its scores, or what is wrong with it."""
    try:
        opened = _opened(path, comparing.max_pixels)
        if opened.levels.shape != reference.levels.shape:
            raise InputError(
                f"{opened.name}: is {size(opened.levels)}, but {reference.name} is {size(reference.levels)};"
                " crop or resize one"
            )
    except InputError as error:
        return error
    found = scores(metrics, opened.levels, reference.levels, border=comparing.border, given=networks)
    return Compared(opened, found, files_of(metrics, networks))


def _protocol(reference: Opened, compared: list[Compared], border: int) -> str:
    """Return in words how the scores were made."""
    depths = dict.fromkeys(DEPTHS[opened.image.depth] for opened in (reference, *(one.opened for one in compared)))
    rim = f"border of {border} left out" if border else "no border left out"
    networks = dict.fromkeys(files for one in compared for files in one.files.values())
    return "; ".join([f"against {reference.name}", f"{' and '.join(depths)}, {rim}", PROTOCOL, *networks])


# ---- as text


def _tell(reference: Opened, outcomes: list[Compared | InputError], comparing: Comparing) -> None:
    """Print the table, and say what is missing in it and why."""
    compared = [outcome for outcome in outcomes if isinstance(outcome, Compared)]
    faults = [str(outcome) for outcome in outcomes if isinstance(outcome, InputError)]
    reasons = dict.fromkeys(reason for one in compared for reason in one.undefined)
    for line in (*faults, *reasons):
        say(f"gir: {line}")
    if not compared:
        return
    names = list(compared[0].scores)
    head = ["metric", *(one.opened.name for one in compared)]
    rows = [[name, *(_text(one.scores[name], name) for one in compared)] for name in names]
    caption = _protocol(reference, compared, comparing.border)
    if comparing.output == STDOUT:
        print("\n".join(tables.lines(head, rows, caption)), file=sys.stderr)
    else:
        tables.show(head, rows, caption, best=[_best(name, compared) for name in names])


def _text(score: float | Undefined, name: str) -> str:
    """Return a score for a table: four digits, or six where there is no unit, of numbers up to 1."""
    if isinstance(score, Undefined):
        return "-"
    return f"{score:.4f}" if METRICS[name].unit else f"{score:.6f}"


def _best(name: str, compared: list[Compared]) -> int | None:
    """Return the column of the best score, counted with the metric's own, if one is better than others."""
    found = [score for one in compared if not isinstance(score := one.scores[name], Undefined)]
    if len(found) < len(compared) or len(set(found)) < 2:
        return None
    return 1 + found.index(max(found) if rises(METRICS[name]) else min(found))


# ---- as JSON


def _tell_json(
    reference: Opened, names: list[str], outcomes: list[Compared | InputError], comparing: Comparing
) -> None:
    """Print an object for each image."""
    stream = sys.stderr if comparing.output == STDOUT else sys.stdout
    for name, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome, InputError):
            facts = {"status": "failed", "error": str(outcome)}
        else:
            facts = _facts(reference, outcome, comparing)
        print(json.dumps({"reference": reference.name, "image": name, **facts}), file=stream)


def _facts(reference: Opened, one: Compared, comparing: Comparing) -> dict[str, Any]:
    image = one.opened.image
    return {
        "status": "done",
        "error": "; ".join(one.undefined) or None,
        "width": image.width,
        "height": image.height,
        "depth": image.depth,
        "border": comparing.border,
        "protocol": _protocol(reference, [one], comparing.border),
        "identical": bool(np.array_equal(one.opened.levels, reference.levels)),
        "scores": {name: _number(score) for name, score in one.scores.items()},
    }


def _number(score: float | Undefined) -> float | None:
    return None if isinstance(score, Undefined) or not math.isfinite(score) else score


# ---- as a picture


def _sheet(reference: Opened, compared: list[Compared]) -> np.ndarray:
    opened = [reference, *(one.opened for one in compared)]
    labels = [f"{reference.name}\nreference", *(_label(one) for one in compared)]
    return sheet([picture.image.pixels for picture in opened], labels)


def _label(one: Compared) -> str:
    """Return an image's name and scores, a few in a line."""
    said = [f"{name} {_short(score)}" for name, score in one.scores.items()]
    return "\n".join([one.opened.name, *("   ".join(said[at : at + A_LINE]) for at in range(0, len(said), A_LINE))])


def _short(score: float | Undefined) -> str:
    return "-" if isinstance(score, Undefined) else f"{score:.4g}"


def _write(out: BinaryIO, target: str, pixels: np.ndarray, form: str) -> None:
    data = encode(Image(pixels), form).data
    if target == STDOUT:
        out.write(data)
        return
    try:
        files.write(target, data)
    except OutputError as error:
        raise OutputError(f"{files.shown(target)}: {error}") from None
