"""gir evaluate --html: one file that needs nothing else, with the numbers of the table and pictures of the cases."""

from __future__ import annotations

import base64
import math
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from pictures import decoded, encoded

from gir_cli import page
from gir_cli.evaluate import from_lines, group_means, means, set_digest
from gir_cli.suite.lines import Line, written


class Tags(HTMLParser):
    """Collects tags with their attributes; fails where they do not nest."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def clean(tmp_path_factory, photograph):
    folder = tmp_path_factory.mktemp("report") / "clean"
    folder.mkdir()
    for name, top in {"a": 0, "b<i>": 60, "c": 110}.items():
        (folder / f"{name}.png").write_bytes(encoded(photograph[top : top + 140, 60:210]))
    return folder


@pytest.fixture
def report(gir, clean, tmp_path):
    """Return the text of a report, and the rows that it is of."""
    run = ["evaluate", "--data", clean, "-m", "none", "--baseline", "bilateral", "-o", tmp_path / "rows"]
    run += ["--tasks", "noise-2", "--tasks", "jpeg-2", "--tasks", "noise-x"]
    assert gir(*run).status == 0
    rows = from_lines((tmp_path / "rows").read_text().splitlines())
    line = Line("noise-2", "psnr", 0.0, 21.0, 90.0, set_digest(rows)["noise-2"], "by hand")
    (tmp_path / "lines.csv").write_text(written([line]))
    done = gir(*run, "--lines", tmp_path / "lines.csv", "--html", tmp_path / "report.html")
    assert done.status == 0, done.err
    return (tmp_path / "report.html").read_text(), rows


def test_it_is_one_file_without_scripts_or_anything_to_load(report):
    tags = Tags(report[0])
    assert {tag for tag, _ in tags.found}.isdisjoint({"script", "link", "iframe", "object"})
    sources = [attrs.get("src", attrs.get("href")) for _, attrs in tags.found]
    assert all(source.startswith("data:image/png;base64,") for source in sources if source)
    assert "url(" not in report[0] and "@import" not in report[0]


def test_its_bars_and_map_hold_the_numbers_of_the_rows(report):
    text, rows = report
    table = means(rows, "psnr")
    gain = {key: by_model["bilateral"] - by_model["input"] for key, by_model in table.items()}
    groups = group_means({key: {"bilateral": value} for key, value in gain.items()})
    for group, value in groups.items():
        assert f"<title>{group}, bilateral: {value['bilateral']:.3f} dB</title>" in text
    for (group, task), value in gain.items():
        before = table[group, task]["input"]
        assert re.search(rf"<td>{task}</td><td>{before:.2f}</td><td [^>]*>{re.escape(f'{value:+.2f}')}<", text)
    assert "over 1 of 3 tasks: 2 without lines" in text
    assert "<title>all, bilateral: 1.000 </title>" in text, "the bar of AR"


def test_its_pictures_are_of_the_best_median_and_worst_case_of_each_group(report, clean, photograph):
    text, rows = report
    gains = {}
    for before, after in zip(rows[::2], rows[1::2], strict=True):
        gains[after.group, after.task, after.picture] = after.scores["psnr"] - before.scores["psnr"]
    for group in "AB":
        ordered = sorted((gain, key) for key, gain in gains.items() if key[0] == group)
        for title, (_, (_, task, picture)) in zip(
            ("worst", "median", "best"), (ordered[0], ordered[len(ordered) // 2], ordered[-1]), strict=True
        ):
            shown = picture.replace("<", "&lt;").replace(">", "&gt;")
            assert f"<b>{title}</b> {task}, {shown}: psnr" in text
    images = [decoded(base64.b64decode(data)) for data in re.findall(r'base64,([^"]+)"', text)]
    assert len(images) == 2 * 3 * 3
    assert all(image.shape == (128, 128, 3) for image in images)
    for reference in images[2::3]:
        apart = cv2.matchTemplate(np.float32(photograph), np.float32(reference), cv2.TM_SQDIFF)
        top, left = np.unravel_index(apart.argmin(), apart.shape)
        np.testing.assert_array_equal(reference, photograph[top : top + 128, left : left + 128])


def test_values_that_are_not_finite_do_not_spoil_a_plot():
    values = {"A": {"m": math.inf, "n": -2.0}, "B": {"m": math.nan, "n": 3.0}}
    Tags(page.bars(values, ["m", "n"], "dB"))
    assert "nan" not in page.bars(values, ["m", "n"], "dB")
    assert page.bars({}, [], "") and page.bars({"A": {"m": 0.0}}, ["m"], "")
    assert "–" in page.heat_map({"A": {"t": {"input": 1.0, "m": math.nan}}}, "input", ["m"], 6)


def test_a_report_of_pairs_is_refused(gir, clean, tmp_path):
    done = gir("evaluate", clean, clean, "--html", tmp_path / "report.html")
    assert done.status == 2
    assert "gir compare" in done.err
