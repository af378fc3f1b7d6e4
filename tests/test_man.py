"""The man pages say what the program does, and all of them are installed."""

from __future__ import annotations

import shutil
import subprocess
import tomllib

import pytest
from pictures import ROOT

from gir_cli import man


def test_no_page_is_stale():
    there = {path.name: path.read_text() for path in (ROOT / "man").iterdir()}
    assert there == man.pages(), "run python -m gir_cli.man"


def test_every_page_is_installed():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["shared-data"] == {f"man/{name}": f"share/man/man{name[-1]}/{name}" for name in man.pages()}


def test_text_that_troff_would_take_for_a_request_is_escaped():
    assert man.escaped(".x\n'y\na-b\\") == "\\&.x\n\\&'y\na\\-b\\e"


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff")
def test_groff_has_nothing_to_say():
    for path in sorted((ROOT / "man").iterdir()):
        done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", path], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), path.name
