"""gir degrade, as a process and in this one."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import cv2
import numpy as np
import pytest
from pictures import ROOT, decoded, encoded, psnr


def test_a_pipe_gives_a_png_of_the_same_size(gir, photograph):
    done = gir("degrade", "--noise", "25", "--blur", "2", stdin=encoded(photograph))
    assert done.status == 0
    assert done.err == ""
    assert decoded(done.out).shape == photograph.shape
    assert 15 < psnr(decoded(done.out), photograph) < 25


def test_a_terminal_gets_a_file_and_is_told_where(png):
    """Standard output is a pseudo-terminal here, as when typed."""
    primary, secondary = pty.openpty()
    command = [sys.executable, "-m", "gir_cli", "degrade", "--noise", "25", "--blur", "2", png.name]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, stdout=secondary, stderr=subprocess.PIPE, cwd=png.parent, env=environment, timeout=60, text=True
    )
    os.close(secondary)
    os.close(primary)
    assert done.returncode == 0
    assert done.stderr == "in.png -> in.degraded.png\n"
    assert (png.parent / "in.degraded.png").stat().st_size > 1000


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(gir, png):
    runs = [gir("degrade", "--noise", "25", "--seed", seed, png).out for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_options_act_in_physical_order_and_chains_in_theirs(gir, png):
    assert gir("degrade", "--jpeg", "10", "--noise", "5", png) == gir("degrade", "--noise", "5", "--jpeg", "10", png)
    one = gir("degrade", "--chain", "jpeg:10 noise:5", png)
    other = gir("degrade", "--chain", "noise:5 jpeg:10", png)
    assert one.status == other.status == 0
    assert one.out != other.out


def test_a_tree_is_mirrored_and_neighbours_do_not_matter(gir, tmp_path, photograph):
    for name in ("a.png", "deep/b.jpg", "deep/er/c.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photograph, path.suffix))
    done = gir("degrade", "--noise", "10", "-r", tmp_path / "in", "-o", tmp_path / "all", "-j", "3")
    assert (done.status, done.out, done.err) == (0, b"", "gir: 3 done\n")
    made = sorted(str(path.relative_to(tmp_path / "all")) for path in (tmp_path / "all").rglob("*.*"))
    assert made == ["a.png", "deep/b.jpg", "deep/er/c.png"]
    (tmp_path / "in/a.png").unlink()
    gir("degrade", "--noise", "10", "-r", tmp_path / "in", "-o", tmp_path / "some", "-j", "1")
    assert (tmp_path / "some/deep/er/c.png").read_bytes() == (tmp_path / "all/deep/er/c.png").read_bytes()


def test_what_is_not_read_whole_is_not_replaced_in_place(gir, tmp_path):
    from PIL import Image

    first, second = (Image.new("RGB", (32, 24), colour) for colour in ("red", "blue"))
    for name in ("a.png", "b.webp", "c.tiff"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
    for number, picture in enumerate((first, second)):
        picture.save(tmp_path / f"{number}.ppm")
    (tmp_path / "d.ppm").write_bytes((tmp_path / "0.ppm").read_bytes() + (tmp_path / "1.ppm").read_bytes())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = gir("degrade", "--noise", "5", "--in-place", tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert [name for name in sorted(before) if before[name] == after[name]] == ["a.png", "b.webp", "d.ppm"]
    assert done.status == 1
    assert done.err.count(": not replaced in place: ") == done.err.count("only the first") == 3
    with Image.open(tmp_path / "c.tiff") as pages:
        assert pages.n_frames == 2


def test_one_bad_file_costs_one_line_and_status_1(gir, tmp_path, png):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.png").write_bytes(png.read_bytes())
    (folder / "bad.png").write_bytes(png.read_bytes()[:1000])
    done = gir("degrade", "--noise", "5", folder, "-o", tmp_path / "out")
    assert done.status == 1
    assert len(done.err.splitlines()) == 2
    assert done.err.startswith(f"gir: {folder}/bad.png: ")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]


def test_a_tree_with_bad_files_gives_the_others_and_a_line_for_each_bad_one(gir, tmp_path, photograph):
    small = encoded(photograph[:24, :32])
    for index in range(100):
        path = tmp_path / "in" / f"{index % 7}" / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes({13: b"", 40: b"hello", 77: small[:300]}.get(index, small))
    tree = ["degrade", "--noise", "9", "-r", tmp_path / "in", "-o", tmp_path / "out"]
    done = gir(*tree)
    assert done.status == 1
    assert len(list((tmp_path / "out").rglob("*.png"))) == 97
    assert len(done.err.splitlines()) == 4
    assert done.err.splitlines()[-1] == "gir: 97 done, 3 failed"
    again = gir(*tree, "--skip-existing")
    assert again.err.splitlines()[-1] == "gir: 0 done, 3 failed, 97 skipped"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"hello", "not an image I can read"), (b"", "empty file"), (None, "no such file or directory")],
)
def test_a_named_file_that_is_no_image_is_one_line_and_status_1(gir, tmp_path, content, says):
    path = tmp_path / "text.png"
    if content is not None:
        path.write_bytes(content)
    done = gir("degrade", "--noise", "5", path, "-o", tmp_path / "out.png")
    assert done == (1, b"", f"gir: {path}: {says}\n")
    assert not (tmp_path / "out.png").exists()


def test_a_truncated_jpeg_leaves_nothing_behind(gir, tmp_path, photograph):
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded(photograph, ".jpg")[:4000])
    done = gir("degrade", "--noise", "5", path, "-o", tmp_path / "out.jpg")
    assert done.status == 1
    assert len(done.err.splitlines()) == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cut.jpg"]


def test_bytes_that_are_no_image_on_stdin(gir):
    assert gir("degrade", "--noise", "5", "-", stdin=b"hello") == (
        1,
        b"",
        "gir: <stdin>: not an image I can read\n",
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--nois", "5"], "no such option: --nois"),
        (["--noise", "-1"], "noise: sigma=-1 is out of range (0 to 255)"),
        (["--noise", "much"], "noise: sigma=much is not a number"),
        (["--jpeg", "0"], "jpeg: quality=0 is out of range (1 to 100)"),
        (["--chain", "blur:sgima=2"], "did you mean 'sigma'?"),
        (["--chain", "blurr:2"], "did you mean 'blur'?"),
        (["--chain", "noise:5", "--noise", "5"], "exclude each other"),
        ([], "no degradation is given"),
        (["--random", "gri"], "no preset is called 'gri'"),
        (["--noise", "5", "--depth", "12"], "--depth=12"),
        (["--noise", "5", "-o", "x.xyz"], "xyz"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(gir, png, arguments, says):
    before = sorted(png.parent.iterdir())
    done = gir("degrade", *arguments, png)
    assert done.status == 2
    assert done.out == b""
    assert len(done.err.splitlines()) == 1
    assert says in done.err
    assert sorted(png.parent.iterdir()) == before


def test_an_output_that_cannot_be_written_is_one_line(gir, png):
    (png.parent / "file").write_bytes(b"")
    done = gir("degrade", "--noise", "5", png, "-o", png.parent / "file/out.png")
    assert done.status == 1
    assert len(done.err.splitlines()) == 1


def test_sixteen_bits_alpha_and_gray_stay(gir, photograph):
    deep = np.dstack([photograph.astype(np.uint16) * 257, np.arange(256 * 384, dtype=np.uint16).reshape(256, 384)])
    done = gir("degrade", "--blur", "1", stdin=cv2.imencode(".png", deep)[1].tobytes())
    back = cv2.imdecode(np.frombuffer(done.out, np.uint8), cv2.IMREAD_UNCHANGED)
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back[..., 3], deep[..., 3])
    gray = gir("degrade", "--noise", "25", stdin=encoded(photograph[..., 1]))
    assert decoded(gray.out).shape == photograph.shape[:2]


def test_gray_noise_has_its_full_strength(gir):
    flat = np.full((256, 256), 128, np.uint8)
    worse = decoded(gir("degrade", "--noise", "20", stdin=encoded(flat)).out)
    assert worse.ndim == 2
    assert abs(worse.astype(float).std() - 20) < 0.5


def test_a_recipe_replays_to_the_same_pixels(gir, tmp_path, photograph):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(encoded(photograph))
    recipe = tmp_path / "recipe.jsonl"
    drawn = ["--random", "gir", "--seed", 4, "--record", recipe]
    assert gir("degrade", *drawn, folder, "-o", tmp_path / "x").status == 0
    assert gir("degrade", "--recipe", recipe, folder, "-o", tmp_path / "y").status == 0
    for name in ("a.png", "b.png"):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()
    line = json.loads(recipe.read_text().splitlines()[0])
    recipe.write_text(json.dumps(line | {"gir": 99}))
    done = gir("degrade", "--recipe", recipe, folder, "-o", tmp_path / "z")
    assert done.status == 2
    assert "version 99" in done.err


def lines_of(record):
    return {entry["key"]: entry["seed"] for entry in map(json.loads, record.read_text().splitlines())}


def test_a_dry_run_leaves_the_record_alone(gir, clean, tmp_path):
    record = tmp_path / "r.jsonl"
    record.write_bytes(b"before")
    assert gir("degrade", "--noise", "5", "-n", "--record", record, clean, "-o", tmp_path / "x").status == 0
    assert record.read_bytes() == b"before"


@pytest.mark.parametrize(
    "record", ["in.png", "out.png", "link.png", "new/../out.png", "-", "/dev/stdout", ".", "in.png/r", "new/"]
)
@pytest.mark.parametrize("dry", [[], ["-n"]], ids=["", "dry"])
def test_a_record_that_is_a_picture_or_cannot_be_written_is_refused_before_any_work(gir, png, monkeypatch, record, dry):
    monkeypatch.chdir(png.parent)
    (png.parent / "link.png").symlink_to("in.png")
    before = png.read_bytes()
    done = gir("degrade", "--noise", "5", *dry, "--record", record, "in.png", "-o", "out.png")
    assert done.status in (1, 2)
    assert (done.out, done.err.count("\n")) == (b"", 1)
    assert record in done.err or record in ("-", "/dev/stdout")
    assert png.read_bytes() == before
    assert sorted(os.listdir()) == ["in.png", "link.png"]


@pytest.mark.parametrize(
    "change", [{"key": ["a"]}, {"chain": 5}, {"chain": None}, {"seed": "x"}, {"key": "\ud800"}, None]
)
def test_a_damaged_recipe_is_named_by_its_line(gir, png, tmp_path, change):
    line = {"gir": 1, "key": "a.png", "seed": 0, "chain": "noise:5"}
    (tmp_path / "r.jsonl").write_text("[" * 200000 if change is None else json.dumps(line | change))
    done = gir("degrade", "--recipe", tmp_path / "r.jsonl", png, "-o", tmp_path / "out.png")
    assert done.status == 2
    assert done.err.startswith(f"gir: {tmp_path / 'r.jsonl'}:1: not a line")


def test_a_record_is_not_written_over_the_recipe(gir, png, tmp_path):
    recipe = tmp_path / "r.jsonl"
    assert gir("degrade", "--noise", "5", "--record", recipe, png, "-o", tmp_path / "out.png").status == 0
    done = gir("degrade", "--recipe", recipe, "--record", recipe, png, "-o", tmp_path / "out.png")
    assert (done.status, done.err) == (2, f"gir: {recipe} is the recipe that is replayed\n")


def test_a_run_that_goes_on_adds_to_the_record(gir, clean, tmp_path):
    record, out = tmp_path / "r.jsonl", tmp_path / "out"
    command = ["degrade", "--noise", "5", "--record", record, clean, "-o", out]
    assert gir(*command).status == 0
    (out / "b.png").unlink()
    assert gir(*command, "--skip-existing", "--seed", "3").status == 0
    assert lines_of(record) == {"a.png": 0, "b.png": 3}
    assert gir(*command, "--skip-existing").status == 0
    assert lines_of(record) == {"a.png": 0, "b.png": 3}
    assert gir(*command, "--seed", "4").status == 0
    assert lines_of(record) == {"a.png": 4, "b.png": 4}


def test_list_names_every_operator(gir):
    from gir_cli.ops import OPERATORS

    listed = [line.split("\t")[0] for line in gir("degrade", "--list").out.decode().splitlines() if line[0] != " "]
    assert sorted(listed) == sorted(OPERATORS)


def test_json_says_one_object_an_input_and_a_summary(gir, png):
    done = gir("degrade", "--noise", "5", "--json", png, "-o", png.parent / "out.png")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert lines[0]["status"] == "done"
    assert (lines[0]["width"], lines[0]["height"], lines[0]["depth"]) == (384, 256, "8")
    assert lines[0]["chain"] == "noise:sigma=5"
    assert lines[1] == {"summary": {"done": 1, "failed": 0, "skipped": 0}}


def test_json_stays_on_stdout_where_an_input_cannot_be_opened(gir, png, tmp_path):
    done = gir("degrade", "--noise", "5", "--json", png, "missing.png", "-o", tmp_path / "out")
    good, missing, summary = (json.loads(line) for line in done.out.splitlines())
    assert (done.status, done.err) == (1, "")
    assert (good["status"], good["output"]) == ("done", f"{tmp_path}/out/in.png")
    assert (missing["input"], missing["output"], missing["status"]) == ("missing.png", None, "failed")
    assert summary == {"summary": {"done": 1, "failed": 1, "skipped": 0}}


def test_a_closed_pipe_ends_quietly(png):
    command = f"{sys.executable} -m gir_cli degrade --noise 50 {png} | head -c 4"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, shell=True, capture_output=True, env=environment, timeout=60)
    assert done.stdout == b"\x89PNG"
    assert done.stderr == b""
