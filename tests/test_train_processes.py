"""Training by real processes: killed at any moment, and two that share a run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import ROOT, encoded

from gir_cli.errors import UsageError
from gir_cli.train import state
from gir_cli.train.distributed import Ranks
from gir_cli.weights import load

#: How often the run is killed; set GIR_KILLS=20 to look longer.
KILLS = int(os.environ.get("GIR_KILLS", "3"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from skimage import data

    place = tmp_path_factory.mktemp("photographs")
    for name in ("chelsea", "astronaut"):
        (place / f"{name}.png").write_bytes(encoded(getattr(data, name)()[:200, :240]))
    return place


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    return {**os.environ, "XDG_CACHE_HOME": cache, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def command(folder, run, *more, processes=1):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    start = [
        sys.executable,
        *([*torchrun, "-m", "--"] if processes > 1 else ["-m"]),  # without -- torchrun looks into gir's options too
        "gir_cli",
        "train",
        "--data",
        folder,
        "-o",
        run,
    ]
    settings = ["--config", "width=8,levels=2,blocks=1", "--batch", 8, "--patches", 16, "--workers", 0]
    return [str(part) for part in [*start, *settings, "--precision", "fp32", *more]]


def weights(run):
    return load(run / "weights.safetensors").network.state_dict()


def test_a_run_that_is_killed_goes_on_to_the_same_bits(folder, environment, tmp_path):
    length = ("--steps", 40 * (KILLS + 1), "--every", 2)
    subprocess.run(command(folder, tmp_path / "straight", *length), env=environment, check=True, capture_output=True)
    dice = random.Random(0)
    for _ in range(KILLS):
        before = newest(tmp_path / "killed")
        process = subprocess.Popen(
            command(folder, tmp_path / "killed", *length), env=environment, stderr=subprocess.PIPE
        )
        while process.poll() is None and newest(tmp_path / "killed") == before:
            time.sleep(0.005)
        time.sleep(dice.uniform(0, 0.2))
        process.kill()
        assert b"gir:" not in process.communicate()[1]
        assert state.read_checkpoint(tmp_path / "killed") is not None
    done = subprocess.run(command(folder, tmp_path / "killed", *length), env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    one, other = weights(tmp_path / "straight"), weights(tmp_path / "killed")
    assert all(torch.equal(one[name], other[name]) for name in one)


def newest(run):
    """Return the name of the newest checkpoint, or None."""
    return next((place.name for place in state.checkpoints(run)), None)


def test_two_processes_do_what_one_does_in_two_parts(folder, environment, tmp_path):
    begun = command(folder, tmp_path / "begun", "--steps", 1)
    subprocess.run(begun, env=environment, check=True, capture_output=True)
    length = ("--steps", 12, "--every", 6, "--start", tmp_path / "begun/weights.safetensors")
    shared = subprocess.run(
        command(folder, tmp_path / "two", *length, processes=2), env=environment, capture_output=True, text=True
    )
    assert shared.returncode == 0, shared.stderr
    assert shared.stderr.count("step 12 of 12") == 1  # one of them speaks
    once = command(folder, tmp_path / "one", *length, "--accumulate", 2)
    subprocess.run(once, env=environment, check=True, capture_output=True)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-5, atol=1e-6)
    logs = [state.read_checkpoint(tmp_path / name)[0]["best"] for name in ("one", "two")]
    assert logs[0] == pytest.approx(logs[1], abs=1e-4)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
def test_a_killed_process_ends_the_run_with_a_line_and_the_command_goes_on(folder, environment, tmp_path):
    run = tmp_path / "run"
    endless = command(folder, run, "--steps", 10**6, "--every", 10, processes=2)
    process = subprocess.Popen(endless, env=environment, stderr=subprocess.PIPE, text=True)
    while newest(run) is None and process.poll() is None:
        time.sleep(0.05)
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    said = process.communicate(timeout=120)[1]
    assert process.returncode != 0
    assert "of 2 lost another one of the run; the same command goes on" in said
    step = state.read_checkpoint(run)[0]["step"]
    again = command(folder, run, "--steps", step + 10, "--every", 10, processes=2)
    done = subprocess.run(again, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert state.read_checkpoint(run)[0]["step"] == step + 10


def children(parent):
    """Return the processes that `parent` started, the oldest first."""
    threads = Path(f"/proc/{parent}/task").iterdir()
    return sorted(int(word) for thread in threads for word in (thread / "children").read_text().split())


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_of_a_run_saves_its_state(folder, environment, tmp_path, number):
    process = endless_with_workers(folder, environment, tmp_path / "run")
    for worker in children(process.pid):
        os.kill(worker, number)
    before = newest(tmp_path / "run")
    while newest(tmp_path / "run") == before and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, number)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 75, said
    assert f"stopped at step {state.read_checkpoint(tmp_path / 'run')[0]['step']} of" in said.splitlines()[-1]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
def test_workers_end_when_the_run_is_killed(folder, environment, tmp_path):
    process = endless_with_workers(folder, environment, tmp_path / "run")
    workers = children(process.pid)
    process.kill()
    process.communicate(timeout=120)
    end = time.monotonic() + 60
    while alive := [worker for worker in workers if Path(f"/proc/{worker}/exe").exists()]:
        assert time.monotonic() < end, alive
        time.sleep(0.1)


@pytest.mark.parametrize(("more", "count", "seen"), [([], 200, "*.partial"), (["--dry-run"], 1, "*.json")])
def test_a_signal_while_there_is_nothing_to_save_ends_the_command(environment, tmp_path, more, count, seen):
    cache, large = tmp_path / "cache", tmp_path / "large"
    large.mkdir()
    noise = np.random.RandomState(0).randint(0, 256, (2000, 2000, 3), np.uint8)
    (large / "0.png").write_bytes(encoded(noise))
    for number in range(1, count):
        (large / f"{number}.png").symlink_to("0.png")
    asked = command(large, tmp_path / "run", "--steps", 10**6, *more)
    process = subprocess.Popen(asked, env={**environment, "XDG_CACHE_HOME": str(cache)}, stderr=subprocess.PIPE)
    while not list(cache.rglob(seen)) and process.poll() is None:
        time.sleep(0.005)
    process.terminate()  # SIGINT would be ignored where the tests run in the background
    assert process.communicate(timeout=120)[1] == b""
    assert process.returncode == 128 + signal.SIGTERM
    assert not (tmp_path / "run").exists() and not list(cache.rglob("*.partial"))


def test_a_traceback_that_keeps_the_run_alive_does_not_keep_the_program(folder, environment, tmp_path):
    asked = command(folder, tmp_path / "run", "--steps", 100, "--workers", 1, "--stop-after", "0s")
    debug = {**environment, "GIR_DEBUG": "1"}
    done = subprocess.run(asked, env=debug, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "Unfinished: " in done.stderr  # not always last: Python's tracker of semaphores may warn after it


def endless_with_workers(folder, environment, run):
    """Return a process, of a group of its own, that trains with two workers and has written a checkpoint."""
    endless = command(folder, run, "--steps", 10**6, "--every", 10, "--workers", 2)
    process = subprocess.Popen(endless, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while newest(run) is None and process.poll() is None:
        time.sleep(0.05)
    return process


def test_a_batch_is_shared_without_rest_or_not_at_all():
    parts = [Ranks(rank, 3).share((60, 12, 64)) for rank in range(3)]
    assert parts == [(60, 4, 64), (64, 4, 64), (68, 4, 64)]
    with pytest.raises(UsageError, match="a batch of 8 patches of 64x64 is not divisible among 3 processes"):
        Ranks(0, 3).share((0, 8, 64))
