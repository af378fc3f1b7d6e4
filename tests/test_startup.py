"""What must be quick stays so: commands that need no network never import torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pictures import ROOT
from safetensors.torch import save_file
from test_models import network


def imported_by(*arguments):
    """Return the modules that are loaded after the program ran with `arguments`."""
    code = (
        "import sys; from gir_cli.cli import main; status = main(sys.argv[1:]); "
        "print(status, *sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, cwd=ROOT, timeout=60)
    status, *modules = done.stderr.splitlines()[-1].split()
    assert status == b"0"
    return {module.decode() for module in modules}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments):
    heavy = {"torch", "cv2", "tifffile", "numpy", "gir_cli.models"}
    assert not heavy & imported_by(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["models"],
        ["info", str(ROOT / "weights/gir-small.safetensors")],
        ["completion", "bash"],
        ["compare", "--help"],
        ["degrade", "--help"],
        ["restore", "--help"],
        ["train", "--help"],
        ["evaluate", "--help"],
        ["lines", "--help"],
        ["degrade", "--list"],
    ],
    ids=" ".join,
)
def test_commands_about_files_and_degradations_do_without_torch(arguments):
    assert "torch" not in imported_by(*arguments)


@pytest.mark.parametrize("arguments", [["info"], ["models"]], ids=" ".join)
def test_published_weights_in_safetensors_form_are_recognised_without_torch(arguments, tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    save_file(network("nafnet").state_dict(), path)
    monkeypatch.setenv("GIR_WEIGHTS", str(tmp_path))
    assert "torch" not in imported_by(*arguments, *([str(path)] if arguments == ["info"] else []))


def test_degrading_does_without_torch(png):
    out = png.parent / "out.png"
    assert "torch" not in imported_by("degrade", "--noise", "5", str(png), "-o", str(out))
    assert out.exists()


def test_importing_the_package_loads_nothing():
    code = "import sys; before = set(sys.modules); import gir_cli; print(len(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, timeout=60)
    assert int(done.stdout) < 10


def test_public_names_stay_what_they_are_once_their_modules_are_there():
    import gir_cli

    before = [getattr(gir_cli, name) for name in gir_cli.__all__]
    assert not any(isinstance(thing, type(sys)) for thing in before)
    assert all(getattr(gir_cli, name) is thing for name, thing in zip(gir_cli.__all__, before, strict=True))
