"""gir lines: networks for a task alone, with a budget; the table they make; going on, and sharing the work."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from conftest import run_here
from pictures import encoded

from gir_cli import records
from gir_cli.chain import Interval, in_crops, parse
from gir_cli.cli.places import weights_places
from gir_cli.data import mixture
from gir_cli.evaluate import from_lines, means
from gir_cli.suite import gir110
from gir_cli.suite.lines import read_lines
from gir_cli.weights import built, load, save

TINY = ["--images", "8", "--batch", "4", "--patches", "16", "--workers", "0", "--threads", "1"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, photograph):
    """Return a folder with photographs to train on, pictures to measure, a real task, and a tiny general model."""
    top = tmp_path_factory.mktemp("lines")
    for name, part in {"photos/a": photograph[:128, :136], "clean/b": photograph[100:196, 50:150]}.items():
        (top / name).parent.mkdir()
        (top / f"{name}.png").write_bytes(encoded(part))
    real = top / "real/rain_real/lq"
    real.mkdir(parents=True)
    (real / "c.png").write_bytes(encoded(np.rint(photograph[:100, :120] * 0.5).astype(np.uint8)))
    network = built("girnet", {"width": 8, "levels": 2, "blocks": 1})
    record = {"model": "girnet", "config": vars(network.config), "name": "tiny"}
    save(top / "general.safetensors", network.state_dict(), record)
    return top


@pytest.fixture(scope="module")
def lines(folders):
    """Return a function that runs gir lines into one folder, where jpeg-1 and the real task are made already."""
    run = ["lines", "--train", folders / "photos", "--data", folders / "clean", "-m", folders / "general.safetensors"]
    run += [*TINY, "-o", folders / "lines"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folders / "cache"))
        done = run_here(*run, "--tasks", "jpeg-1", "--tasks", "rain_real", "--real", folders / "real")
    assert done.status == 0, done.err
    return lambda *more: run_here(*run, *more)


def test_the_command_makes_lines_that_evaluate_takes(gir, folders, lines):
    table = folders / "lines/lines.csv"
    found = read_lines(table)
    assert {"jpeg-1", "rain_real"} <= set(found)
    line = found["jpeg-1"]
    for told in ("srresnet width=16,blocks=4", "girnet of tiny", "8 patches of 16x16 in 2 steps", "1 photographs"):
        assert told in line.recipe
    rows = from_lines((folders / "lines/jpeg-1/rows.jsonl").read_text().splitlines())
    scores = means(rows, "psnr")["A", "jpeg-1"]
    assert (line.input, line.acceptance) == (scores["input"], scores["acceptance"])
    assert line.excellence >= line.acceptance + 0.1 - 1e-9
    assert found["rain_real"].acceptance == found["rain_real"].input
    measured = ["evaluate", "--data", folders / "clean", "--tasks", "jpeg-1", "--precision", "fp32", "--json"]
    small = folders / "lines/jpeg-1/acceptance/weights.safetensors"
    told = [json.loads(text) for text in gir(*measured, "-m", small, "--lines", table).out.splitlines()]
    (verdict,) = [facts for facts in told if facts.get("model") == "jpeg-1 acceptance" and facts["group"] == "all"]
    assert (verdict["ar"]["value"], verdict["er"]["value"], verdict["tasks"]) == (1.0, 0.0, 1)


def test_networks_are_trained_for_the_task_alone_and_excellence_from_the_general_weights(folders, lines):
    small, large = (
        records.record(folders / f"lines/jpeg-1/{role}/weights.safetensors") for role in ("acceptance", "excellence")
    )
    assert small["train"]["distribution"] == large["train"]["distribution"] == "single:jpeg-1"
    assert (small["model"], small["config"]["width"], small["config"]["blocks"]) == ("srresnet", 16, 4)
    assert large["parents"] == [records.digest(folders / "general.safetensors")]
    assert not list((folders / "lines").rglob("checkpoint-*"))


def test_a_run_goes_on_and_shards_may_share_a_folder(folders, lines):
    tasks = ["--tasks", "jpeg-1", "--tasks", "jpeg-2"]
    stopped = lines(*tasks, "--stop-after", "0s")
    assert stopped.status == 75
    assert "run again" in stopped.err
    weights = folders / "lines/jpeg-1/excellence/weights.safetensors"
    before = weights.stat().st_mtime_ns
    assert lines(*tasks, "--shard", "2/2").status == 0
    assert {"jpeg-1", "jpeg-2"} <= set(read_lines(folders / "lines/lines.csv"))
    whole = (folders / "lines/lines.csv").read_bytes()
    assert lines(*tasks).status == 0
    assert weights.stat().st_mtime_ns == before
    assert (folders / "lines/lines.csv").read_bytes() == whole
    other = lines(*tasks, "--images", "12")
    assert other.status == 2
    assert "was made with steps=2, not 3" in other.err


def test_a_damaged_line_of_another_task_is_named(folders, lines):
    other = folders / "lines/blur-x/line.json"
    other.parent.mkdir()
    for damage in (b"{", b"\xff", b"[1]", b"{}"):
        other.write_bytes(damage)
        done = lines("--tasks", "jpeg-1")
        assert done.status == 1
        assert done.err.splitlines()[-1].startswith(f"gir: {other}: not a line")
    shutil.rmtree(other.parent)


def test_networks_made_before_there_was_a_setting_had_its_default(folders, lines):
    path = folders / "lines/jpeg-1/acceptance/weights.safetensors"
    kept, record = path.read_bytes(), records.record(path)
    for settings, status in (({"fft": 0.5}, 2), ({}, 0)):
        train = {name: value for name, value in record["train"].items() if name != "fft"} | settings
        save(path, load(path).network.state_dict(), record | {"train": train})
        assert lines("--tasks", "jpeg-1").status == status
    save(path, load(path).network.state_dict(), {name: record[name] for name in ("model", "config")})
    assert "was not trained here" in lines("--tasks", "jpeg-1").err
    path.write_bytes(kept)


def test_a_real_task_with_references_has_the_best_specialist_of_all_in_group_a(folders, lines, photograph):
    for part, values in (("lq", photograph[:64, :64] // 2), ("gt", photograph[:64, :64])):
        place = folders / "real/noise_cc" / part
        place.mkdir(parents=True)
        (place / "a.png").write_bytes(encoded(values))
    real = ["--real", folders / "real", "--tasks", "noise_cc"]
    done = lines(*real)
    assert "noise_cc: no line" in done.err
    assert "noise_cc" not in read_lines(folders / "lines/lines.csv")
    shipped = records.find("gir-small", weights_places())
    for task in gir110():
        if task.group == "A":
            place = folders / f"lines/{task.name}/excellence/weights.safetensors"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folders / "general.safetensors" if task.name != "noise-2" else shipped, place)
    assert lines(*real).status == 0
    line = read_lines(folders / "lines/lines.csv")["noise_cc"]
    assert line.acceptance == line.input
    assert "the best of 30 specialists, that for " in line.recipe


def test_crops_see_as_much_of_damage_as_a_part_of_a_picture_would():
    chain = parse("holes:count=10,width=3 scratch:count=8 haze:beta=1 noise:sigma=25")
    holes, scratch, haze, noise = in_crops(chain, 64)
    assert holes.values["count"] == Interval(0, pytest.approx(2 * 10 * 64 / 627))
    assert scratch.values["count"].last == pytest.approx(2 * 8 * 64 / 627)
    assert haze.values["span"] == pytest.approx(64 / 192)
    assert noise == chain[3]
    assert [str(step) for step in in_crops(chain, 640)][2:] == [str(step) for step in chain[2:]]


@pytest.mark.parametrize("task", gir110(), ids=lambda task: task.name)
def test_every_task_is_a_distribution_to_train_on(task):
    rng = np.random.RandomState(0)
    drawn = mixture(f"single:{task.name}", 64).draw(rng)
    assert [step.name for step in drawn] == [step.name for step in parse(task.chain)]
    for step in drawn:
        step.draw(rng)


def test_without_a_task_no_table_is_named(gir, tmp_path, clean):
    run = ["lines", "--train", clean, "--data", clean, "-o", tmp_path / "lines", "--tasks"]
    assert gir(*run, "noise-2", "--shard", "2/2") == (0, b"", "gir: this shard has no task\n")
    assert gir(*run, "real").status == 2
    assert not (tmp_path / "lines").exists()


@pytest.mark.parametrize("lacking", ["--train", "--data", "-o"])
def test_what_is_needed_is_named(gir, tmp_path, lacking):
    flags = {"--train": tmp_path, "--data": tmp_path, "-o": tmp_path}
    done = gir("lines", *(word for flag, value in flags.items() if flag != lacking for word in (flag, value)))
    assert done.status == 2
    assert done.err.startswith("gir: --")
