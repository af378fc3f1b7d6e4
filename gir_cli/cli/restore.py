"""gir restore: restore images with one model."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gir_cli import provenance, records
from gir_cli.batch import Placing
from gir_cli.cli.batch import Batch, Job, Result, Running
from gir_cli.cli.options import spread
from gir_cli.cli.places import DEFAULT_MODEL, weights_places
from gir_cli.errors import UsageError
from gir_cli.image import Image, Saving, check_size, named
from gir_cli.params import Checked, Param

if TYPE_CHECKING:
    import numpy as np

    from gir_cli.restore import Restorer

EPILOG = """Examples:

  gir restore in.jpg                              in.restored.jpg here, or stdout in a pipe
  gir restore -r photos/ -o better/               a tree, mirrored
  gir degrade --noise 25 in.png | gir restore > out.png
  gir restore -m official.pth in.png              weights that others published
  gir restore --strength 0.6 old.tif -o new.tif   keeps 40 % of the input
"""


@dataclass(frozen=True)
class Restoring(Checked):
    """How images are restored."""

    model: Annotated[
        str | None, Param("weights: a name that gir models lists, or a file; GIR_MODEL says another default")
    ] = None
    device: Annotated[str, Param("auto, cpu, cuda, cuda:N or mps")] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"], Param("arithmetic; auto takes what is fast and agrees with fp32")
    ] = "auto"
    threads: Annotated[int | None, Param("threads of the model; all cores if not given", 1, 1024)] = None
    tile: Annotated[str, Param("auto, off, or the side of the tiles in pixels")] = "auto"
    overlap: Annotated[
        int | None, Param("pixels by which tiles overlap; what the model needs if not given", 0, 4096)
    ] = None
    strength: Annotated[float, Param("how much of the result is mixed with the input", 0, 1)] = 1.0
    tta: Annotated[bool, Param("average the 8 flips and rotations; 8 times slower")] = False
    passes: Annotated[int, Param("how many times the model is applied", 1, 100)] = 1
    noise_level: Annotated[
        float | None,
        Param(
            "for models that are told the noise, its standard deviation; estimated if not given", 0, 255, "8-bit levels"
        ),
    ] = None
    no_provenance: Annotated[bool, Param("leave out the record of what was done")] = False


@spread
def restore(
    operands: Annotated[list[str] | None, typer.Argument(metavar="[FILE|DIR|-]...", show_default=False)] = None,
    restoring: Restoring = Restoring(),
    placing: Placing = Placing(),
    saving: Saving = Saving(),
    running: Running = Running(),
) -> int:
    """Restore images with one model: noise, blur, compression, rain, haze, darkness and damage, in any mixture.

    The shipped models are blind: they are told nothing about what is wrong with an image. Depth, transparency, gray,
    orientation, profile and metadata of the input are kept.
    """
    tile = _tile(restoring.tile)
    weights = records.find(restoring.model or os.environ.get("GIR_MODEL") or DEFAULT_MODEL, weights_places())
    batch = Batch(placing, saving, running, suffix=".restored", since=weights.stat().st_mtime)
    if running.dry_run:
        return batch.run(list(operands or ()), lambda job: Result(job.item, job.pages), inside=True)
    restorer = _Later(restoring, tile, weights)
    return batch.run(list(operands or ()), restorer.act, inside=False)


def _tile(text: str) -> int | Literal["off"] | None:
    if text in ("auto", "off"):
        return None if text == "auto" else "off"
    if text.isdecimal() and 16 <= int(text) <= 65536:
        return int(text)
    raise UsageError(f"--tile={text} is none of auto, off, or a number of pixels from 16 to 65536")


class _Later:
    """The restorer, made when the first image is there: torch is not imported for a batch with nothing to do."""

    def __init__(self, restoring: Restoring, tile: Any, path: Path) -> None:
        self.restoring, self.tile, self.path = restoring, tile, path
        self._restorer: Restorer | None = None

    @property
    def restorer(self) -> Restorer:
        if self._restorer is None:
            from gir_cli.restore import Restorer, Way

            wanted = self.restoring
            way = Way(
                device=wanted.device,
                precision=wanted.precision,
                threads=wanted.threads,
                tile=self.tile,
                overlap=wanted.overlap,
                strength=wanted.strength,
                tta=wanted.tta,
                passes=wanted.passes,
                noise_level=wanted.noise_level,
            )
            self._restorer = Restorer(self.path, way)
        return self._restorer

    def act(self, job: Job) -> Result:
        if job.item.skipped:
            return Result(job.item, [])
        begun = time.monotonic()
        pages = [self._restored(image, job) for image in job.pages]
        told = self.restorer.told(job.pages[0].visible())
        facts = {**self.restorer.facts, **told, "seconds": round(time.monotonic() - begun, 3)}
        return Result(job.item, pages, record=self._record(job), facts=facts)

    def _restored(self, image: Image, job: Job) -> Image:
        scale = self.restorer.scale
        if job.item.format:
            check_size(named(job.item.format), image.width * scale, image.height * scale)
        pixels = image.visible()
        restored = image.replaced(self.restorer(pixels))
        return replace(restored, notes=(*restored.notes, *self._notes(pixels)))

    def _notes(self, pixels: np.ndarray) -> Iterator[str]:
        """Yield what the user should know of the model beside its name."""
        record, told = self.restorer.model.record, self.restorer.told(pixels)
        if "origin" in record:
            yield f"{record['model']} weights that others published; terms of their code: {record['license']}"
        if told.get("noise_estimated"):
            yield f"noise level estimated as {told['noise_level']:g}; --noise-level would say it"

    def _record(self, job: Job) -> str | None:
        if self.restoring.no_provenance:
            return None
        default = asdict(Restoring())
        options = {name: value for name, value in asdict(self.restoring).items() if value != default[name]}
        return provenance.record(job.data, options=options, model=self.restorer.name, weights=self.restorer.digest)
