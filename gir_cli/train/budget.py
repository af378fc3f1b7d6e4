"""How long the networks of a task's lines are trained, and what they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from gir_cli import records
from gir_cli.params import Checked, Param
from gir_cli.suite import Task
from gir_cli.train.settings import Settings

SMALL = ("srresnet", "width=16,blocks=4")


@dataclass(frozen=True)
class Budget(Checked):
    """How long each network is trained; the same for all, and written into the lines."""

    images: Annotated[int, Param("samples that each network is trained on", 1)] = 64000
    batch: Annotated[int, Param("patches in a step", 1, 65536)] = 16
    patches: Annotated[int, Param("side of the patches", 8, 4096, "pixels")] = 64
    seed: Annotated[int, Param("seed of the networks and their samples", 0, 2**31)] = 0

    @property
    def steps(self) -> int:
        """Steps of each network."""
        return max(1, self.images // self.batch)

    def settings(self, task: Task, role: str, general: Path) -> Settings:
        """Return the settings of the network for `role` in `task`; `general` are the general model's weights.

        A network that is tuned learns at a quarter of the rate, or it would forget what it starts from.
        """
        model, config = SMALL if role == "acceptance" else _network(general)
        slow = 1.0 if role == "acceptance" else 0.25
        return Settings(
            model=model,
            config=config,
            distribution=f"single:{task.name}",
            seed=self.seed,
            steps=self.steps,
            batch=self.batch,
            patches=str(self.patches),
            rate=Settings.rate * slow,
            adam_rate=Settings.adam_rate * slow,
            warmup=min(Settings.warmup, self.steps // 10),
        )


def _network(weights: Path) -> tuple[str, str]:
    record = records.record(weights)
    return record["model"], ",".join(f"{name}={value}" for name, value in record["config"].items())
