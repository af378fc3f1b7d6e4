"""The completion scripts, in the shells themselves where they are installed."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from gir_cli.cli import COMMANDS
from gir_cli.cli.completion import command

SHELLS = ("bash", "zsh", "fish")


def needs(shell):
    return pytest.mark.skipif(not shutil.which(shell), reason=f"no {shell}")


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """Return the path of the script for each shell."""
    from conftest import run_here

    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        (folder / shell).write_bytes(run_here("completion", shell).out)
    return {shell: folder / shell for shell in SHELLS}


@pytest.fixture
def offered(scripts):
    """Return a function from a line to the words bash offers for its last one; '' stands for a new word."""
    code = '. "$0"; gir() { printf "one\\tx\\ntwo\\ty\\n"; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gir'

    def ask(*words):
        command = ["bash", "-c", code + '; printf "%s\\n" "${COMPREPLY[@]}"', scripts["bash"], "gir", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert done.stderr == ""
        return done.stdout.split()

    return ask


@pytest.mark.parametrize("shell", [pytest.param(shell, marks=needs(shell)) for shell in SHELLS])
def test_the_shell_accepts_its_script(shell, scripts):
    done = subprocess.run([shell, "-n", scripts[shell]], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_every_script(shell, scripts):
    text = scripts[shell].read_text()
    for name in COMMANDS:
        assert re.search(rf"\b{name}\b", text)
        for option in command(name).options:
            long = option.names[0] if option.names[0].startswith("--") else option.names[-1]
            assert (f"-l {long[2:]} " if shell == "fish" else long) in text


@needs("bash")
class TestInBash:
    def test_commands_are_offered(self, offered):
        assert offered("deg") == ["degrade"]
        assert offered("") == list(COMMANDS)
        assert "--version" in offered("-")

    def test_options_of_the_command_are_offered(self, offered):
        assert offered("degrade", "in.png", "--noi") == ["--noise"]
        assert offered("restore", "--noi") == ["--noise-level"]
        assert "--json" in offered("info", "-")

    def test_values_are_offered_where_there_is_a_choice(self, offered):
        assert offered("degrade", "--depth", "") == ["keep", "8", "16", "float"]
        assert offered("restore", "--precision", "=", "bf") == ["bf16"]
        assert offered("restore", "--precision", "=") == ["auto", "fp32", "bf16", "fp16"]
        assert offered("compare", "--metric", "ps") == ["psnr", "psnr-y"]
        assert offered("completion", "") == ["bash", "zsh", "fish"]

    def test_models_are_asked_for(self, offered):
        assert offered("restore", "-m", "") == ["one", "two"]

    def test_files_are_left_to_bash(self, offered):
        assert offered("degrade", "in") == []
        assert offered("degrade", "--noise", "") == []
        assert offered("degrade", "-o", "-") == []


@needs("fish")
def test_fish_offers_commands_options_and_values(scripts):
    def ask(line):
        code = f'source {scripts["fish"]}; complete -C "{line}"'
        done = subprocess.run(["fish", "--no-config", "-c", code], capture_output=True, text=True, timeout=20)
        return [offer.split("\t")[0] for offer in done.stdout.splitlines()]

    assert ask("gir deg") == ["degrade"]
    assert ask("gir degrade --noi") == ["--noise"]
    assert sorted(ask("gir degrade --depth ")) == ["16", "8", "float", "keep"]


def test_another_shell_is_refused(gir):
    done = gir("completion", "tcsh")
    assert (done.status, done.out) == (2, b"")
    assert done.err.count("\n") == 1 and "'bash', 'zsh', 'fish'" in done.err
