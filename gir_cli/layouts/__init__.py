"""Layouts: the sizes of each network, the tensors that they give, and how published files show them.

A network's configuration is a frozen dataclass, filed under the network's name, that says the shape of
every tensor. Weights are compared with it from the header of their file alone: importing torch takes
longer than refusing a bad file may, so there is none here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from gir_cli.catalog import Catalog
from gir_cli.errors import UsageError
from gir_cli.layouts.official import Official
from gir_cli.layouts.shapes import Shapes
from gir_cli.params import Checked, Field, params_of


class Layout(Checked):
    """What configurations share: sizes that do not go together are a UsageError when one is made.

    `official` says how the files of others are recognised, where there are any.
    """

    name: ClassVar[str]
    official: ClassVar[Official | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tensors()

    def tensors(self) -> Shapes:
        """Return the shapes of the network's tensors by name, or raise UsageError."""
        raise NotImplementedError


LAYOUTS: Catalog[type[Layout]] = Catalog("model", __name__)


def configured(name: str, config: Mapping[str, Any]) -> Any:
    """Return the checked configuration of model `name`, or raise UsageError."""
    declared = _declared(name, config)
    return LAYOUTS.find(name)(**{key: declared[key].check(value, name) for key, value in config.items()})


def read_settings(name: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of model `name` that `texts` spell, or raise UsageError."""
    declared = _declared(name, texts)
    return {key: declared[key].read(text, name) for key, text in texts.items()}


def read_config(name: str, text: str) -> dict[str, Any]:
    """Return the settings of model `name` that `text`, such as ``width=32,blocks=2``, spells, or raise UsageError."""
    pairs = (item.partition("=") for item in text.split(",") if text)
    return read_settings(name, {key: value for key, _, value in pairs})


def _declared(name: str, keys: Iterable[str]) -> dict[str, Field]:
    declared = params_of(LAYOUTS.find(name))
    for key in keys:
        if key not in declared:
            raise UsageError(f"{name} has no setting '{key}' (it has {', '.join(declared)})")
    return declared


def difference(expected: Shapes, found: Shapes) -> str:
    """Say of the first tensor in which `found` is not as `expected` what is wrong; nothing if there is none."""
    for name in (*expected, *found):
        if name not in found:
            return f"misses tensor '{name}'"
        if name not in expected:
            return f"has an unknown tensor '{name}'"
    for name, shape in expected.items():
        if found[name] != shape:
            return f"'{name}' has shape {list(found[name])}, not {list(shape)}"
    return ""
