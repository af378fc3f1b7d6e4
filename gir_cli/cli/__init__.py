"""The command line: `main` builds the commands, and is the one place where errors become exit statuses."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import typer

from gir_cli import __version__, files
from gir_cli.cli import signals
from gir_cli.cli.config import defaults
from gir_cli.errors import GirError, InputError, UsageError, nearest

#: Command -> the first line of its help. Its module is imported only when it is asked for.
COMMANDS = {
    "degrade": "Make clean images worse, reproducibly.",
    "restore": "Restore images with one model.",
    "train": "Train a backbone on chains of degradations.",
    "evaluate": "Score models on a suite of tasks, or restored images against references.",
    "lines": "Make the lines by which evaluate takes AR and ER.",
    "compare": "Say how far images are from a reference.",
    "info": "Say what an image or a weights file is.",
    "models": "List the weights that can be found.",
    "convert": "Turn weights that others published into gir's, or into another precision.",
    "export": "Write a model for other runtimes, as .pt2 or ONNX.",
    "completion": "Print a completion script for a shell.",
}

EPILOG = """Examples:

  gir degrade --noise 25 --blur 2 in.png          make a photograph worse
  gir restore photos/ -o better/                  restore a folder
  gir degrade --noise 25 in.png | gir restore > out.png

'gir COMMAND --help' tells more.
"""

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
INTERRUPTED, BROKEN_PIPE = 130, 141

# typer carries its own click and doesn't export the base of its usage errors.
ClickException = typer.BadParameter.__mro__[2]


def application(asked: str | None) -> typer.Typer:
    """Return the application with the command `asked` in full and the others by their first line only."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=SETTINGS,
        epilog=unwrapped(EPILOG),
    )
    app.callback()(_general)
    for name, first_line in COMMANDS.items():
        if name == asked:
            module = importlib.import_module(f"gir_cli.cli.{name}")
            app.command(name, epilog=unwrapped(module.EPILOG))(getattr(module, name))
        else:
            app.command(name, help=first_line)(lambda: None)
    return app


def unwrapped(epilog: str) -> str:
    """Return `epilog` with its indented blocks marked to be kept line by line."""
    return epilog.replace("\n\n  ", "\n\n\b\n  ")


def _version(asked: bool) -> None:
    if asked:
        print(f"gir {__version__}")
        raise typer.Exit()


def _general(
    version: bool = typer.Option(False, "--version", "-V", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """General image restoration: one model for any photograph, and the tools around it."""


def main(arguments: list[str] | None = None) -> int:
    """Run the program on `arguments` (the process's if None) and return its exit status."""
    _open_closed_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    asked = next((word for word in arguments if not word.startswith("-")), None)
    try:
        with signals.raised():
            _check_command(asked)
            app = typer.main.get_command(application(asked))
            defaults_of_user = _configured(app, asked)
            result = app.main(arguments, "gir", standalone_mode=False, default_map=defaults_of_user)
            sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BaseException as error:
        if os.environ.get("GIR_DEBUG"):
            raise
        return status_of(error, asked)


def _open_closed_streams() -> None:
    """Lead standard streams that were closed, as by a daemon, nowhere; else the next files opened get their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # its number is the lowest that is free
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, errors="backslashreplace"))


def _configured(app: Any, asked: str | None) -> dict[str, Any]:
    """Return the defaults that the user's configuration gives the command `asked`."""
    if asked is None:
        return {}
    options = {
        text.removeprefix("--"): option.name
        for option in app.commands[asked].params
        if option.param_type_name == "option"
        for text in option.opts
        if text.startswith("--")
    }
    return {asked: defaults(asked, options, COMMANDS)}


def _check_command(asked: str | None) -> None:
    if asked is not None and asked not in COMMANDS:
        hint = nearest(asked, list(COMMANDS)) or f" (there are: {', '.join(COMMANDS)})"
        raise UsageError(f"no command is called '{files.shown(asked)}'{hint}")


def status_of(error: BaseException, asked: str | None = None) -> int:
    """Say what `error` means on standard error, in one line, and return the exit status it stands for."""
    if isinstance(error, SystemExit) and isinstance(error.__context__, OSError):
        error = error.__context__  # typer turns a broken pipe into SystemExit(1)
    if isinstance(error, GirError):
        return _said(str(error), error.status)
    if isinstance(error, ClickException):
        name = f"{asked}: " if asked in COMMANDS else ""
        return _said(name + _lowered(error.format_message()), UsageError.status)
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        _forget_stdout()
        return BROKEN_PIPE
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return INTERRUPTED
    if isinstance(error, signals.Terminated):
        return 128 + signal.SIGTERM
    if isinstance(error, OSError):
        place = f"{files.shown(os.fsdecode(error.filename))}: " if error.filename else ""
        return _said(f"{place}{files.reason(error)}", InputError.status)
    if isinstance(error, MemoryError):
        return _said("memory ran out", InputError.status)
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return _said(f"this is a bug of gir ({said}); GIR_DEBUG=1 shows where", GirError.status)


def _lowered(message: str) -> str:
    return message[:1].lower() + " ".join(message[1:].split())


def _said(message: str, status: int) -> int:
    print(f"gir: {message}", file=sys.stderr)
    return status


def _forget_stdout() -> None:
    """Point stdout nowhere, so that flushing it at exit meets the broken pipe no second time."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
