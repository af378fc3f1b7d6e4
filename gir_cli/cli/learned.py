"""Options of the metrics that are networks, whose files are the user's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from gir_cli.errors import UsageError
from gir_cli.metrics import METRICS, Given
from gir_cli.params import Checked, Param


@dataclass(frozen=True)
class Learned(Checked):
    """Where the files of learned metrics are."""

    lpips_backbone: Annotated[
        str | None, Param("AlexNet or VGG-16 as torchvision has them, for the metric lpips", metavar="FILE")
    ] = None
    lpips_weights: Annotated[
        str | None, Param("linear weights of LPIPS 0.1 for that network, alex.pth or vgg.pth", metavar="FILE")
    ] = None

    @property
    def named(self) -> bool:
        """Whether any file is named."""
        return bool(self.lpips_backbone or self.lpips_weights)


def given(asked: Iterable[str], learned: Learned, device: str = "cpu") -> Given:
    """Return the metrics among those `asked` for that are made of files; UsageError where these are not named.

    Only then torch is imported.
    """
    if "lpips" not in asked:
        return {}
    if not (learned.lpips_backbone and learned.lpips_weights):
        raise UsageError(f"lpips needs {METRICS['lpips'].needs}, files that do not come with gir")
    from gir_cli.devices import device_of
    from gir_cli.lpips import read_lpips

    return {"lpips": read_lpips(Path(learned.lpips_backbone), Path(learned.lpips_weights), device_of(device))}
