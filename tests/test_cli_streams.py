"""Frames through pipes, and how a run ends when it is told to."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from pictures import ROOT, decoded, encoded

from gir_cli.image import streams


def frames(count, dtype=np.uint8, shape=(24, 32)):
    """Return `count` different RGB pictures."""
    top = np.iinfo(dtype).max
    rng = np.random.RandomState(0)
    return [(rng.rand(*shape, 3) * top).astype(dtype) for _ in range(count)]


def ppm(values):
    top = np.iinfo(values.dtype).max
    header = f"P6\n{values.shape[1]} {values.shape[0]}\n{top}\n".encode()
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


def cut(stream, size):
    """Return the pictures of a PPM stream, each of which takes `size` bytes."""
    assert len(stream) % size == 0
    return [stream[start : start + size] for start in range(0, len(stream), size)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_video_of_ppm_frames_keeps_its_depth_and_order(gir, dtype):
    pictures = frames(5, dtype)
    stream = b"".join(ppm(picture) for picture in pictures)
    done = gir("degrade", "--blur", "0", "-", "-f", "ppm", "-o", "-", "-j", "3", stdin=stream)
    assert (done.status, done.out) == (0, stream)


def test_frames_get_noise_of_their_own_that_does_not_depend_on_workers(gir):
    stream = ppm(np.full((24, 32, 3), 128, np.uint8)) * 4
    one, other = (gir("degrade", "--noise", "9", "-", "-f", "ppm", "-j", jobs, stdin=stream) for jobs in (1, 4))
    assert one == other
    pictures = cut(one.out, len(stream) // 4)
    assert len(set(pictures)) == 4


def test_concatenated_png_come_out_as_png_each_from_its_magic_on(gir):
    stream = b"".join(encoded(picture) for picture in frames(3))
    out = gir("degrade", "--noise", "5", "-vv", "-", stdin=stream).out
    starts = [place for place in range(len(out)) if out.startswith(b"\x89PNG\r\n\x1a\n", place)]
    assert len(starts) == 3
    assert starts[0] == 0
    for start, end in zip(starts, [*starts[1:], len(out)], strict=True):
        assert decoded(out[start:end]).shape == (24, 32, 3)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
def test_other_names_of_standard_output_are_standard_output(gir, tmp_path, name):
    (tmp_path / "a.png").write_bytes(encoded(frames(1)[0]))
    for command in (["degrade", "--noise", "5"], ["compare", "-f", "png", tmp_path / "a.png"]):
        expected, done = (gir(*command, tmp_path / "a.png", "-o", target) for target in ("-", name))
        assert decoded(done.out) is not None
        assert done == expected


def jpegs(count):
    """Return different JPEGs: plain, progressive, with restarts and fill bytes, and with a thumbnail."""
    made = []
    for index, picture in enumerate(frames(count, shape=(80, 90))):
        kind = [cv2.IMWRITE_JPEG_PROGRESSIVE, index % 2, cv2.IMWRITE_JPEG_RST_INTERVAL, index % 3]
        data = cv2.imencode(".jpg", picture, kind)[1].tobytes()
        if index % 4 == 3:
            data = segment(data, 0xE1, b"Exif\0\0" + data)
        made.append(data[:-2] + b"\xff" * (index % 2) + data[-2:])
    return made


def segment(jpeg, marker, body):
    """Return a JPEG with a segment more."""
    return jpeg[:2] + bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def test_concatenated_jpeg_are_frames(gir, tmp_path):
    pictures = jpegs(7)
    done = gir("degrade", "--blur", "0", "-", "-o", f"{tmp_path}/", "-f", "png", stdin=b"".join(pictures))
    assert (done.status, done.err) == (0, "")
    made = sorted(tmp_path.iterdir())
    assert [path.name for path in made] == [f"{number:06d}.png" for number in range(1, 8)]
    for path, picture in zip(made, pictures, strict=True):
        np.testing.assert_array_equal(decoded(path.read_bytes()), decoded(picture))


@pytest.mark.parametrize("behind", [b"\0SEFT", b"\xff\xd8", b"\xff\xd9"])
def test_what_follows_a_jpeg_and_is_none_belongs_to_it(gir, behind):
    jpeg = jpegs(1)[0]
    assert list(streams.frames(io.BytesIO(jpeg + behind))) == [jpeg + behind]
    assert gir("degrade", "--blur", "0", "-", stdin=jpeg + behind).status == 0


def test_the_pictures_of_a_cameras_index_belong_to_the_first():
    one, other = jpegs(2)
    whole = segment(one, 0xE2, b"MPF\0") + other
    assert list(streams.frames(io.BytesIO(whole))) == [whole]


@pytest.mark.parametrize("cut", [3, 10, 300, -1, -2])
def test_a_jpeg_that_is_cut_off_is_said_and_those_before_it_are_done(gir, tmp_path, cut):
    one, other = jpegs(2)
    done = gir("degrade", "--blur", "0", "-", "-o", f"{tmp_path}/", stdin=one + other[:cut])
    assert [path.name for path in tmp_path.iterdir()] == ["000001.jpg"]
    assert done.status == 1
    assert done.err.startswith("gir: <stdin> frame 2: ")


def test_a_jpeg_is_handed_on_when_the_next_begins():
    class Unfinished(io.BytesIO):
        def read(self, size=-1):
            piece = super().read(size)
            assert piece, "a pipe would be waited for"
            return piece

        read1 = read

    one, other = jpegs(2)
    assert next(streams.frames(Unfinished(one + other[:100]))) == one


def test_frames_can_go_to_files(gir, tmp_path):
    stream = b"".join(ppm(picture) for picture in frames(2))
    done = gir("degrade", "--noise", "5", "-", "-o", f"{tmp_path}/out/", stdin=stream)
    assert done.status == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000001.ppm", "000002.ppm"]


def test_frames_are_not_written_over_an_input(gir, tmp_path):
    clean = encoded(frames(1)[0])
    (tmp_path / "000001.png").write_bytes(clean)
    command = ["degrade", "--noise", "5", "-", tmp_path / "000001.png", "-o", f"{tmp_path}/", "--suffix", "_r"]
    done = gir(*command, stdin=clean)
    assert (done.status, done.out, done.err.count("\n")) == (2, b"", 1)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [clean]


def test_an_output_of_standard_input_that_exists_is_skipped(gir, tmp_path):
    out = tmp_path / "out.png"
    out.write_bytes(b"before")
    command = ["degrade", "--noise", "5", "-", "-o", out]
    clean = encoded(frames(1)[0])
    skipped = gir(*command, "--skip-existing", "--json", stdin=clean)
    assert (skipped.status, out.read_bytes()) == (0, b"before")
    assert json.loads(skipped.out.splitlines()[-1]) == {"summary": {"done": 0, "failed": 0, "skipped": 1}}
    assert gir(*command, "--update", stdin=clean).status == 0  # nobody knows how old a stream is
    assert out.read_bytes() != b"before"


def test_a_stream_that_ends_within_a_frame_gives_the_whole_ones_and_status_1(gir):
    good = ppm(frames(1)[0])
    done = gir("degrade", "--blur", "0", "-", "-f", "ppm", stdin=good * 2 + good[:100])
    assert done.status == 1
    assert done.out == good * 2
    assert done.err.startswith("gir: <stdin> frame 3: truncated")


def test_a_list_of_names_may_come_from_stdin_and_end_in_nul(gir, tmp_path):
    names = [tmp_path / "a b.png", tmp_path / "new\nline.png"]
    for name in names:
        name.write_bytes(encoded(frames(1)[0]))
    listed = b"\0".join(os.fsencode(name) for name in names)
    done = gir("degrade", "--noise", "5", "--files-from", "-", "-0", "-o", f"{tmp_path}/out/", stdin=listed)
    assert done.status == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a b.png", "new\nline.png"]


def test_dry_run_prints_pairs_and_touches_nothing(gir, tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(frames(1)[0]))
    done = gir("degrade", "--noise", "5", "-n", tmp_path, "-o", f"{tmp_path}/out/")
    assert done.out == f"{tmp_path}/a.png\t{tmp_path}/out/a.png\n".encode()
    assert not (tmp_path / "out").exists()


def test_a_dry_run_has_a_line_for_what_would_be_done_only_and_tells_what_could_not(gir, clean, tmp_path):
    command = ["degrade", "--noise", "5", "-n", clean, "-o", f"{tmp_path}/out/"]
    done = gir(*command, tmp_path / "none.png")
    assert (done.status, done.err) == (1, f"gir: {tmp_path}/none.png: no such file or directory\n")
    assert done.out.count(b"\n") == 2
    for name in ("a.png", "b.png"):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / name).touch()
    assert gir(*command, "--skip-existing") == (0, b"", "")


def test_an_orientation_is_applied_once_or_kept(gir, tmp_path):
    from PIL import Image

    upright = frames(1)[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(upright)).save(tmp_path / "turned.png", exif=exif)
    applied = gir("degrade", "--blur", "0", tmp_path / "turned.png").out
    kept = gir("degrade", "--blur", "0", "--orient", "keep", tmp_path / "turned.png").out
    np.testing.assert_array_equal(decoded(applied), upright)
    (tmp_path / "kept.png").write_bytes(kept)
    with Image.open(tmp_path / "kept.png") as image:
        assert image.getexif()[0x0112] == 6
        np.testing.assert_array_equal(np.asarray(image), np.rot90(upright))


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("degrade --noise 5 -o out.png <&-", 1, b"gir: <stdin>: empty file\n"),
        ("degrade --noise 5 in.png -o out.png <&- >&- 2>&-", 0, b""),
        ("degrade --noise 5 in.png -o out.png >&-", 0, b""),
        ("degrade --noise 5 in.png -o out.png 2>&-", 0, b""),
        ("degrade --noise 5 missing.png -o out.png 2>&-", 1, b""),
        ("info in.png >&-", 0, b""),
        ("compare in.png - <&-", 1, b"gir: <stdin>: empty file\n"),
    ],
)
def test_closed_standard_streams_are_empty_ones(png, command, status, said):
    run = f"{sys.executable} -m gir_cli {command}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, shell=True, cwd=png.parent, env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (status, b"", said)
    assert (png.parent / "out.png").exists() == ("in.png -o" in command)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_finished_files_only(tmp_path, number, status):
    folder = tmp_path / "in"
    folder.mkdir()
    picture = encoded(frames(1, shape=(600, 800))[0])
    for index in range(400):
        (folder / f"{index:03}.png").write_bytes(picture)
    command = [sys.executable, "-m", "gir_cli", "degrade", "--noise", "9", str(folder), "-o", str(tmp_path / "out")]
    command += ["--record", str(tmp_path / "record")]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # else, in the background, it is ignored
    run = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list((tmp_path / "out").glob("*.png"))) < 3:
        time.sleep(0.01)
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == status
    assert b"Traceback" not in said
    made = list((tmp_path / "out").iterdir())
    assert 3 <= len(made) < 400
    assert {path.suffix for path in made} == {".png"}
    assert not [path for path in made if path.name.startswith(".")]
    for path in made:
        assert decoded(path.read_bytes()).shape == (600, 800, 3)
    recorded = {json.loads(line)["key"] for line in (tmp_path / "record").read_text().splitlines()}
    assert recorded >= {path.name for path in made}
