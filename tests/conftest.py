"""Fixtures: photographs, and the program run in this process or as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from pictures import ROOT, encoded

import gir_cli.cli


class Done(NamedTuple):
    """How a run of the program ended."""

    status: int
    out: bytes
    err: str


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's settings out of the tests, and the tests' caches out of the user's home."""
    for name in [name for name in os.environ if name.startswith("GIR_")]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.getbasetemp() / "home"
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(home / name))


@pytest.fixture
def gir() -> Callable[..., Done]:
    """Return a function that runs the program in this process, with real file descriptors."""
    return run_here


def run_here(*arguments: object, stdin: bytes = b"") -> Done:
    """Run `gir ARGUMENTS` in this process and return its status, stdout and stderr."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        with _descriptors(given.fileno(), out.fileno(), err.fileno()):
            status = gir_cli.cli.main([str(argument) for argument in arguments])
        for stream in (out, err):
            stream.seek(0)
        return Done(status, out.read(), err.read().decode(errors="surrogateescape"))


class _descriptors:
    """Lead file descriptors 0, 1 and 2, and sys's streams over them, elsewhere for a while."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def __enter__(self) -> None:
        self.saved = [os.dup(number) for number in range(3)]
        self.streams = sys.stdin, sys.stdout, sys.stderr
        for number, target in enumerate(self.numbers):
            os.dup2(target, number)
        sys.stdin = open(0, closefd=False)
        sys.stdout, sys.stderr = (
            open(number, "w", closefd=False, errors="surrogateescape")  # noqa: SIM115
            for number in (1, 2)
        )

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdin, sys.stdout, sys.stderr = self.streams
        for number, saved in enumerate(self.saved):
            os.dup2(saved, number)
            os.close(saved)


@pytest.fixture
def process() -> Callable[..., Done]:
    """Return a function that runs the program as a process."""

    def run(*arguments: object, stdin: bytes = b"", cwd: Path = ROOT, timeout: float = 120) -> Done:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "gir_cli", *(str(argument) for argument in arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, timeout=timeout, env=environment)
        return Done(done.returncode, done.stdout, done.stderr.decode(errors="surrogateescape"))

    return run


@pytest.fixture(scope="session")
def photograph() -> np.ndarray:
    """Return a photograph, uint8 (256, 384, 3) RGB."""
    from skimage import data

    return np.ascontiguousarray(data.chelsea()[:256, :384])


@pytest.fixture(scope="session")
def pixels(photograph: np.ndarray) -> np.ndarray:
    """Return the photograph as float32 in [0, 1]."""
    return photograph.astype(np.float32) / 255


@pytest.fixture
def png(tmp_path: Path, photograph: np.ndarray) -> Path:
    """Return the path of the photograph as a PNG file."""
    path = tmp_path / "in.png"
    path.write_bytes(encoded(photograph))
    return path


@pytest.fixture
def clean(tmp_path, photograph):
    """Return a folder of two clean images."""
    folder = tmp_path / "clean"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(photograph[:64, :96]))
    (folder / "b.png").write_bytes(encoded(photograph[100:170, 50:130]))
    return folder
