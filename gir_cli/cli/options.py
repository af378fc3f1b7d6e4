"""Command-line options from dataclasses: each field that declares a Param becomes one option."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from gir_cli.params import Field, params_of

#: One-letter names, the same in every command.
SHORT = {
    "output": "-o",
    "format": "-f",
    "recursive": "-r",
    "dry_run": "-n",
    "jobs": "-j",
    "null": "-0",
    "quiet": "-q",
    "verbose": "-v",
    "quality": "-Q",
    "model": "-m",
}


def help_of(field: Field) -> str:
    """Return the help of a field: what it is, its unit and its range."""
    extra = [part for part in (field.param.unit, "" if field.choices else field.range) if part]
    return field.param.help + (f" ({'; '.join(extra)})" if extra else "")


def metavar(field: Field) -> str | None:
    """Return what stands for the field's value in the help; None for a switch."""
    if field.type is bool:
        return None
    if field.choices:
        return "|".join(field.choices)
    return field.param.metavar or {int: "N", float: "X"}.get(field.type, "TEXT")


def option(field: Field) -> inspect.Parameter:
    """Return the option that sets `field`, as a parameter that typer understands."""
    names = [field.flag, *([SHORT[field.name]] if field.name in SHORT else [])]
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    extra: dict[str, Any] = {"count": True} if field.name == "verbose" else {"metavar": metavar(field)}
    info = typer.Option(*names, help=help_of(field), show_default=default not in (None, False, "", []), **extra)
    kind = list[str] if field.type is tuple else field.type
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind | None if default is None else kind, info],
    )


def spread(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` with each dataclass parameter replaced by an option per field.

    The values are checked against the fields' ranges and arrive as the dataclass again.
    """
    hints = get_type_hints(function, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and params_of_or_none(hint)}
    plain, options = [], []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in groups:
            options += [option(field) for field in params_of(groups[name]).values()]
        else:
            plain.append(parameter.replace(annotation=hints[name]))

    @functools.wraps(function)
    def command(*args: Any, **values: Any) -> Any:
        for name, group in groups.items():
            fields = params_of(group).values()
            values[name] = group(**{field.name: _value(field, values.pop(field.name)) for field in fields})
        return function(*args, **values)

    command.__signature__ = inspect.Signature([*plain, *options])
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*plain, *options]}
    del command.__wrapped__
    return command


def params_of_or_none(hint: type) -> dict[str, Field] | None:
    """Return the parameters that `hint` declares if it is a dataclass with any."""
    return params_of(hint) if hasattr(hint, "__dataclass_fields__") else None


def _value(field: Field, value: Any) -> Any:
    if field.type is tuple:
        return tuple(value)
    return field.check(value, "--")
