"""What clean photographs are like, for the metric niqe: `python -m gir_cli.cli.niqe FOLDER...` fits it anew."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterator

import numpy as np

from gir_cli import __version__, files
from gir_cli.batch.inputs import inputs
from gir_cli.cli.terminal import progress, say
from gir_cli.errors import GirError, UsageError
from gir_cli.image import decode
from gir_cli.metrics import quantised
from gir_cli.metrics.niqe import PRISTINE, fit


def main(folders: list[str]) -> int:
    """Fit to the photographs in `folders`, write the parameters into the package, and return the exit status.

    Their record tells how many photographs there were and the digest of their bytes, in order.
    """
    try:
        if not folders:
            raise UsageError("name the folders of clean photographs")
        paths = [found.source for folder in folders for found in inputs(folder, True, None)]
        seen = hashlib.sha256()
        model = fit(_photographs(paths, seen))
        record = {"program": f"gir {__version__}", "photographs": len(paths), "sha256": seen.hexdigest()}
        files.write(str(PRISTINE), dataclasses.replace(model, record=json.dumps(record)).packed())
    except GirError as error:
        say(f"gir: {error}")
        return error.status
    print(json.dumps(record))
    return 0


def _photographs(paths: list[str], seen: hashlib._Hash) -> Iterator[np.ndarray]:
    """Yield the photographs at `paths` as metrics take them, and feed their bytes to `seen`."""
    for path in progress(paths, total=len(paths), unit="image", shown=True):
        data = files.read(path)
        seen.update(data)
        image = decode(data)
        yield quantised(image.pixels, image.depth)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
