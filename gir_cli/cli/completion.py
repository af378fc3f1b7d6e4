"""gir completion: scripts by which a shell completes commands, options and their values.

They are generated from the command tree and all text: pressing the key starts no Python, but for the
names of models after --model.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from gir_cli.cli import COMMANDS, application

EPILOG = """Examples:

  gir completion bash > ~/.local/share/bash-completion/completions/gir
  gir completion zsh > ~/.zfunc/_gir            where fpath has ~/.zfunc before compinit
  gir completion fish > ~/.config/fish/completions/gir.fish
"""

#: What lists the models, and the commands whose --model is one of them.
MODELS, MODEL_COMMANDS = "$(gir models 2>/dev/null | cut -f1)", ("restore", "evaluate", "export")


@dataclass(frozen=True)
class Option:
    """An option as a shell needs it.

    `values` are the words it can take: none where any text or file may stand. A switch takes nothing.
    """

    names: tuple[str, ...]
    help: str
    values: str = ""
    switch: bool = False


@dataclass(frozen=True)
class Command:
    """A command: its options, and the words its operand can be, none where it is a file."""

    name: str
    help: str
    options: tuple[Option, ...]
    operands: str


HELP = Option(("-h", "--help"), "Show the help", switch=True)
VERSION = Option(("-V", "--version"), "Show the version", switch=True)


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="bash|zsh|fish", show_default=False)],
) -> None:
    """Print a completion script for a shell.

    It completes commands, options, values where an option has a choice of them, the names of models, and files
    everywhere else.
    """
    write = {"bash": bash, "zsh": zsh, "fish": fish}[shell]
    print("\n".join(write([command(name) for name in COMMANDS])))


def command(name: str) -> Command:
    """Return command `name` of the command tree."""
    tree: Any = typer.main.get_command(application(name))  # a group of typer's own click
    params = tree.commands[name].params
    options = [_option(name, param) for param in params if param.param_type_name == "option"]
    operands = [_words(param.metavar) for param in params if param.param_type_name == "argument"]
    return Command(name, _brief(COMMANDS[name]), (*options, HELP), "".join(operands))


def _option(owner: str, param: Any) -> Option:
    values = MODELS if owner in MODEL_COMMANDS and "--model" in param.opts else _words(param.metavar)
    return Option(tuple(param.opts), _brief(param.help or ""), values, switch=bool(param.is_flag or param.count))


def _words(metavar: str | None) -> str:
    """Return the words that a metavar such as 'keep|8|16' names; none of one that stands for any text."""
    return metavar.replace("|", " ") if metavar and re.fullmatch(r"[a-z0-9-]+(\|[a-z0-9-]+)+", metavar) else ""


def _brief(text: str) -> str:
    """Return a help text up to its first colon, semicolon or bracket, which zsh would take for its own."""
    return re.split(r"[:;(\[]", text)[0].strip().rstrip(".")


# ---- bash

BASH_HEAD = """\
# Completion of gir for bash, by 'gir completion bash'.
_gir_offer() { COMPREPLY=($(compgen -W "$1" -- "$word")); }
_gir() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= i
    # bash cuts --depth=16 into three words.
    [[ $before == = ]] && before=${COMP_WORDS[COMP_CWORD-2]}
    [[ $word == = ]] && word=
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} != -* ]] && command=${COMP_WORDS[i]} && break
    done
    COMPREPLY=()
    case "$command $before" in"""
BASH_TAIL = """\
    esac
}
# Without an offer of ours, bash offers files.
complete -o bashdefault -o default -F _gir gir"""


def bash(commands: list[Command]) -> Iterator[str]:
    """Yield the lines of the script for bash."""
    yield BASH_HEAD
    for one in commands:
        taking = [option for option in one.options if not option.switch]
        for option in (option for option in taking if option.values):
            yield f'        {_pattern(one, [option])}) _gir_offer "{option.values}"; return ;;'
        if free := [option for option in taking if not option.values]:
            yield f"        {_pattern(one, free)}) return ;;"
    yield '    esac\n    case "$command $word" in'
    yield f'        " -"*) _gir_offer "{_names([HELP, VERSION])}" ;;'
    yield f'        " "*) _gir_offer "{" ".join(one.name for one in commands)}" ;;'
    for one in commands:
        yield f'        "{one.name} -"*) _gir_offer "{_names(one.options)}" ;;'
        if one.operands:
            yield f'        "{one.name} "*) _gir_offer "{one.operands}" ;;'
    yield BASH_TAIL


def _pattern(owner: Command, options: list[Option]) -> str:
    return "|".join(f'"{owner.name} {name}"' for option in options for name in option.names)


def _names(options: Any) -> str:
    return " ".join(name for option in options for name in option.names)


# ---- zsh

ZSH_HEAD = """\
#compdef gir
# Completion of gir for zsh, by 'gir completion zsh'.
_gir() {
    local context state state_descr line
    typeset -A opt_args"""
ZSH_TAIL = """\
        esac ;;
    esac
}
if [[ $funcstack[1] == _gir ]]; then _gir "$@"; else compdef _gir gir; fi"""


def zsh(commands: list[Command]) -> Iterator[str]:
    """Yield the lines of the script for zsh."""
    general = [spec for option in (HELP, VERSION) for spec in _zsh_specs(option)]
    described = " ".join(shlex.quote(f"{one.name}:{one.help}") for one in commands)
    yield ZSH_HEAD
    yield f"    _arguments -C {' '.join(general)} '1:command:->command' '*::operand:->operand'"
    yield "    case $state in"
    yield f"    command) local -a commands=({described}); _describe command commands ;;"
    yield "    operand) case $words[1] in"
    for one in commands:
        specs = [spec for option in one.options for spec in _zsh_specs(option)]
        operand = f"'*:operand:({one.operands})'" if one.operands else "'*:file:_files'"
        yield " \\\n            ".join([f"        {one.name}) _arguments", *specs, f"{operand} ;;"])
    yield ZSH_TAIL


def _zsh_specs(option: Option) -> Iterator[str]:
    """Yield an argument of zsh's _arguments for each name of `option`; it may be repeated."""
    for name in option.names:
        if option.switch:
            yield shlex.quote(f"*{name}[{option.help}]")
        else:
            glued = "=" if name.startswith("--") else ""
            yield shlex.quote(
                f"*{name}{glued}[{option.help}]:value:{f'({option.values})' if option.values else '_files'}"
            )


# ---- fish


def fish(commands: list[Command]) -> Iterator[str]:
    """Yield the lines of the script for fish."""
    yield "# Completion of gir for fish, by 'gir completion fish'."
    first = "complete -c gir -n __fish_use_subcommand -f"
    yield from (_fish_option(first, option) for option in (HELP, VERSION))
    yield from (f"{first} -a {one.name} -d {_fish_quoted(one.help)}" for one in commands)
    for one in commands:
        seen = f"complete -c gir -n '__fish_seen_subcommand_from {one.name}'"
        yield from (_fish_option(seen, option) for option in one.options)
        if one.operands:
            yield f"{seen} -f -a '{one.operands}'"


def _fish_option(start: str, option: Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    # fish writes a command substitution without the dollar sign.
    takes = "" if option.switch else f" -x -a '{option.values.lstrip('$')}'" if option.values else " -r -F"
    return f"{start} {names}{takes} -d {_fish_quoted(option.help)}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
