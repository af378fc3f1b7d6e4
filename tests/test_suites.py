"""Suites beside GIR-110, whose inputs are those of published tables; real tasks without references."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from pictures import encoded

from gir_cli.evaluate import evaluate, from_lines, means
from gir_cli.metrics import METRICS
from gir_cli.restore import Restorer, Way
from gir_cli.suite import SUITES, chosen

SUITE_NAMES = [name for name in SUITES if name != "gir110"]


def task(suite, name):
    (found,) = chosen((name,), SUITES[suite]())
    return found


def float_psnr(a, b):
    return float(-10 * np.log10(np.mean((a.astype(float) - b.astype(float)) ** 2)))


# ---- inputs


@pytest.mark.parametrize("suite", SUITE_NAMES)
def test_tasks_have_names_of_their_own_and_give_the_same_each_time(suite, pixels):
    tasks = SUITES[suite]()
    assert len({task.name for task in tasks}) == len({str(task) for task in tasks}) == len(tasks)
    for one in tasks:
        clean, worse = one.pair(pixels[:64, :96], "a", 14)
        assert clean.shape == worse.shape and clean.dtype == worse.dtype == np.float32
        np.testing.assert_array_equal(worse, one.pair(pixels[:64, :96], "a", 14)[1])


@pytest.mark.parametrize(("sigma", "expected"), [(15, 24.61), (25, 20.17), (50, 14.15)])
def test_noise_of_published_tables_is_neither_clipped_nor_of_our_own_stream(pixels, sigma, expected):
    clean, worse = task("denoise", f"sigma-{sigma}").pair(pixels, "a", 14)
    assert float_psnr(worse, clean) == pytest.approx(expected, abs=0.03)
    noise = np.random.RandomState(0).normal(0, sigma / 255.0, pixels.shape)
    np.testing.assert_array_equal(worse, np.float32(pixels + noise))
    assert worse.min() < 0


@pytest.mark.parametrize("quality", [10, 20, 30, 40])
def test_gray_jpeg_is_of_rounded_video_luma(photograph, pixels, quality):
    clean, worse = task("dejpeg", f"gray-{quality}").pair(pixels, "a", 14)
    red, green, blue = (photograph[..., channel] / 255.0 for channel in range(3))
    luma = np.rint(16 + 65.481 * red + 128.553 * green + 24.966 * blue).astype(np.uint8)
    coded = cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    for got, plane in ((clean, luma), (worse, cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))):
        np.testing.assert_array_equal(np.rint(got * 255), np.repeat(plane[..., None], 3, 2))


def test_colour_jpeg_is_what_opencv_writes(photograph, pixels):
    coded = cv2.imencode(".jpg", photograph[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    _, worse = task("dejpeg", "color-10").pair(pixels, "a", 14)
    np.testing.assert_array_equal(np.rint(worse * 255), cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])


def test_super_resolution_begins_from_an_8_bit_small_picture_of_whole_multiples(pixels):
    image = pytest.importorskip("PIL.Image")
    values = np.rint(pixels[:, :383] * 255).astype(np.uint8)
    clean, worse = task("sr", "x4").pair(pixels[:255, :383], "a", 14)
    assert clean.shape == (252, 380, 3)
    small = image.fromarray(values[:252, :380]).resize((95, 63), image.Resampling.BICUBIC)
    ours = np.rint(worse * 255)
    assert np.abs(ours - np.asarray(small.resize((380, 252), image.Resampling.BICUBIC), float)).max() <= 2
    assert (task("sr", "x4").border, task("sr", "x4").metric) == (4, "psnr-y")


# ---- models


def test_a_model_is_given_values_beyond_white_only_if_asked(tmp_path):
    from gir_cli.weights import built, save

    network = built("srresnet", {"width": 4, "blocks": 1})
    for value in network.state_dict().values():
        value.zero_()  # what is left is the long skip: the input itself
    save(tmp_path / "same.safetensors", network.state_dict(), {"model": "srresnet", "config": vars(network.config)})
    given = np.float32([[[-0.5, 0.5, 1.5]]]).repeat(16, 0).repeat(16, 1)
    seen = []
    for clip in (True, False):
        restorer = Restorer(tmp_path / "same.safetensors", Way(device="cpu", precision="fp32", clip=clip))
        restorer.model.network.register_forward_pre_hook(lambda module, batch: seen.append(float(batch[0].max())))
        out = restorer(given)
        np.testing.assert_allclose(out, given.clip(0, 1), atol=1e-6)
    assert seen == [1.0, 1.5]


def test_a_gray_task_is_scored_on_the_luma_of_the_result(tmp_path, photograph):
    (tmp_path / "a.png").write_bytes(encoded(photograph[:48, :64]))
    tint = np.float32([0.2, 0, -0.2])
    models = {"tint": ("t", lambda worse: worse + tint)}
    rows = list(evaluate([task("dejpeg", "gray-40")], tmp_path, None, models))
    clean, worse = task("dejpeg", "gray-40").pair(photograph[:48, :64].astype(np.float32) / 255, "a", 0)
    plane = worse[..., 0] + 0.2 * 0.299 - 0.2 * 0.114
    expected = float_psnr(np.rint(plane.clip(0, 1) * 255) / 255, clean[..., 0])
    assert rows[1].scores["psnr"] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("suite", SUITE_NAMES)
def test_every_suite_is_measured_by_the_command(gir, tmp_path, photograph, suite):
    (tmp_path / "a.png").write_bytes(encoded(photograph[:48, :64]))
    done = gir("evaluate", "--suite", suite, "--data", tmp_path, "-m", "none", "--baseline", "bilateral", "--json")
    assert done.status == 0, done.err
    told = [json.loads(line) for line in done.out.splitlines()]
    assert {task.name for task in SUITES[suite]()} <= {facts["task"] for facts in told}
    assert {facts["metric"] for facts in told} == {"psnr-y" if suite == "sr" else "psnr"}


# ---- real tasks


def test_a_real_task_without_references_is_scored_by_how_natural_it_looks(gir, tmp_path, photograph):
    folder = tmp_path / "real/haze_nh/lq"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(encoded(photograph))
    paired = tmp_path / "real/noise_cc"
    for part, values in (("lq", photograph // 2), ("gt", photograph)):
        (paired / part).mkdir(parents=True)
        (paired / part / "a.png").write_bytes(encoded(values))
    run = ["evaluate", "--real", tmp_path / "real", "-m", "none", "--baseline", "gamma", "-o", tmp_path / "rows"]
    done = gir(*run, "--metric", "psnr", "--metric", "ssim")
    assert done.status == 0, done.err
    rows = from_lines((tmp_path / "rows").read_text().splitlines())
    assert {(row.task, *row.scores) for row in rows} == {("haze_nh", "niqe"), ("noise_cc", "psnr", "ssim")}
    expected = METRICS["niqe"](photograph / 255.0, photograph / 255.0)
    assert means(rows, "niqe")["real", "haze_nh"]["input"] == pytest.approx(expected)
    assert b"# niqe over 1 tasks, 1 images" in done.out


def test_ten_tasks_are_real_and_four_of_them_have_references():
    real = [task for task in SUITES["gir110"]() if task.group == "real"]
    assert [task.name for task in real if task.metric == "psnr"] == ["noise_cc", "noise_polyu", "sr_iphone", "sr_nikon"]
    assert {task.name: task.border for task in real if task.border} == {"sr_iphone": 4, "sr_nikon": 4}
    assert len(real) == 10
