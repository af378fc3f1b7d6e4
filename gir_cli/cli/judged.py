"""What gir evaluate says of its rows: tables of means, verdicts by the lines, thresholds, the report."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from gir_cli.cli import tables
from gir_cli.cli.terminal import say
from gir_cli.errors import ThresholdError, UsageError
from gir_cli.evaluate import Row, gains, group_means, means
from gir_cli.metrics import METRICS, PROTOCOL, rises
from gir_cli.suite import GROUPS, AnyTask
from gir_cli.suite.lines import Line
from gir_cli.verdicts import Verdict, counting, verdicts

SHARES = ("ar", "er", "rpr")
LINES = (
    "AR, ER: share of tasks on which the mean is at or above the acceptance and the excellence line;"
    " RPR: mean of sigmoid((P - A) / (E - A)), then its quartiles over tasks; [95 % bootstrap interval over images]"
)
OWN = "tasks are gir's own, after the protocol of Kong et al. (2024), whose list was never published"

Means = dict[tuple[str, str], dict[str, float]]


@dataclass(frozen=True)
class Scored:
    """Rows, with the tasks that were asked for and the lines there are."""

    rows: list[Row]
    tasks: tuple[AnyTask, ...] = ()
    lines: Mapping[str, Line] = field(default_factory=dict)
    quick: bool = False

    @cached_property
    def models(self) -> list[str]:
        """The models in the order of their columns; the input is first."""
        return list(dict.fromkeys(row.model for row in self.rows))

    @cached_property
    def metrics(self) -> list[str]:
        """The metrics that were measured, a table each."""
        return list(dict.fromkeys(metric for row in self.rows for metric in row.scores))

    @cached_property
    def counting(self) -> dict[str, Line]:
        """The lines that verdicts are taken by."""
        return counting(self.rows, self.lines)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """The verdicts, those over all tasks at the end."""
        return verdicts(self.rows, self.counting)

    @cached_property
    def asked(self) -> dict[str, int]:
        """How many tasks were asked for, by group and over all."""
        return {**Counter(task.group for task in self.tasks), "all": len(self.tasks)}

    def table(self, metric: str) -> Means:
        """Return the means of `metric` by (group, task) and model."""
        return means(self.rows, metric)


def tell(scored: Scored, *, as_json: bool) -> None:
    """Print a table per metric and one of verdicts, and say on how many tasks each model is above the input."""
    for metric in scored.metrics:
        table = scored.table(metric)
        shown = {**table, **{(group, "mean"): by_model for group, by_model in group_means(table).items()}}
        if as_json:
            _print_means(metric, shown)
        else:
            head, cells, best = _cells(metric, scored.models, shown)
            tables.show(head, cells, caption(scored, metric), best=best)
        if metric == "psnr":
            for model in scored.models[1:] if scored.models[0] == "input" else ():
                above = sum(gain > 0 for gain in gains(table, model))
                say(f"{model}: above the input on {above} of {len(table)} tasks")
    if not scored.counting:
        if scored.lines:
            say(f"gir: no AR and ER: {coverage(scored)}")
        return
    for verdict in scored.verdicts if as_json else ():
        print(json.dumps({**_finite(asdict(verdict)), "of": scored.asked[verdict.group]}))
    if not as_json:
        tables.show(*verdict_cells(scored), f"{LINES}; {coverage(scored)}")


def _print_means(metric: str, shown: Means) -> None:
    for (group, task), by_model in shown.items():
        print(json.dumps({"metric": metric, "group": group, "task": task, "scores": _finite(by_model)}))


def _finite(facts: Any) -> Any:
    """Return `facts` with null for the numbers that JSON has no word for."""
    if isinstance(facts, dict):
        return {key: _finite(value) for key, value in facts.items()}
    if isinstance(facts, (list, tuple)):
        return [_finite(value) for value in facts]
    return None if isinstance(facts, float) and not math.isfinite(facts) else facts


def _cells(metric: str, models: list[str], shown: Means) -> tuple[list[str], list[list[str]], list[int | None]]:
    """Return a table's head, its cells, and for each row the cell of the best model."""
    cells = [[*key, *(f"{by_model[model]:.3f}" for model in models)] for key, by_model in shown.items()]
    return ["group", "task", *models], cells, [_best(metric, models, by_model) for by_model in shown.values()]


def _best(metric: str, models: list[str], by_model: Mapping[str, float]) -> int | None:
    values = [by_model[model] for model in models]
    if len(set(values)) < 2:
        return None
    return 2 + values.index(max(values) if rises(METRICS[metric]) else min(values))


def verdict_cells(scored: Scored) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of verdicts."""
    rows = [
        [
            verdict.group,
            f"{verdict.tasks} of {scored.asked[verdict.group]}",
            verdict.model,
            *(str(getattr(verdict, name)) for name in SHARES),
            f"{verdict.quartiles[0]:.3f} to {verdict.quartiles[1]:.3f}",
        ]
        for verdict in scored.verdicts
    ]
    return ["group", "tasks", "model", "AR", "ER", "RPR", "quartiles"], rows


def coverage(scored: Scored) -> str:
    """Return over how many tasks AR and ER are taken, and why not over the others."""
    measured = {row.task for row in scored.rows}
    unmeasured = len(scored.tasks) - len(measured)
    bare = sum(task not in scored.lines for task in measured)
    foreign = len(measured) - bare - len(scored.counting)
    reasons = {"not measured": unmeasured, "without lines": bare, "with lines of other images": foreign}
    said = [f"{count} {reason}" for reason, count in reasons.items() if count]
    return f"over {len(scored.counting)} of {len(scored.tasks)} tasks" + (f": {', '.join(said)}" if said else "")


def caption(scored: Scored, metric: str) -> str:
    """Return in words over what the means are, and how the scores were made."""
    table, rows = scored.table(metric), [row for row in scored.rows if metric in row.scores]
    pictures = len({row.picture for row in rows})
    quick = ", their 256x256 centres" if scored.quick else ""
    equal = sum(row.scores[metric] == math.inf for row in rows)
    same = f"; {equal} pairs are identical" if equal else ""
    depth = "each file's depth" if rows[0].group == "pairs" else "8 bits"
    named = {task for _, task in table}
    borders = [f"border of {t.border} left out in {t.name}" for t in scored.tasks if t.border and t.name in named]
    rim = ", ".join(borders) or "no border left out"
    own = f"{OWN}; " if {row.group for row in rows} & GROUPS.keys() else ""
    what = f"{metric} over {len(table)} tasks, {pictures} images{quick}{same}"
    networks = dict.fromkeys(row.files[metric] for row in rows if metric in row.files)
    return "; ".join([what, f"{depth}, {rim}", f"{own}{PROTOCOL}", *networks])


def hold(scored: Scored, name: str, least: float) -> None:
    """Raise ThresholdError if the last model has less than `least` of a metric or share over all tasks."""
    model = scored.models[-1]
    if name in SHARES:
        if not scored.counting:
            raise UsageError(f"--min={name}={least:g}: there is none {coverage(scored)}")
        reached = next(getattr(v, name).value for v in scored.verdicts if (v.group, v.model) == ("all", model))
    elif name in scored.metrics:
        reached = group_means(scored.table(name))["all"][model]
    else:
        raise UsageError(f"--min={name}={least:g}: that metric was not measured (--metric {name})")
    if not reached >= least:
        raise ThresholdError(f"{model}: {name} {reached:.3f} is under {least:g}")
