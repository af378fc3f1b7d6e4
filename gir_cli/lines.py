"""The making of lines: for each task a small and a large network, trained for it alone with a fixed budget.

After the protocol of general image restoration (Kong et al., 2024) and SEAL (Chen et al., 2024). Acceptance is
an SRResNet of 16 features and 4 blocks; excellence is the general model's network, tuned on the task from the
general weights. Real tasks come without a training split here: their acceptance is the input, and excellence
the best of the excellence networks of group A where there are references, the clean photographs where not.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gir_cli import records
from gir_cli.data import Photographs, Sources
from gir_cli.errors import UsageError
from gir_cli.evaluate import Measuring, Row, evaluate, means, set_digest
from gir_cli.metrics import METRICS
from gir_cli.restore import Restorer, Way
from gir_cli.suite import AnyTask, RealTask, Task, gir110
from gir_cli.suite.lines import Line
from gir_cli.train import state
from gir_cli.train.budget import SMALL, Budget
from gir_cli.train.loop import Report, train
from gir_cli.train.run import Limits
from gir_cli.train.settings import Settings

DONE = "weights.safetensors"
ROLES = ("acceptance", "excellence")


@dataclass(frozen=True)
class Making:
    """What lines are made of and where: `folder` keeps every network, TASK/ROLE/weights.safetensors."""

    photographs: Photographs
    data: Path
    real: Path | None
    folder: Path
    general: Path
    budget: Budget
    measuring: Measuring
    limits: Limits


def trained(task: Task, making: Making, interrupted: Callable[[], bool] = lambda: False) -> Iterator[Report]:
    """Train the task's two networks, as far as they are not there yet, and yield reports.

    Raises Unfinished, state saved, as training does, and UsageError if a network there had another budget or start.
    """
    for role in ROLES:
        place = making.folder / task.name / role
        settings = making.budget.settings(task, role, making.general)
        start = making.general if role == "excellence" else None
        if (place / DONE).exists():
            _check_same(place / DONE, settings, making.photographs.digest, start)
            continue
        about = {"name": f"{task.name} {role}"}
        yield from train(settings, Sources(making.photographs), place, making.limits, about, start, interrupted)
        for checkpoint in state.checkpoints(place):  # hundreds of networks would leave gigabytes
            shutil.rmtree(checkpoint)


def _check_same(weights: Path, settings: Settings, digest: str, start: Path | None) -> None:
    record = records.record(weights)
    if "train" not in record:
        raise UsageError(f"{weights}: was not trained here; begin in another folder")
    # A network made before there was a setting had its default.
    there = {**dataclasses.asdict(Settings()), **record["train"], "parents": record.get("parents", [])}
    wanted = {"data_digest": digest, "parents": [records.digest(start)] if start else []}
    for name, value in {**dataclasses.asdict(settings), **wanted}.items():
        if there.get(name) != value:
            raise UsageError(f"{weights}: was made with {name}={there.get(name)}, not {value}; begin in another folder")


def made(task: AnyTask, making: Making, done: Iterable[Row] = ()) -> tuple[Line | None, list[Row]]:
    """Return the line of `task`, None where its networks or pictures are missing, and the rows it was taken from.

    Rows in `done` are not measured again.
    """
    if isinstance(task, RealTask):
        return _real_line(task, making, done)
    places = {role: making.folder / task.name / role / DONE for role in ROLES}
    if not all(place.exists() for place in places.values()):
        return None, []
    rows = _measured(task, places, making, done)
    found = means(rows, task.metric)[task.group, task.name]
    return _line(task, found["acceptance"], found["excellence"], rows, _recipe(making)), rows


def _measured(task: AnyTask, networks: dict[str, Path], making: Making, done: Iterable[Row]) -> list[Row]:
    way = Way(device=making.limits.device, precision="fp32", clip=False)
    models: dict[str, Any] = {}
    for name, path in networks.items():
        restorer = Restorer(path, way)
        models[name] = (restorer.digest, restorer)
    return list(evaluate([task], making.data, making.real, models, making.measuring, done))


def _line(task: AnyTask, acceptance: float, excellence: float, rows: list[Row], recipe: str) -> Line:
    before = means(rows, task.metric)[task.group, task.name]["input"]
    return Line(task.name, task.metric, before, acceptance, excellence, set_digest(rows)[task.name], recipe).lifted()


def _recipe(making: Making) -> str:
    """Return in words what a synthetic task's networks are and how long they were trained."""
    budget, general = making.budget, records.record(making.general)
    return (
        f"acceptance: {' '.join(SMALL)}; excellence: {general['model']} of {general.get('name', '')}"
        f" (sha256 {records.digest(making.general)[:16]}) tuned; each on {budget.steps * budget.batch} patches of"
        f" {budget.patches}x{budget.patches} in {budget.steps} steps, seed {budget.seed}, of"
        f" {len(making.photographs)} photographs (digest {making.photographs.digest[:16]})"
    )


def _real_line(task: RealTask, making: Making, done: Iterable[Row]) -> tuple[Line | None, list[Row]]:
    """Return the line of a real task; None before all networks that could be the best are there, or without a score."""
    if making.real is None or not (making.real / task.name / "lq").is_dir():
        return None, []
    specialists: dict[str, Path] = {}
    if METRICS[task.metric].perfect is not None:
        names = [known.name for known in gir110() if known.group == "A"]
        specialists = {name: making.folder / name / "excellence" / DONE for name in names}
    if not all(place.exists() for place in specialists.values()):
        return None, []
    rows = _measured(task, specialists, making, done)
    found = means(rows, task.metric)[task.group, task.name]
    if specialists:
        best = max(specialists, key=lambda name: found[name])
        excellence, origin = found[best], f"the best of {len(specialists)} specialists, that for {best}"
    else:
        excellence, origin = _of_clean(task.metric, making), "the clean photographs of the synthetic tasks"
    if not math.isfinite(excellence - found["input"]):  # niqe has no value for small and for flat pictures
        return None, []
    recipe = f"acceptance: the inputs; excellence: {origin}"
    return _line(task, found["input"], excellence, rows, recipe), rows


def _of_clean(metric: str, making: Making) -> float:
    """Return the mean score of the clean photographs: those of a task whose chain does nothing."""
    untouched = Task("clean", "", "", math.inf)
    measuring = dataclasses.replace(making.measuring, metrics=(metric,))
    rows = evaluate([untouched], making.data, None, {}, measuring)
    return means(rows, metric)[untouched.group, untouched.name]["input"]
