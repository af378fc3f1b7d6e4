"""gir evaluate: the suite's tasks, rows, means, resumption, and pairs of folders."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from pictures import encoded, psnr

from gir_cli import records
from gir_cli.chain import apply, draw, parse
from gir_cli.errors import UsageError
from gir_cli.evaluate import Measuring, Row, evaluate, from_lines, group_means, means, to_line
from gir_cli.rng import stream
from gir_cli.suite import GROUPS, SUITES, chosen, gir110


def task(name):
    (found,) = chosen((name,), gir110())
    return found


# ---- the suite


def test_there_are_a_hundred_tasks_in_nine_groups():
    sizes = {group: sum(task.group == group for task in gir110()) for group in "ABCDEFGHI"}
    assert sizes == {"A": 30, "B": 10, "C": 12, "D": 16, "E": 12, "F": 6, "G": 2, "H": 8, "I": 4}
    assert {task.group for task in SUITES["gir110"]()} == set(GROUPS)


def test_a_task_degrades_a_picture_the_same_way_each_time_and_each_picture_its_own(pixels):
    worse = task("rain-1").degraded(pixels, "a")
    np.testing.assert_array_equal(worse, task("rain-1").degraded(pixels, "a"))
    assert not np.array_equal(worse, task("rain-1").degraded(pixels, "b"))
    np.testing.assert_array_equal(np.rint(worse * 255), worse * np.float32(255))


def test_a_task_without_randomness_is_its_chain(pixels):
    chain = parse(task("blur+jpeg").chain)
    expected = apply(draw(chain, stream(0)), pixels, stream(0))
    np.testing.assert_allclose(task("blur+jpeg").degraded(pixels, "a"), expected, atol=0.51 / 255)


# ---- rows


def test_rows_hold_the_scores_of_input_and_model(clean, photograph):
    rows = list(evaluate([task("noise-2")], clean, None, {"dim": ("d", lambda worse: worse * 0.4)}))
    assert [(row.picture, row.model) for row in rows] == [
        ("a.png", "input"),
        ("a.png", "dim"),
        ("b.png", "input"),
        ("b.png", "dim"),
    ]
    worse = task("noise-2").degraded(photograph[:64, :96].astype(np.float32) / 255, "a")
    assert rows[0].scores["psnr"] == pytest.approx(psnr(np.rint(worse * 255), photograph[:64, :96]), abs=1e-6)
    assert rows[1].scores["psnr"] == pytest.approx(psnr(np.rint(worse * 0.4 * 255), photograph[:64, :96]), abs=1e-6)


def test_rows_that_are_there_are_not_measured_again(clean):
    calls = []

    def restore(worse):
        calls.append(worse.shape)
        return worse

    tasks = [task("blur-1"), task("jpeg-1")]
    rows = list(evaluate(tasks, clean, None, {"m": ("d", restore)}))
    assert len(calls) == 4
    again = list(evaluate(tasks, clean, None, {"m": ("d", restore)}, done=rows[:6]))
    assert len(calls) == 5
    assert again == rows
    (clean / "a.png").write_bytes(encoded(np.full((64, 96, 3), 9, np.uint8)))
    list(evaluate(tasks, clean, None, {"m": ("d", restore)}, done=rows))
    assert len(calls) == 7, "a picture that has changed is measured anew"


def test_quick_takes_the_middle(clean, photograph, tmp_path):
    (clean / "a.png").write_bytes(encoded(np.tile(photograph, (2, 2, 1))))
    sizes = []
    models = {"m": ("", lambda worse: sizes.append(worse.shape) or worse)}
    list(evaluate([task("blur-1")], clean, None, models, Measuring(quick=True)))
    assert sizes == [(256, 256, 3), (70, 80, 3)]


def test_means_are_over_pictures_then_tasks():
    scores = {("A", "x"): [1.0, 3.0], ("A", "y"): [4.0], ("B", "z"): [10.0]}
    rows = [
        Row(name, group, str(place), "m", "", {"psnr": value})
        for (group, name), values in scores.items()
        for place, value in enumerate(values)
    ]
    table = means(rows, "psnr")
    assert table["A", "x"] == {"m": 2.0}
    assert group_means(table) == {"A": {"m": 3.0}, "B": {"m": 10.0}, "all": {"m": pytest.approx(16 / 3)}}


def test_rows_are_valid_json_though_scores_may_be_infinite():
    rows = [Row("t", "A", "a", "m", "k", {"psnr": math.inf}), Row("t", "A", "b", "m", "k", {"psnr": 3.5})]
    lines = [to_line(row) for row in rows]
    for line in lines:
        json.loads(line, parse_constant=lambda word: pytest.fail(word))
    assert from_lines([*lines, lines[0][:20]]) == rows


# ---- the command


def test_the_table_is_tab_separated_in_a_pipe(gir, clean):
    done = gir("evaluate", "--data", clean, "--tasks", "jpeg-1", "--tasks", "blur-1", "-m", "none")
    assert done.status == 0
    caption, head, *lines = done.out.decode().splitlines()
    assert caption.startswith("# psnr over 2 tasks, 2 images; 8 bits")
    assert head == "group\ttask\tinput"
    named = ["\t".join(line.split("\t")[:2]) for line in lines]
    assert named == ["A\tblur-1", "A\tjpeg-1", "A\tmean", "all\tmean"]


def test_a_file_of_rows_lets_a_run_go_on(gir, clean, tmp_path):
    run = ["evaluate", "--data", clean, "-m", "none", "-o", tmp_path / "rows.jsonl"]
    gir(*run, "--tasks", "blur-1")
    whole = gir(*run, "--tasks", "blur-1", "--tasks", "blur-2")
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 4
    assert whole.out == gir(*run[:-2], "--tasks", "blur-1", "--tasks", "blur-2").out


def test_scores_by_other_metrics_of_one_file_are_taken_together(gir, clean, tmp_path):
    run = ["evaluate", "--data", clean, "-m", "none", "--tasks", "blur-1", "-o", tmp_path / "rows.jsonl"]
    asked = [("psnr",), ("ssim",), ("psnr",), ("psnr", "ssim")]
    outs = [gir(*run, *(word for name in names for word in ("--metric", name))).out for names in asked]
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 4
    assert outs[2] == outs[0] and outs[3] == outs[0] + outs[1]


def test_damaged_rows_are_passed_over_and_spoil_none_that_follow(gir, clean, tmp_path):
    path = tmp_path / "made/rows.jsonl"  # its folder is made
    run = ["evaluate", "--data", clean, "-m", "none", "--tasks", "blur-1", "-o", path]
    whole = gir(*run)
    assert whole.status == 0, whole.err
    first, second = path.read_bytes().splitlines(keepends=True)
    for damage in (second[:40], b"\xff" + second[:-1], json.dumps(json.loads(second) | {"key": 5}).encode()):
        path.write_bytes(first + damage)
        assert gir(*run).out == whole.out
        assert path.read_bytes() == first + damage + b"\n" + second


def test_a_changed_pixel_is_noticed_and_said(gir, clean, tmp_path, photograph):
    run = ["evaluate", "--data", clean, "-m", "none", "--baseline", "bilateral", "--tasks", "blur-1"]
    run += ["--tasks", "blur-2", "-o", tmp_path / "rows.jsonl"]
    assert "measured again" not in gir(*run).err
    changed = photograph[:64, :96].copy()
    changed[10, 20, 1] ^= 1
    (clean / "a.png").write_bytes(encoded(changed))
    again = gir(*run)
    assert again.err.splitlines()[0] == "gir: 4 rows measured on other pictures are measured again"
    assert "measured again" not in gir(*run).err
    (clean / "a.png").write_bytes(encoded(photograph[:64, :96]))
    assert "measured again" not in gir(*run).err, "the first rows are still there"
    other_way = gir(*run, "--seed", "3")
    assert "measured again" not in other_way.err


@pytest.fixture
def weights(tmp_path):
    """Return a function that writes a tiny model whose record has a name, and returns its path."""
    from gir_cli.weights import built, save

    def write(name):
        network = built("srresnet", {"width": 4, "blocks": 1})
        path = tmp_path / f"{name}.safetensors"
        save(path, network.state_dict(), {"model": "srresnet", "config": vars(network.config), "name": name})
        return path

    return write


def test_a_model_takes_neither_the_place_of_the_input_nor_that_of_a_baseline(gir, clean, weights, tmp_path):
    run = ["evaluate", "--data", clean, "--tasks", "blur-1", "--baseline", "bilateral"]
    named, plain = weights("input"), weights("bilateral")
    done = gir(*run, "-m", named, "-m", plain, "-m", plain)
    assert done.status == 0, done.err
    head = done.out.decode().splitlines()[1].split("\t")
    assert head[2:] == ["input", "bilateral", str(named), str(plain), f"{plain} 2"]
    with pytest.raises(UsageError, match="'input'"):
        next(evaluate([task("blur-1")], clean, None, {"input": ("d", lambda worse: worse)}))


def test_rows_of_another_precision_are_other_rows(gir, clean, weights, tmp_path):
    run = ["evaluate", "--data", clean, "--tasks", "blur-1", "-m", weights("m"), "-o", tmp_path / "rows.jsonl"]
    counts = []
    for more in ((), ("--precision", "bf16"), ("--precision", "fp32"), ("--precision", "auto"), ("--quick",)):
        assert gir(*run, *more).status == 0
        counts.append(len((tmp_path / "rows.jsonl").read_text().splitlines()))
    assert counts == [4, 6, 8, 8, 12]
    keys = {row.key.split(":")[1] for row in from_lines((tmp_path / "rows.jsonl").read_text().splitlines())}
    assert records.digest(tmp_path / "m.safetensors")[:16] in keys, "rows of before are still valid"


def test_models_and_baselines_are_columns_of_which_the_best_is_bold(clean, monkeypatch):
    from gir_cli.cli import judged, tables

    shown = []
    monkeypatch.setattr(tables, "show", lambda head, cells, caption, best=(): shown.append((head, cells, best)))
    models = {"dim": ("d", lambda worse: worse * 0.4)}
    rows = list(evaluate([task("noise-2"), task("jpeg-1")], clean, None, models))
    judged.tell(judged.Scored(rows), as_json=False)
    head, cells, best = shown[0]
    assert head == ["group", "task", "input", "dim"]
    assert best == [2, 2, 2, 2] and float(cells[0][2]) > float(cells[0][3])


def test_shards_take_every_nth_task(gir, clean):
    outs = [gir("evaluate", "--data", clean, "-m", "none", "--tasks", "F", "--shard", f"{k}/2").out for k in (1, 2)]
    named = [line.split(b"\t")[1] for out in outs for line in out.splitlines()[2:] if b"mean" not in line]
    assert sorted(named) == sorted(task.name.encode() for task in gir110() if task.group == "F")


def test_a_shard_without_a_task_says_so_and_is_done(gir, clean):
    done = gir("evaluate", "--data", clean, "--tasks", "noise-2", "-m", "none", "--shard", "3/4", "--min", "psnr=90")
    assert done == (0, b"", "gir: this shard has no task\n")


def test_processes_that_torchrun_starts_share_the_tasks_and_a_file(gir, clean, tmp_path, monkeypatch):
    run = ["evaluate", "--data", clean, "-m", "none", "--tasks", "F", "-o", tmp_path / "rows.jsonl"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        assert gir(*run).status == 0
    count = len((tmp_path / "rows.jsonl").read_text().splitlines())
    assert count == 2 * sum(task.group == "F" for task in gir110())
    monkeypatch.delenv("RANK")
    assert gir(*run).out == gir(*run[:-2]).out
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == count


def test_a_threshold_that_is_missed_is_status_4(gir, clean):
    run = ["evaluate", "--data", clean, "-m", "none", "--tasks", "jpeg-1"]
    assert gir(*run, "--min", "psnr=10").status == 0
    missed = gir(*run, "--min", "psnr=60")
    assert missed.status == 4
    assert missed.err.splitlines()[-1].startswith("gir: input: psnr ")


def test_two_folders_are_compared_by_stem(gir, clean, tmp_path):
    assert gir("degrade", "--jpeg", "30", clean, "-o", f"{tmp_path}/worse/", "-f", "webp").status == 0
    done = gir("evaluate", tmp_path / "worse", clean, "--metric", "psnr", "--metric", "ssim")
    assert done.status == 0
    assert b"# ssim over 1 tasks, 2 images" in done.out
    (clean / "a.png").unlink()
    lacking = gir("evaluate", tmp_path / "worse", clean)
    assert lacking.status == 1
    assert "has no a" in lacking.err


@pytest.mark.parametrize("option", ["--output=rows", "--tasks=A", "--shard=1/2", "--quick", "--html=r.html"])
def test_options_of_tasks_are_refused_beside_two_operands(gir, clean, option):
    done = gir("evaluate", clean, clean, option)
    assert (done.status, done.out) == (2, b"")
    assert done.err.startswith(f"gir: {option.partition('=')[0]}: for tasks, not two operands")


def test_two_files_of_one_stem_are_refused_by_name(gir, clean, tmp_path, photograph):
    (clean / "a.jpg").write_bytes(encoded(photograph[:64, :96], ".jpg"))
    real = tmp_path / "real/noise_cc"
    for part in ("lq", "gt"):
        shutil.copytree(clean, real / part)
    (real / "lq/a.jpg").unlink()
    for run in ((clean, clean), ("--real", tmp_path / "real", "--tasks", "noise_cc", "-m", "none")):
        done = gir("evaluate", *run)
        assert (done.status, done.out) == (1, b"")
        assert "a.jpg and " in done.err and "a.png: " in done.err
        assert len(done.err.splitlines()) == 1


def test_hidden_files_and_those_that_are_no_images_are_passed_over(gir, clean, tmp_path):
    shutil.copytree(clean, tmp_path / "worse")
    runs = (("--data", clean, "--tasks", "blur-1", "-m", "none"), (tmp_path / "worse", clean))
    before = [gir("evaluate", *run).out for run in runs]
    for name in ("._a.png", ".ipynb_checkpoints/a.png", "notes.txt", "Thumbs.db", "empty"):
        (clean / name).parent.mkdir(exist_ok=True)
        (clean / name).write_bytes(b"" if name == "empty" else b"no image")
    assert [gir("evaluate", *run).out for run in runs] == before
    (clean / "b.png").write_bytes(b"no image")
    for run in runs:
        assert "b.png: not an image" in gir("evaluate", *run).err, "one that is called an image is missed"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "nothing to measure"),
        (["--data", "DIR", "--tasks", "noise-9"], 2, "did you mean 'noise-"),
        (["--data", "DIR", "--metric", "psnrr"], 2, "did you mean 'psnr'?"),
        (["--data", "none/"], 1, "none: no such folder"),
        (["--data", "DIR", "--min", "psnr"], 2, "--min=psnr"),
        (["--data", "DIR", "--shard", "3/2"], 2, "--shard=3/2"),
        (["a.png"], 2, "two operands"),
    ],
)
def test_what_cannot_be_measured_is_one_line(gir, clean, arguments, status, says):
    given = [clean if word == "DIR" else word for word in arguments]
    done = gir("evaluate", *given, "-m", "none")
    assert done.status == status
    assert len(done.err.splitlines()) == 1
    assert says in done.err
