"""Bad weights are refused before torch is imported: in a line, in a second, in 100 MB."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import pytest
import torch
from pictures import ROOT
from safetensors.torch import save as write_tensors
from test_models import network

from gir_cli import records
from gir_cli.errors import WeightsError
from gir_cli.weights import config_of, save

SECONDS, MEGABYTES = 1, 100


@pytest.fixture
def good(tmp_path):
    made = network("girnet")
    path = tmp_path / "w.safetensors"
    save(path, made.state_dict(), {"name": "w", "model": "girnet", "config": config_of(made), "scale": 1})
    return path


def huge_header(path, tensors):
    return struct.pack("<Q", 2**60) + path.read_bytes()[8:]


def truncated(path, tensors):
    return path.read_bytes()[:-1000]


def wrong_shape(path, tensors):
    return rewritten(path, tensors | {"stem.bias": torch.zeros(9)})


def another_name(path, tensors):
    return rewritten(path, tensors | {"extra": torch.zeros(9)})


def no_numbers(path, tensors, kind=torch.float32):
    return rewritten(path, tensors | {"head.bias": torch.full((12,), torch.nan, dtype=kind)})


def halved(path, tensors):
    return no_numbers(path, tensors, torch.bfloat16)


def rewritten(path, tensors):
    return write_tensors(tensors, {"gir": json.dumps(records.record(path))})


DAMAGE = [huge_header, truncated, wrong_shape, another_name, no_numbers, halved]

MEASURED = """
import sys, time
from gir_cli.cli import main
status = main(sys.argv[1:])
# The kernel's own mark; that of getrusage starts at what the parent process had.
kilobytes = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(status, time.process_time(), int(kilobytes) / 1024, "torch" in sys.modules)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no /proc")
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("command", ["restore", "convert", "info", "export"])
def test_damage_costs_little_and_torch_is_not_asked(good, png, damage, command):
    good.write_bytes(damage(good, network("girnet").state_dict()))
    arguments = {
        "restore": ["restore", "-m", good, png, "-o", png.parent / "out.png"],
        "convert": ["convert", good, "-o", png.parent / "out.safetensors"],
        "info": ["info", good],
        "export": ["export", "-m", good, "-o", png.parent / "out.pt2"],
    }[command]
    check_refused(arguments, good)
    assert not list(png.parent.glob("out*"))


def check_refused(arguments, path):
    """Run the program, and see that it ends in status 3 and one line on `path`, soon and small; return the line."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-c", MEASURED, *map(str, arguments)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, env=environment)
    status, seconds, megabytes, torch_there = done.stdout.split()
    assert (status, torch_there) == ("3", "False")
    assert len(done.stderr.splitlines()) == 1 and str(path) in done.stderr
    # Seconds of the processor, the interpreter's start included: those of the clock depend on who else runs.
    assert float(seconds) < SECONDS and float(megabytes) < MEGABYTES
    return done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no /proc")
@pytest.mark.parametrize("name", ["nafnet", "swinir"])
def test_a_wrong_shape_in_a_file_of_others_costs_as_little(name, tmp_path, png):
    path, tensors = tmp_path / "net.safetensors", network(name).state_dict()
    wrong = next(key for key in reversed(tensors) if tensors[key].ndim == 1 and ".0." not in key)
    path.write_bytes(write_tensors(tensors | {wrong: torch.zeros(99)}))
    said = check_refused(["restore", "-m", path, png, "-o", tmp_path / "out.png"], path)
    assert f"'{wrong}' has shape [99], not [{len(tensors[wrong])}]" in said


def test_infinite_values_are_found_in_every_piece(good, monkeypatch):
    monkeypatch.setattr(records, "PIECE", 7)
    for kind in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        tensors = {name: value.to(kind) for name, value in network("girnet").state_dict().items()}
        tensors["stem.bias"] = torch.zeros(8, dtype=torch.int64)
        good.write_bytes(rewritten(good, tensors))
        records.check(good)
        tensors["head.weight"][-1, -1, -1, 0] = -torch.inf
        good.write_bytes(rewritten(good, tensors))
        with pytest.raises(WeightsError, match=r"'head\.weight' holds values that are not finite"):
            records.check(good)


def test_files_of_before_are_read_with_what_their_records_held_more(good):
    record = records.record(good) | {"layout": 64 * "0"}
    good.write_bytes(write_tensors(network("girnet").state_dict(), {"gir": json.dumps(record)}))
    records.check(good)


def test_a_record_that_does_not_agree_with_the_tensors_is_refused(good):
    record = records.record(good)
    for config, says in (
        ({"width": 16}, r"'stem\.weight' has shape \[8, 12, 3, 3\], not \[16, 12, 3, 3\]"),
        ({"levels": 3}, r"misses tensor 'down_blocks\.2\.0\.widen\.weight'"),
        ({"middle": 0}, "has an unknown tensor"),
        ({"levels": 99}, "out of range"),
    ):
        changed = record | {"config": record["config"] | config}
        good.write_bytes(write_tensors(network("girnet").state_dict(), {"gir": json.dumps(changed)}))
        with pytest.raises(WeightsError, match=says):
            records.check(good)


def test_a_pickle_that_would_run_code_does_not_whatever_the_command(gir, tmp_path, png):
    class Runs:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"params": {"x": Runs()}}, tmp_path / "evil.pth")
    for arguments in (
        ["restore", "-m", tmp_path / "evil.pth", png, "-o", tmp_path / "out.png"],
        ["convert", tmp_path / "evil.pth", "-o", tmp_path / "out.safetensors"],
        ["export", "-m", tmp_path / "evil.pth", "-o", tmp_path / "out.pt2"],
        ["info", tmp_path / "evil.pth"],
    ):
        done = gir(*arguments)
        assert (done.status, len(done.err.splitlines())) == (3, 1)
        assert "could run code" in done.err
    assert not (tmp_path / "made").exists()
