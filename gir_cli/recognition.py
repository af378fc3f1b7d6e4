"""What the tensors of a published file are: recognised from their names and shapes alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from gir_cli.errors import UsageError, WeightsError
from gir_cli.layouts import LAYOUTS, Layout, configured, read_settings
from gir_cli.layouts.official import Official
from gir_cli.layouts.shapes import Shapes

CONTAINERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net", "generator", "g_ema")
PREFIXES = ("module.", "net.", "netG.", "model.")
WRAPPED = 9  # prefixes of one name, at most
SHOWN = 3  # names that a message lists


def recognised(shapes: Shapes, settings: Mapping[str, str]) -> tuple[Layout, dict[str, str]]:
    """Return the configuration that `shapes` show, and the network's names of tensors, each with that in `shapes`.

    `settings`, as text, say what shapes cannot show. Raises WeightsError naming what was looked for, or
    saying what does not go together.
    """
    for prefix, inner in _spellings(shapes):
        for model, official in known():
            names, sizes = _understood(official, inner)
            if sizes:
                told = read_settings(model, settings)
                return _configured(model, {**sizes, **told}), {new: prefix + name for new, name in names.items()}
    raise WeightsError(_unknown(shapes))


def _configured(model: str, sizes: Mapping[str, Any]) -> Layout:
    try:
        return configured(model, sizes)
    except UsageError as error:
        raise WeightsError(str(error)) from None


def known() -> list[tuple[str, Official]]:
    """Return the networks whose published weights are recognised."""
    return [(name, layout.official) for name, layout in LAYOUTS.items() if layout.official]


def _spellings(shapes: Shapes) -> Iterator[tuple[str, Shapes]]:
    """Yield `shapes` as they are, then without a prefix that all of their names have, again and again.

    With each comes what was cut.
    """
    cut = ""
    yield cut, shapes
    for _ in range(WRAPPED):
        prefix = next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in shapes)), "")
        if not prefix:
            return
        cut, shapes = cut + prefix, {name.removeprefix(prefix): shape for name, shape in shapes.items()}
        yield cut, shapes


def _understood(official: Official, shapes: Shapes) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the network's names of tensors, each with that in `shapes`, and the configuration that shapes show.

    The latter is empty where they are not what they should be.
    """
    try:
        names = official.renamed(shapes)
        found = {new: shapes[name] for new, name in names.items()}
        sizes = official.sizes(found) if official.knows(found) else {}
        return names, sizes and sizes | official.aside(shapes)
    except (LookupError, ValueError, ArithmeticError):
        return {}, {}


def _unknown(names: Collection[str]) -> str:
    """Say what was looked for, what came nearest, and what was found."""
    looked = ", ".join(name for name, _ in known())
    if not names:
        return f"holds no tensors by name (looked in {', '.join(CONTAINERS)})"
    found = ", ".join(f"'{name}'" for name in list(names)[:SHOWN])
    said = f"no network that I know (looked for {looked}); it holds {len(names)} tensors: {found} …"
    near = [(len(official.missing(names)) / len(official.keys), name, official) for name, official in known()]
    share, name, official = min(near, key=lambda item: item[0])
    if share == 1:
        return said
    why = ", ".join(f"'{key}'" for key in official.missing(names)[:SHOWN])
    return f"{said}; nearest is {name}, but " + (f"it misses {why}" if why else "its shapes do not fit together")
