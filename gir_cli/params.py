"""Typed parameters: a dataclass field's type, default, range, unit and help, written once.

A parameter is declared as ``sigma: Annotated[float, Param("standard deviation", 0, 255)] = 25.0``.
The command line, the chain text, the man page, the range check and the record in a weights file
all read that one line.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from numbers import Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from gir_cli.errors import UsageError, nearest

MOST_BITS = 1000  # of a whole number, for a float to hold it


@dataclass(frozen=True)
class Param:
    """What a field's annotation says beside its type.

    `low` and `high` bound numbers, both inclusive. `drawn` is the interval from which a chain
    draws the value where its text leaves it out; such a field has no fixed default there. `metavar`
    stands for the value in the help of the command line.
    """

    help: str
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    drawn: tuple[float, float] | None = None
    metavar: str = ""

    @property
    def range(self) -> str:
        """The allowed interval as text, empty where there is none."""
        if math.isinf(self.low) and math.isinf(self.high):
            return ""
        if math.isinf(self.high):
            return f"at least {self.low:g}"
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Field:
    """One declared parameter of a dataclass."""

    name: str
    type: type
    choices: tuple[str, ...]
    optional: bool
    default: Any
    param: Param

    @property
    def range(self) -> str:
        """The allowed values as text."""
        return "one of " + ", ".join(self.choices) if self.choices else self.param.range

    @property
    def flag(self) -> str:
        """The field's name as a command-line option."""
        return "--" + self.name.replace("_", "-")

    def check(self, value: Any, owner: str) -> Any:
        """Return `value` in the field's type, or raise UsageError naming the allowed range.

        `owner` is what the parameter belongs to, such as an operator; '--' is the command line.
        """
        if value is None and self.optional:
            return None
        if self.choices:
            if value not in self.choices:
                hint = nearest(str(value), self.choices)
                raise self._refused(owner, value, f"is none of {', '.join(self.choices)}{hint}")
            return value
        if self.type in (int, float):
            return self._number(value, owner)
        if not isinstance(value, self.type):
            raise self._refused(owner, value, f"is no {self.type.__name__}")
        return value

    def _refused(self, owner: str, value: Any, why: str) -> UsageError:
        named = f"{self.flag}={value}" if owner == "--" else f"{owner}: {self.name}={value}"
        return UsageError(f"{named} {why}")

    def _number(self, value: Any, owner: str) -> int | float:
        kind = "a whole number" if self.type is int else "a number"
        if isinstance(value, int) and value.bit_length() > MOST_BITS:
            raise self._refused(owner, "…", f"is out of range ({self.param.range or 'far too large'})")
        real = isinstance(value, Real) and not isinstance(value, bool)  # numbers of numpy are too
        if not real or not math.isfinite(value):
            raise self._refused(owner, value, f"is not {kind}")
        if self.type is int and value != int(value):
            raise self._refused(owner, value, f"is not {kind}")
        if not self.param.low <= value <= self.param.high:
            raise self._refused(owner, f"{value:g}", f"is out of range ({self.param.range})")
        return self.type(value)

    def read(self, text: str, owner: str) -> Any:
        """Return the value that `text` spells, checked."""
        if self.type not in (int, float):
            return self.check(text, owner)
        try:
            number = float(text)
        except ValueError:
            kind = "a whole number" if self.type is int else "a number"
            raise self._refused(owner, text, f"is not {kind}") from None
        return self.check(number, owner)


@cache
def params_of(cls: type) -> dict[str, Field]:
    """Return the parameters that dataclass `cls` declares, by name, in order."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: _field(field, hints[field.name]) for field in _declared(cls, hints)}


def _declared(cls: type, hints: dict[str, Any]) -> Iterator[dataclasses.Field]:
    for field in dataclasses.fields(cls):
        if any(isinstance(note, Param) for note in getattr(hints[field.name], "__metadata__", ())):
            yield field


def _field(field: dataclasses.Field, hint: Any) -> Field:
    kind, *notes = get_args(hint)
    param = next(note for note in notes if isinstance(note, Param))
    optional = get_origin(kind) in (Union, types.UnionType)
    if optional:
        kind = next(part for part in get_args(kind) if part is not type(None))
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    if get_origin(kind) is tuple:
        kind = tuple
    return Field(field.name, str if choices else kind, choices, optional, _default(field), param)


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


class Checked:
    """Mixin for frozen dataclasses: values are checked against their Param when one is made."""

    def __post_init__(self) -> None:
        owner = getattr(type(self), "name", type(self).__name__.lower())
        for field in params_of(type(self)).values():
            value = field.check(getattr(self, field.name), owner)
            object.__setattr__(self, field.name, value)
