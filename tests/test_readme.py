"""What the README shows is what runs."""

from __future__ import annotations

import re
import shlex

import pytest
from pictures import ROOT, decoded

README = (ROOT / "README.md").read_text()
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
DEGRADE = [line.split("  #")[0] for line in SHELL if line.startswith("gir degrade")]


@pytest.mark.parametrize("line", DEGRADE)
def test_each_degrade_line_runs(gir, line, png, monkeypatch):
    monkeypatch.chdir(png.parent)
    (png.parent / "photos").mkdir()
    (png.parent / "photos/a.png").write_bytes(png.read_bytes())
    done = gir(*shlex.split(line)[1:])
    assert done.status == 0, done.err


def test_the_python_example_runs(png, monkeypatch):
    monkeypatch.chdir(png.parent)
    (png.parent / "weights").symlink_to(ROOT / "weights")
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    exec(code.replace("open(", "opened("), {"opened": Opened})
    assert decoded((png.parent / "out.png").read_bytes()).shape == decoded(png.read_bytes()).shape


class Opened:
    """A file that is closed when it has been read or written: the example leaves that to the interpreter."""

    def __init__(self, name, mode):
        self.name, self.mode = name, mode

    def read(self):
        with open(self.name, self.mode) as file:
            return file.read()

    def write(self, data):
        with open(self.name, self.mode) as file:
            file.write(data)


def test_ci_runs_the_test_command_that_it_tells():
    told = next(line for line in SHELL if "-m pytest" in line).rpartition("python ")[2]
    assert told in (ROOT / ".ci/run").read_text()


def test_every_command_is_named():
    from gir_cli.cli import COMMANDS

    assert all(f"`gir {name}`" in README for name in COMMANDS)
