"""gir compare, as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from pictures import ROOT, decoded, encoded, psnr

from gir_cli.metrics import METRICS


@pytest.fixture
def images(tmp_path, photograph, monkeypatch):
    """Write clean, noisy and blurred pictures into the current directory, and return their values."""
    noise = np.random.RandomState(0).normal(0, 20, photograph.shape)
    noisy = np.clip(np.rint(photograph + noise), 0, 255).astype(np.uint8)
    values = {"clean.png": photograph, "noisy.png": noisy, "blurred.png": cv2.GaussianBlur(photograph, (0, 0), 2)}
    for name, picture in values.items():
        (tmp_path / name).write_bytes(encoded(picture))
    monkeypatch.chdir(tmp_path)
    return values


def table(out: bytes) -> dict[str, list[str]]:
    """Return the rows of a table in a pipe, without its comment."""
    lines = out.decode().splitlines()
    assert lines[0].startswith("# ")
    return {cells[0]: cells[1:] for cells in (line.split("\t") for line in lines[1:])}


def test_there_is_a_line_per_metric_and_a_column_per_image(gir, images):
    done = gir("compare", "clean.png", "noisy.png", "blurred.png")
    rows = table(done.out)
    assert (done.status, done.err) == (0, "")
    assert rows.pop("metric") == ["noisy.png", "blurred.png"]
    assert set(rows) == {name for name, metric in METRICS.items() if not metric.needs}
    expected = [psnr(images[name], images["clean.png"]) for name in ("noisy.png", "blurred.png")]
    assert [float(cell) for cell in rows["psnr"]] == pytest.approx(expected, abs=1e-4)


def test_the_protocol_stands_over_every_table(gir, images):
    first = gir("compare", "clean.png", "noisy.png", "--border", 3).out.decode().splitlines()[0]
    for fact in ("against clean.png", "8 bits", "border of 3", "RGB", "65.481", "sigma 1.5"):
        assert fact in first


def test_metrics_and_border_are_chosen(gir, images):
    done = gir("compare", "clean.png", "noisy.png", "--metric", "mae", "--metric", "psnr", "--border", "7")
    rows = table(done.out)
    inside = {name: values[7:-7, 7:-7] for name, values in images.items()}
    assert list(rows) == ["metric", "mae", "psnr"]
    assert float(rows["psnr"][0]) == pytest.approx(psnr(inside["noisy.png"], inside["clean.png"]), abs=1e-4)


def test_equal_images_are_infinitely_alike_and_json_stays_valid(gir, images):
    assert table(gir("compare", "clean.png", "clean.png").out)["psnr"] == ["inf"]
    facts = json.loads(gir("compare", "clean.png", "clean.png", "--json").out)
    assert facts["identical"] is True
    assert facts["scores"]["psnr"] is None
    assert facts["scores"]["ssim"] == 1


def test_json_is_an_object_per_image(gir, images):
    done = gir("compare", "clean.png", "noisy.png", "missing.png", "blurred.png", "--json")
    noisy, missing, blurred = (json.loads(line) for line in done.out.splitlines())
    assert done.status == 1
    assert (noisy["image"], noisy["status"], noisy["width"], noisy["depth"]) == ("noisy.png", "done", 384, "8")
    assert noisy["scores"]["psnr"] == pytest.approx(psnr(images["noisy.png"], images["clean.png"]), abs=1e-9)
    assert missing["image"] == "missing.png"
    assert (missing["status"], missing["error"]) == ("failed", "missing.png: no such file or directory")
    assert blurred["image"] == "blurred.png"


def test_an_image_that_fails_is_one_line_and_the_others_are_compared(gir, images, tmp_path):
    (tmp_path / "small.png").write_bytes(encoded(images["clean.png"][:100]))
    (tmp_path / "text.png").write_bytes(b"hello")
    done = gir("compare", "clean.png", "small.png", "text.png", "noisy.png")
    assert done.status == 1
    assert table(done.out)["metric"] == ["noisy.png"]
    assert done.err.splitlines() == [
        "gir: small.png: is 384x100, but clean.png is 384x256; crop or resize one",
        "gir: text.png: not an image I can read",
    ]


def test_without_a_reference_there_is_nothing(gir, images):
    assert gir("compare", "gone.png", "noisy.png") == (1, b"", "gir: gone.png: no such file or directory\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clean.png"], "missing argument 'IMAGE...'"),
        (["-", "-"], "standard input can be one of the images only"),
        (["clean.png", "noisy.png", "--metric", "pnsr"], "did you mean 'psnr'"),
        (["clean.png", "noisy.png", "--border", "128"], "a border of 128 leaves nothing"),
        (["clean.png", "noisy.png", "--border", "-1"], "--border=-1 is out of range"),
        (["clean.png", "noisy.png", "-o", "sheet"], "name one with -f"),
        (["clean.png", "noisy.png", "-o", "noisy.png"], "noisy.png is one of the images compared"),
        (["clean.png", "noisy.png", "-o", "sheet.gif"], "gif"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(gir, images, arguments, said):
    done = gir("compare", *arguments)
    assert (done.status, done.out) == (2, b"")
    assert said in done.err
    assert done.err.count("\n") == 1


def test_a_sheet_is_written(gir, images, tmp_path):
    done = gir("compare", "clean.png", "noisy.png", "blurred.png", "-o", "new/sheet.png")
    assert done.status == 0
    assert decoded((tmp_path / "new/sheet.png").read_bytes()).shape[1] == 3 * 488 + 8
    assert b"psnr" in done.out


def test_a_sheet_goes_to_standard_output_alone(gir, images):
    done = gir("compare", "clean.png", "noisy.png", "-o", "-")
    assert decoded(done.out).shape[1] == 2 * 488 + 8
    assert "psnr\t" in done.err


def test_one_image_comes_from_standard_input(gir, images):
    done = gir("compare", "clean.png", "-", stdin=encoded(images["noisy.png"]))
    assert table(done.out)["metric"] == ["<stdin>"]


def test_an_image_too_small_for_a_metric_leaves_it_out_and_says_so(gir, images, tmp_path):
    for name in ("clean.png", "noisy.png"):
        (tmp_path / name).write_bytes(encoded(images[name][:100]))
    done = gir("compare", "clean.png", "noisy.png")
    assert (done.status, table(done.out)["ms-ssim"]) == (0, ["-"])
    assert done.err == "gir: ms-ssim needs more than 160 pixels a side, not 384x100\n"
    asked = gir("compare", "clean.png", "noisy.png", "--metric", "ms-ssim")
    assert asked.status == 1


def test_16_bits_are_compared_as_16_bits(gir, tmp_path, photograph, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deep = photograph.astype(np.uint16) * 256 + 100
    for name, values in (("a.png", deep), ("b.png", deep + 1), ("gray.png", deep[..., 0])):
        (tmp_path / name).write_bytes(encoded(values))
    done = gir("compare", "a.png", "b.png", "gray.png", "--metric", "psnr")
    assert float(table(done.out)["psnr"][0]) == pytest.approx(20 * np.log10(65535), abs=1e-4)
    assert b"16 bits" in done.out


def test_names_are_printed_escaped(gir, images, tmp_path):
    (tmp_path / "a\tb\n.png").write_bytes(encoded(images["noisy.png"]))
    assert table(gir("compare", "clean.png", "a\tb\n.png").out)["metric"] == ["a\\tb\\n.png"]


def test_on_a_terminal_the_table_is_ruled_and_names_are_no_markup(images, tmp_path):
    (tmp_path / "[bold]x.png").write_bytes(encoded(images["noisy.png"]))
    master, slave = os.openpty()
    command = [sys.executable, "-m", "gir_cli", "compare", "clean.png", "[bold]x.png", "blurred.png"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100", "TERM": "xterm"}
    done = subprocess.run(command, stdout=slave, stderr=slave, stdin=slave, cwd=tmp_path, env=environment, timeout=60)
    os.close(slave)
    seen = os.read(master, 65536).decode()
    os.close(master)
    assert done.returncode == 0
    assert "───" in seen and "[bold]x.png" in seen and "against clean.png" in seen
    assert "\t" not in seen


def test_comparing_does_without_torch(images):
    code = "import sys; from gir_cli.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "compare", "clean.png", "noisy.png"]
    assert subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True).returncode == 0
