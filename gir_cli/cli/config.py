"""The user's configuration file: TOML, a table per command, an option a key."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from gir_cli import files
from gir_cli.errors import InputError, UsageError, nearest


def config_file() -> Path:
    """Return the configuration file's path, whether it is there or not."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(os.environ.get("GIR_CONFIG") or Path(home) / "gir" / "config.toml")


def defaults(command: str, options: Mapping[str, str], commands: Collection[str]) -> dict[str, Any]:
    """Return what the configuration file says of `command`, by parameter, whose names `options` gives by option.

    Tables are those of `commands`. Keys are the options' long names, with `-` or `_`. Raises UsageError naming the
    file and what is wrong in it: TOML that cannot be read, a table that is no command's, a key that is no option.
    """
    path = config_file()
    tables = _tables(path)
    for name in tables:
        if name not in commands:
            raise UsageError(f"{path}: '{name}' is no command of gir{nearest(name, list(commands))}")
    table = tables.get(command, {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: '{command}' is no table")
    values = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name not in options:
            hint = nearest(name, list(options))
            raise UsageError(f"{path}: [{command}] has the key '{key}', which is no option of gir {command}{hint}")
        values[options[name]] = value
    return values


def _tables(path: Path) -> dict[str, Any]:
    if not path.exists() and "GIR_CONFIG" not in os.environ:
        return {}
    try:
        return tomllib.loads(files.read(str(path)).decode())
    except InputError as error:
        raise UsageError(f"{path}: {error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from None
