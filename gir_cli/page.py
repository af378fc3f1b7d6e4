"""A report as one self-contained web page: plots as SVG, pictures as data, no script and nothing to load."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from gir_cli import __version__
from gir_cli.image import Image, encode

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c7a00", "#555555")  # Okabe and Ito
BETTER, WORSE = (0, 114, 178), (213, 94, 0)

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem } h3 { font-size: 1rem; margin-bottom: .3rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .15rem .6rem; text-align: right; font-weight: normal } thead th { border-bottom: 1px solid #999 }
th:first-child, td:first-child { text-align: left } tr.group th { font-weight: 600; padding-top: .7rem }
.key span { display: inline-block; width: .9em; height: .9em; margin: 0 .3em 0 1em; vertical-align: -.1em }
svg { max-width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: #222 }
figure { display: inline-block; margin: .3rem 1rem 1rem 0; vertical-align: top }
figure img { width: 192px; height: auto; image-rendering: pixelated; margin-right: 3px }
figure div { display: flex } figure span { width: 192px; margin-right: 3px; font-size: 12px; color: #555 }
figcaption { font-size: 13px } .words { color: #444; font-size: 13px }
"""


@dataclass(frozen=True)
class Case:
    """One picture of a task: what it is called, its scores in words, and named crops, float (H, W, 3) in [0, 1]."""

    title: str
    told: str
    crops: Mapping[str, np.ndarray]


def page(title: str, parts: Iterable[str]) -> str:
    """Return the text of an HTML file that shows `parts`, each HTML itself, one below the other."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1>\n{body}\n<p class='words'>gir {__version__}</p></body></html>\n"
    )


def heading(text: str, said: str = "", *, level: int = 2) -> str:
    """Return a heading with a sentence or two below it."""
    return f"<h{level}>{escape(text)}</h{level}>" + (words(said) if said else "")


def words(said: str) -> str:
    """Return a paragraph of small print."""
    return f'<p class="words">{escape(said)}</p>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a plain table."""
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{_titles(head)}</tr></thead><tbody>{body}</tbody></table>"


def _titles(head: Iterable[str]) -> str:
    return "".join(f"<th>{escape(title)}</th>" for title in head)


# ---- bars


def key(names: Sequence[str]) -> str:
    """Return which colour stands for which name."""
    spots = (f'<span style="background:{_colour(place)}"></span>{escape(name)}' for place, name in enumerate(names))
    return f'<p class="key">{"".join(spots)}</p>'


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def bars(values: Mapping[str, Mapping[str, float]], names: Sequence[str], unit: str, full: float = 0.0) -> str:
    """Return a chart of `values`, a cluster for each key with a bar for each of `names`; infinities are left out.

    Its scale goes from 0 to `full` at least.
    """
    finite = [0.0, full, *(v for cluster in values.values() for v in cluster.values() if math.isfinite(v))]
    step = _step(max(finite) - min(finite))
    low, high = (step * end for end in (math.floor(min(finite) / step), math.ceil(max(finite) / step)))
    high = max(high, low + step)
    width, height, left, top = 880, 260, 50, 16
    across, scale = (width - left) / max(len(values), 1), height / (high - low)
    bar = 0.8 * across / max(len(names), 1)

    def y(value: float) -> float:
        return top + (high - value) * scale

    parts = []
    for tick in np.arange(low, high + step / 2, step):
        dark = "#222" if abs(tick) < step / 2 else "#ddd"
        parts.append(f'<line x1="{left}" x2="{width}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="{dark}"/>')
        parts.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for place, (name, cluster) in enumerate(values.items()):
        start = left + (place + 0.1) * across
        middle = left + (place + 0.5) * across
        parts.append(f'<text x="{middle:.1f}" y="{top + height + 18}" text-anchor="middle">{escape(name)}</text>')
        for number, one in enumerate(names):
            value = cluster.get(one, math.nan)
            if not math.isfinite(value):
                continue
            upper, lower = sorted((y(0), y(value)))
            parts.append(
                f'<rect x="{start + number * bar:.1f}" y="{upper:.1f}" width="{0.92 * bar:.1f}"'
                f' height="{max(lower - upper, 0.5):.1f}" fill="{_colour(number)}">'
                f"<title>{escape(name)}, {escape(one)}: {value:.3f} {escape(unit)}</title></rect>"
            )
    box = f"0 0 {width} {top + height + 26}"
    return f'{key(names)}<svg viewBox="{box}" width="{width}" role="img">{"".join(parts)}</svg>'


def _step(span: float) -> float:
    """Return a round distance between some 4 to 8 ticks."""
    rough = max(span, 1e-6) / 5
    power = 10 ** math.floor(math.log10(rough))
    return next(nice * power for nice in (1, 2, 5, 10) if nice * power >= rough)


# ---- heat map


def heat_map(
    groups: Mapping[str, Mapping[str, Mapping[str, float]]], first: str, names: Sequence[str], full: float
) -> str:
    """Return a table of {group: {task: {name: value}}}: `first` as it is, `names` as differences in colours.

    Differences are better if positive; at `full` the colour is full.
    """
    rows = []
    for group, tasks in groups.items():
        rows.append(f'<tr class="group"><th colspan="{2 + len(names)}">{escape(group)}</th></tr>')
        for task, values in tasks.items():
            cells = "".join(_cell(values[name], full) for name in names)
            rows.append(f"<tr><td>{escape(task)}</td><td>{values[first]:.2f}</td>{cells}</tr>")
    head = _titles(["task", first, *names])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(value: float, full: float) -> str:
    if math.isnan(value):
        return "<td>–</td>"
    share = min(abs(value) / full, 1.0)
    mixed = [round(255 + share * (part - 255)) for part in (BETTER if value > 0 else WORSE)]
    ink = "#fff" if share > 0.6 else "#222"
    return f'<td style="background:rgb({",".join(map(str, mixed))});color:{ink}">{value:+.2f}</td>'


# ---- pictures


def case(shown: Case) -> str:
    """Return a figure: the crops side by side with their names, and the words below."""
    images = "".join(f'<img alt="{escape(name)}" src="{_source(crop)}">' for name, crop in shown.crops.items())
    names = "".join(f"<span>{escape(name)}</span>" for name in shown.crops)
    told = f"<b>{escape(shown.title)}</b> {escape(shown.told)}"
    return f"<figure><div>{images}</div><div>{names}</div><figcaption>{told}</figcaption></figure>"


def _source(pixels: np.ndarray) -> str:
    data = encode(Image(np.ascontiguousarray(pixels, np.float32)), "png").data
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
