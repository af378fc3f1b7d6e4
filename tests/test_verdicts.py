"""Lines as data; AR, ER and RPR by them; what the table says of tasks that do not count."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from pictures import encoded

from gir_cli.errors import InputError
from gir_cli.evaluate import Row, from_lines, set_digest
from gir_cli.suite import SUITES, table
from gir_cli.suite.lines import LEAST, Line, read_lines, written
from gir_cli.verdicts import counting, verdicts


def rows_of(scores, metric="psnr"):
    """Return rows for {(group, task): {model: scores}}."""
    return [
        Row(task, group, f"{place}.png", model, f"{place}:{model if model != 'input' else ''}:0", {metric: score})
        for (group, task), by_model in scores.items()
        for model, values in by_model.items()
        for place, score in enumerate(values)
    ]


def line(task, acceptance, excellence, rows, metric="psnr"):
    return Line(task, metric, 0.0, acceptance, excellence, set_digest(rows).get(task, ""), "by hand")


ROWS = rows_of(
    {
        ("A", "noise-1"): {"input": [20.0, 22.0], "m": [30.0, 32.0]},
        ("A", "noise-2"): {"input": [18.0, 20.0], "m": [25.0, 29.0]},
        ("B", "noise-x"): {"input": [10.0, 12.0], "m": [10.0, 12.0]},
    }
)
LINES = {
    "noise-1": line("noise-1", 28.0, 31.0, ROWS),
    "noise-2": line("noise-2", 26.0, 28.0, ROWS),
    "noise-x": line("noise-x", 14.0, 18.0, ROWS),
}


def found(model, group, rows=ROWS, lines=LINES):
    (verdict,) = [v for v in verdicts(rows, lines) if (v.model, v.group) == (model, group)]
    return verdict


# ---- lines


def test_the_table_of_the_suite_says_of_each_task_what_is_measured():
    rows = table()
    assert [row["task"] for row in rows] == [task.name for task in SUITES["gir110"]()]
    assert len(rows) == 110
    for row in rows:
        assert (row["metric"], row["space"]) in {("psnr", "RGB"), ("niqe", "Y")}
        assert bool(row["acceptance"]) == bool(row["excellence"]) == bool(row["images"]) == bool(row["recipe"])


def test_lines_are_read_as_they_were_written(tmp_path):
    lines = {name: LINES[name] for name in ("noise-2", "noise-x")}
    path = tmp_path / "lines.csv"
    path.write_text(written(lines.values()))
    assert read_lines(path) == lines
    assert [row["task"] for row in csv.DictReader(io.StringIO(path.read_text()))] == [row["task"] for row in table()]


@pytest.mark.parametrize("text", ["", "hello\na\n", "task,acceptance,excellence\nnoise-1,1,2\n"])
def test_what_is_no_table_of_lines_is_refused(tmp_path, text):
    (tmp_path / "lines.csv").write_text(text)
    with pytest.raises(InputError, match=r"lines\.csv: not a table of lines"):
        read_lines(tmp_path / "lines.csv")


def test_excellence_is_lifted_above_acceptance_and_that_is_told():
    high = Line("noise-1", "psnr", 20.0, 30.0, 29.5, "", "r").lifted()
    assert (high.excellence, high.recipe) == (30.0 + LEAST, "r; excellence lifted from 29.500 to acceptance + 0.1")
    low = Line("haze_nh", "niqe", 5.0, 5.0, 5.4, "", "r").lifted()
    assert (low.excellence, low.recipe[-16:]) == (5.0 - LEAST, "acceptance - 0.1")
    assert LINES["noise-1"].lifted() == LINES["noise-1"]


# ---- verdicts


def test_shares_and_progress_are_as_by_hand():
    a = found("m", "A")
    progress = [(31 - 28) / 3, (27 - 26) / 2]
    relative = [1 / (1 + math.exp(-p)) for p in progress]
    assert (a.tasks, a.ar.value, a.er.value) == (2, 1.0, 0.5)
    assert a.rpr.value == pytest.approx(np.mean(relative))
    assert a.quartiles == pytest.approx(tuple(np.quantile(relative, (0.25, 0.75))))
    everything = found("m", "all")
    assert (everything.tasks, everything.ar.value) == (3, pytest.approx(2 / 3))
    assert found("input", "all").ar.value == 0
    assert [(v.group, v.model) for v in verdicts(ROWS, LINES)][-2:] == [("all", "input"), ("all", "m")]


def test_intervals_are_over_pictures_and_the_same_each_time():
    # The input's 19 and the mean of two draws from the gains {7, 9}: 26, 27 or 28 with 1/4, 1/2, 1/4.
    a = found("m", "A", lines={"noise-2": line("noise-2", 26.5, 28.0, ROWS)})
    assert (a.ar.low, a.ar.value, a.ar.high) == (0.0, 1.0, 1.0)
    untouched = found("input", "A", lines={"noise-2": line("noise-2", 19.0, 28.0, ROWS)})
    assert (untouched.ar.low, untouched.ar.value) == (1.0, 1.0), "lines move with the drawn inputs"
    many = rows_of({("A", "t"): {"input": [0.0] * 100, "m": list(np.random.RandomState(1).normal(30, 2, 100))}})
    one = found("m", "A", many, {"t": line("t", 29.0, 31.0, many)})
    mean, spread = np.mean([row.scores["psnr"] for row in many if row.model == "m"]), 2 / math.sqrt(100)
    sigmoid = [1 / (1 + math.exp(-(mean + side * 1.96 * spread - 29) / 2)) for side in (-1, 1)]
    assert (one.rpr.low, one.rpr.high) == pytest.approx(sigmoid, abs=0.02)
    assert verdicts(ROWS, LINES) == verdicts(ROWS, LINES)


def test_lower_is_better_for_a_metric_that_falls():
    rows = rows_of({("real", "haze_nh"): {"input": [5.0, 5.0], "m": [4.0, 4.2]}}, "niqe")
    lines = {"haze_nh": line("haze_nh", 5.0, 4.05, rows, "niqe")}
    assert (found("m", "real", rows, lines).ar.value, found("m", "real", rows, lines).er.value) == (1.0, 0.0)
    assert found("input", "real", rows, lines).ar.value == 1.0, "acceptance is the input's own score"


def test_perfect_pictures_reach_every_line():
    rows = rows_of({("A", "noise-1"): {"input": [20.0, 20.0], "m": [math.inf, math.inf]}})
    verdict = found("m", "A", rows, {"noise-1": line("noise-1", 28.0, 31.0, rows)})
    assert (verdict.er.value, verdict.rpr.value) == (1.0, 1.0)


def test_only_lines_of_the_pictures_and_the_metric_that_were_measured_count():
    assert counting(ROWS, LINES) == LINES
    assert counting(ROWS[:4], LINES) == {"noise-1": LINES["noise-1"]}
    others = [Row(**{**vars(row), "key": "x" + row.key}) for row in ROWS]
    assert counting(others, LINES) == {}
    assert counting([Row(**{**vars(row), "scores": {"ssim": 0.5}}) for row in ROWS], LINES) == {}


# ---- the command


@pytest.fixture
def run(gir, clean, tmp_path):
    """Return a function that measures two tasks; the lines are 50 dB under and over the inputs of one of them."""
    measure = ["evaluate", "--data", clean, "-m", "none", "--tasks", "jpeg-1", "--tasks", "blur-x"]
    assert gir(*measure, "-o", tmp_path / "rows.jsonl").status == 0
    rows = from_lines((tmp_path / "rows.jsonl").read_text().splitlines())
    mean = np.mean([row.scores["psnr"] for row in rows if row.task == "jpeg-1"])
    (tmp_path / "lines.csv").write_text(written([line("jpeg-1", mean - 50, mean + 50, rows)]))
    return lambda *more: gir(*measure, "--lines", tmp_path / "lines.csv", *more)


def test_verdicts_have_a_table_that_says_over_how_many_tasks(run):
    done = run()
    assert done.status == 0
    *_, caption, head, one, two = done.out.decode().splitlines()
    assert caption.endswith("over 1 of 2 tasks: 1 without lines")
    assert head.split("\t") == ["group", "tasks", "model", "AR", "ER", "RPR", "quartiles"]
    assert one.split("\t")[:5] == ["A", "1 of 1", "input", "1.000 [1.000, 1.000]", "0.000 [0.000, 0.000]"]
    assert two.split("\t")[:3] == ["all", "1 of 2", "input"]


def test_verdicts_are_in_the_json(run):
    told = [json.loads(text) for text in run("--json").out.splitlines()]
    (over_all,) = [facts for facts in told if facts.get("group") == "all" and "ar" in facts]
    assert (over_all["tasks"], over_all["of"], over_all["ar"]["value"], over_all["er"]["high"]) == (1, 2, 1.0, 0.0)
    assert over_all["rpr"]["value"] == pytest.approx(1 / (1 + math.exp(-0.5)))


def test_a_share_may_be_a_threshold(run):
    assert run("--min", "ar=0.5,psnr=5").status == 0
    missed = run("--min", "er=0.5")
    assert (missed.status, missed.err.splitlines()[-1]) == (4, "gir: input: er 0.000 is under 0.5")


def test_lines_of_other_pictures_do_not_count(run, clean, photograph):
    (clean / "a.png").write_bytes(encoded(photograph[1:65, :96]))
    done = run("--min", "ar=0.5")
    assert done.status == 2
    assert "gir: no AR and ER: over 0 of 2 tasks: 1 without lines, 1 with lines of other images" in done.err
