"""The report of gir evaluate as a page: verdicts, plots, and pictures of the best, a median and the worst case."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gir_cli import page
from gir_cli.cli.judged import LINES, SHARES, Scored, caption, coverage, verdict_cells
from gir_cli.evaluate import Measuring, Restore, Row, group_means, pairs, restored
from gir_cli.metrics import METRICS, rises
from gir_cli.report import differing
from gir_cli.suite import GROUPS

HOW = (
    "A synthetic task makes clean pictures worse, by operators in the order of its name, the same way each time:"
    " what is drawn depends on the seed, the task and the picture's name alone. A model is given the worse picture"
    " and nothing else. Scores are of the result as a file of 8 bits; means are over pictures, then over tasks."
    " Real tasks are photographs as they are, with a reference or, by niqe, without."
)
SIDE = 128  # of the crops
FULL = {"dB": 6.0}  # difference at which a heat map's colour is full, by unit; else the largest there is


@dataclass(frozen=True)
class Source:
    """What rows were measured on and by, so that a picture can be made again."""

    data: Path | None
    real: Path | None
    models: Mapping[str, tuple[str, Restore]]
    measuring: Measuring


def report(title: str, scored: Scored, source: Source) -> str:
    """Return the text of the page. `source` makes its pictures, three for a group, anew."""
    parts = [page.heading("Protocol", HOW)]
    parts += [page.words(caption(scored, metric)) for metric in scored.metrics]
    parts += _verdicts(scored)
    for metric in scored.metrics:
        parts += _plots(scored, metric)
    if len(scored.models) > 1:
        words = f"by {scored.models[-1]}, of all pictures of a group, by what was gained; the {SIDE}x{SIDE} pixels"
        parts.append(page.heading("Best, median and worst", f"{words} where the input is farthest from the reference"))
        parts += _cases(scored, source)
    return page.page(title, parts)


def _verdicts(scored: Scored) -> Iterator[str]:
    """Yield the table and the bars of AR and ER; a sentence where there are none."""
    yield page.heading("Acceptance and excellence", f"{LINES}; {coverage(scored)}")
    if not scored.counting:
        return
    yield page.table(*verdict_cells(scored))
    for name in SHARES[:2]:
        shares: dict[str, dict[str, float]] = defaultdict(dict)
        for verdict in scored.verdicts:
            shares[verdict.group][verdict.model] = getattr(verdict, name).value
        yield page.heading(name.upper(), level=3)
        yield page.bars(shares, scored.models, "", full=1)


def _plots(scored: Scored, metric: str) -> Iterator[str]:
    """Yield the bars by group and the heat map of what each model gains over the input."""
    table, models = scored.table(metric), scored.models[1:]
    unit = METRICS[metric].unit
    gained = {key: _gained(by_model, metric) for key, by_model in table.items()}
    groups: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for (group, task), by_model in gained.items():
        groups[_named(group)][task] = {**by_model, "input": table[group, task]["input"]}
    if models:
        yield page.heading(f"{metric}: gain over the input, {unit or 'without unit'}", "mean over the tasks of a group")
        yield page.bars({group: {m: v[m] for m in models} for group, v in group_means(gained).items()}, models, unit)
    finite = [abs(v[m]) for v in gained.values() for m in models if math.isfinite(v[m])]
    words = "the input's score, and what each model gains over it: blue is better, orange worse than the input"
    yield page.heading(f"{metric}: task by task", words)
    yield page.heat_map(groups, "input", models, FULL.get(unit) or max([*finite, 1e-6]))


def _named(group: str) -> str:
    return f"{group}: {GROUPS[group]}" if group in GROUPS else group


def _gained(by_model: Mapping[str, float], metric: str) -> dict[str, float]:
    """Return how much better than the input each model is; perfect as before is no gain."""
    sign = 1 if rises(METRICS[metric]) else -1
    first = by_model["input"]
    return {model: 0.0 if score == first else sign * (score - first) for model, score in by_model.items()}


# ---- pictures


def _cases(scored: Scored, source: Source) -> Iterator[str]:
    for (group, metric), chosen in _chosen(scored).items():
        yield page.heading(f"{_named(group)}, by {metric}", level=3)
        yield from (page.case(_case(title, before, after, scored, source)) for title, (before, after) in chosen.items())


def _chosen(scored: Scored) -> dict[tuple[str, str], dict[str, tuple[Row, Row]]]:
    """Return for each group and metric of its tasks three pictures by what the last model gains.

    Each is the row of the input and that of the model.
    """
    metrics = {task.name: task.metric for task in scored.tasks}
    before = {(row.task, row.picture): row for row in scored.rows if row.model == "input"}
    found: dict[tuple[str, str], list[tuple[float, Row, Row]]] = defaultdict(list)
    for row in (row for row in scored.rows if row.model == scored.models[-1]):
        first = before[row.task, row.picture]
        metric = next(name for name in (metrics[row.task], *row.scores) if name in row.scores)
        gain = _gained({"input": first.scores[metric], "model": row.scores[metric]}, metric)["model"]
        if not math.isnan(gain):
            found[row.group, metric].append((gain, first, row))
    chosen = {}
    for key, cases in found.items():
        cases.sort(key=lambda case: case[0])
        places = {"best": len(cases) - 1, "median": len(cases) // 2, "worst": 0}
        # Of one or two pictures, none is shown twice.
        once = {place: title for title, place in reversed(places.items())}
        chosen[key] = {once[place]: cases[place][1:] for place in sorted(once, reverse=True)}
    return chosen


def _case(title: str, before: Row, after: Row, scored: Scored, source: Source) -> page.Case:
    """Return a picture made again: the part of its input, output and reference where the input is farthest off."""
    task = next(task for task in scored.tasks if task.name == after.task)
    found = pairs(task, source.data, source.real, source.measuring)
    clean, worse = next(pair for pair in found if pair.name == after.picture).pixels
    out = restored(task, worse, source.models[after.model][1])
    error = np.abs((out if clean is None else clean) - worse).mean(2, keepdims=True)
    (box,) = differing(error, SIDE, SIDE, 1)
    crops = {"input": worse, after.model: out} | ({} if clean is None else {"reference": clean})
    told = ", ".join(f"{name} {before.scores[name]:.3f} → {score:.3f}" for name, score in after.scores.items())
    return page.Case(
        title, f"{after.task}, {after.picture}: {told}", {name: box.of(pixels) for name, pixels in crops.items()}
    )
