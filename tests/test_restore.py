"""Tiles, blending, and gir restore with a small network of known behaviour."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from pictures import ROOT, decoded, encoded

from gir_cli import provenance
from gir_cli.errors import GirError, UsageError
from gir_cli.image import Levels
from gir_cli.models import Description
from gir_cli.restore import BAND, LARGE, WIDE_BAND, Crew, Restorer, Way, spans
from gir_cli.weights import Model, built, config_of, save

CONFIG = {"width": 8, "levels": 2, "blocks": 1}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return a weights file whose network changes pictures visibly, the same way each time."""
    network = built("girnet", CONFIG)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.12)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    record = {"name": "small", "model": "girnet", "config": config_of(network), "scale": 1}
    save(path, network.state_dict(), record)
    return path


@pytest.mark.parametrize("size", [1, 7, 64, 65, 200, 1000])
@pytest.mark.parametrize(("tile", "overlap"), [(64, 16), (64, 32), (96, 0), (32, 64), (200, 50)])
def test_shares_of_tiles_sum_to_one_and_cut_edges_count_for_nothing(size, tile, overlap):
    total = np.zeros(size)
    found = spans(size, tile, overlap, multiple=8)
    for span in found:
        total[span.start : span.stop] += span.share
        assert span.start % 8 == 0
        assert span.share.min() >= 0
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert found[-1].stop == size
    if overlap > 2 * BAND:
        for span in found:
            assert span.start == 0 or span.share[: overlap // 2 - BAND].max() == 0


def test_tiles_that_are_little_else_than_overlap_are_larger_and_it_is_said(gir, tmp_path, photograph, weights):
    assert max(span.start for span in spans(1000, 64, 200, multiple=8)) == 784  # in steps of 56
    assert spans(1000, 300, 200, multiple=8)[1].start == 96
    path = tmp_path / "in.png"
    path.write_bytes(encoded(photograph))
    done = gir("restore", "-m", weights, "--tile", "16", path, "-o", tmp_path / "out.png")
    assert "tiles of 16 pixels would be little else than overlap; they have" in done.err
    done = gir("restore", "--json", "-m", weights, "--tile", "16", path, "-o", tmp_path / "again.png")
    assert json.loads(done.out.splitlines()[0])["tile"] > 16
    done = gir("restore", "-m", weights, "--tile", "200", path, "-o", tmp_path / "usual.png")
    assert (done.status, done.err) == (0, "")


@pytest.mark.parametrize("size", [(200, 311), (97, 640), (129, 128)])
def test_tiled_equals_untiled(weights, size):
    pixels = np.random.RandomState(0).rand(*size, 3).astype(np.float32)
    whole = Restorer(weights, Way(tile="off", precision="fp32", device="cpu"))(pixels)
    tiled = Restorer(weights, Way(tile=96, precision="fp32", device="cpu"))(pixels)
    assert np.abs(whole - pixels).max() > 0.05
    assert np.abs(whole - tiled).max() < 1e-5


@pytest.mark.parametrize("tta", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (3, 2), (40, 41)])
def test_any_size_comes_back(weights, size, tta):
    pixels = np.random.RandomState(0).rand(*size, 3).astype(np.float32)
    out = Restorer(weights, Way(tta=tta))(pixels)
    assert out.shape == pixels.shape
    assert np.isfinite(out).all()
    assert out.min() >= 0 and out.max() <= 1


def test_strength_mixes_with_the_input_and_zero_is_the_input(weights, pixels):
    full = Restorer(weights, Way(precision="fp32"))(pixels)
    half = Restorer(weights, Way(precision="fp32", strength=0.5))(pixels)
    np.testing.assert_allclose(half, (full + pixels) / 2, atol=1e-6)
    np.testing.assert_array_equal(Restorer(weights, Way(strength=0.0))(pixels), pixels)


def test_the_ensemble_is_the_mean_over_flips_and_rotations(weights, pixels):
    pixels = pixels[:96, :128]
    plain = Restorer(weights, Way(precision="fp32"))
    views = []
    for turns in range(4):
        turned = np.rot90(pixels, turns)
        views.append(np.rot90(plain(np.ascontiguousarray(turned)), -turns))
        views.append(np.rot90(plain(np.ascontiguousarray(turned[:, ::-1]))[:, ::-1], -turns))
    ensemble = Restorer(weights, Way(precision="fp32", tta=True))(pixels)
    np.testing.assert_allclose(ensemble, np.mean(views, axis=0), atol=1e-5)


def test_passes_apply_the_model_again(weights, pixels):
    once = Restorer(weights, Way(precision="fp32"))
    twice = Restorer(weights, Way(precision="fp32", passes=2))(pixels)
    np.testing.assert_allclose(twice, once(once(pixels)), atol=1e-6)


def test_pixels_that_are_not_finite_are_refused(weights, pixels):
    with pytest.raises(GirError, match="NaN"):
        Restorer(weights)(np.where(pixels > 0.9, np.nan, pixels))


def test_memory_that_runs_out_halves_an_automatic_tile_but_never_one_that_was_asked_for(weights, pixels, monkeypatch):
    def frugal(self, batch):
        if batch.shape[-1] > 200:
            raise torch.OutOfMemoryError
        return real(self, batch)

    expected = Restorer(weights, Way(precision="fp32"))(pixels)
    network = type(Restorer(weights).model.network)
    real = network.forward
    monkeypatch.setattr(network, "forward", frugal)
    restorer = Restorer(weights, Way(precision="fp32"))
    np.testing.assert_allclose(restorer(pixels), expected, atol=1e-5)
    assert restorer.tile <= 200
    with pytest.raises(GirError, match="smaller --tile"):
        Restorer(weights, Way(precision="fp32", tile=256))(pixels)


@pytest.mark.parametrize("size", [(60, 150, 3), (150, 60, 3), (60, 150, 1)])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_integers_in_and_out_give_the_rounded_result_of_floats(weights, size, strength):
    restorer = Restorer(weights, Way(tile=96, precision="fp32", strength=strength))
    given = Levels(np.random.RandomState(0).randint(0, 65536, size).astype(np.uint16), 65535.0)
    out = Levels(np.empty(size, np.uint16), 65535.0)
    assert restorer(given, out) is out
    expected = restorer(np.asarray(given))
    if size[2] == 3:
        assert np.abs(np.rint(expected * 65535) - out.values).max() <= 1
    before = np.asarray(given).copy()
    restorer(before)
    np.testing.assert_array_equal(before, np.asarray(given))


@pytest.mark.parametrize("way", [Way(precision="fp32"), Way(precision="fp32", tile=32, tta=True, passes=2)])
def test_pictures_restored_together_are_as_if_alone(weights, pixels, way):
    restorer = Restorer(weights, way)
    given = [pixels[top : top + 40, :50] for top in (0, 50, 100)]
    for picture, made in zip(given, restorer.together(given, [None] * 3), strict=True):
        np.testing.assert_allclose(made, restorer(picture), atol=1e-5)


@pytest.mark.parametrize("size", [(97, 130), (64, 200)])
def test_the_ensemble_of_tiles_is_that_of_the_whole(weights, size):
    pixels = np.random.RandomState(0).rand(*size, 3).astype(np.float32)
    whole = Restorer(weights, Way(tile="off", precision="fp32", tta=True))(pixels)
    tiled = Restorer(weights, Way(tile=96, precision="fp32", tta=True))(pixels)
    assert np.abs(whole - tiled).max() < 1e-5


def test_values_beyond_the_range_are_clipped_first(weights, pixels):
    restorer = Restorer(weights, Way(precision="fp32"))
    beyond = pixels[:40, :40] * 3 - 1
    np.testing.assert_array_equal(restorer(beyond), restorer(beyond.clip(0, 1)))


class _Mean(torch.nn.Module):
    """A network that sees all: a hundredth of the picture's mean is added everywhere."""

    description = Description(reach=None)

    def forward(self, x):
        return x * 0.9 + x.mean((2, 3), keepdim=True) * 0.05


def test_tiles_of_a_model_that_sees_all_pass_into_one_another(weights, monkeypatch):
    restorer = Restorer(weights, Way(tile=192, precision="fp32", device="cpu"))
    monkeypatch.setattr(restorer, "model", Model(_Mean(), {}))
    ramp = np.tile(np.linspace(0.1, 0.9, 700, dtype=np.float32)[:, None], (40, 1, 3))
    steps = np.diff(restorer(ramp)[20, :, 0].astype(float))
    assert steps.min() > 0
    usual = 0.9 * 0.8 / 699
    assert steps.max() - usual < 0.05 * 0.8 * (192 - WIDE_BAND) / 700 / WIDE_BAND


def test_a_model_that_sees_all_gets_the_whole_picture_where_memory_allows(weights, monkeypatch):
    restorer = Restorer(weights, Way(precision="fp32", device="cpu"))
    monkeypatch.setattr(restorer, "model", Model(_Mean(), {}))
    monkeypatch.setattr("gir_cli.restore.free_memory", lambda device: 400 << 30)
    assert restorer.tile > 8192


def test_the_self_check_is_made_once_for_weights_and_machine(weights, tmp_path, monkeypatch):
    checks = []
    monkeypatch.setattr("gir_cli.restore.fast_precision", lambda device: torch.bfloat16)
    monkeypatch.setattr(Restorer, "_agrees", lambda self, precision: checks.append(precision) or True)

    def precision():
        return Restorer(weights, checks=tmp_path).precision

    assert precision() == precision() == torch.bfloat16
    assert len(checks) == 1
    monkeypatch.setattr("gir_cli.restore.described", lambda device: "another machine")
    precision()
    assert len(checks) == 2
    for damage in (b"", b"{", b'{"found": false}', b"[1]"):
        for path in tmp_path.iterdir():
            path.write_bytes(damage)
        assert precision() == torch.bfloat16
    assert len(checks) == 6
    assert Restorer(weights, checks=tmp_path / "no" / "\0").precision == torch.bfloat16


@pytest.fixture(scope="module")
def fragile(tmp_path_factory):
    """Return a weights file whose network is the identity in fp32, and gives NaN in bf16.

    A bias of 3.4e38 is finite in fp32, infinite in bf16; the zeros by which it is multiplied make NaN of that.
    """
    network = built("girnet", CONFIG)
    with torch.no_grad():
        network.down_blocks[0][0].widen.bias[0] = 3.4e38
    path = tmp_path_factory.mktemp("weights") / "fragile.safetensors"
    save(path, network.state_dict(), {"name": "fragile", "model": "girnet", "config": config_of(network), "scale": 1})
    return path


def test_nan_of_low_precision_is_redone_in_fp32_and_told(fragile, weights, pixels):
    restorer = Restorer(fragile, Way(precision="bf16", tile=128))
    np.testing.assert_allclose(restorer(pixels), pixels, atol=1e-6)
    assert restorer.redone == {0}
    for sound in (Restorer(fragile, Way(precision="fp32")), Restorer(weights, Way(precision="bf16"))):
        sound(pixels)
        assert sound.redone == set()


def test_of_pictures_together_only_those_with_nan_are_redone(weights, pixels, monkeypatch):
    restorer = Restorer(weights, Way(precision="bf16"))
    given = [pixels[:64, :96], pixels[64:128, :96]]
    alone = restorer(given[0])
    real = restorer._forward

    def failing(batch, precision, sigma):
        out = real(batch, precision, sigma).clone()
        if precision == torch.bfloat16:
            out[1, 0, 5, 5] = -torch.inf
        return out

    monkeypatch.setattr(restorer, "_forward", failing)
    first, second = restorer.together(given, [None, None])
    assert restorer.redone == {1}
    assert np.abs(first - alone).max() < 1 / 255
    np.testing.assert_allclose(second, Restorer(weights, Way(precision="fp32"))(given[1]), atol=1e-5)


@pytest.mark.parametrize(
    "way",
    [{"strength": -1}, {"strength": 2}, {"strength": float("nan")}, {"passes": 0}, {"precision": "x"}, {"tile": "x"}],
)
def test_a_way_that_means_nothing_is_refused(way):
    with pytest.raises(UsageError, match=next(iter(way))):
        Way(**way)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((4, 4), "f4"),
        np.zeros((4, 4, 4), "f4"),
        np.zeros((0, 4, 3), "f4"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(weights, array):
    with pytest.raises(UsageError, match="float32 of shape"):
        Restorer(weights)(array)


def test_an_unknown_device_is_named():
    from gir_cli.devices import device_of

    with pytest.raises(UsageError, match="--device=meta"):
        device_of("meta")
    with pytest.raises(UsageError, match="--device=tpu"):
        device_of("tpu")


# ---- the command


def test_a_pipe_of_both_commands(process, photograph, weights):
    worse = process("degrade", "--noise", "25", "--blur", "2", stdin=encoded(photograph))
    better = process("restore", "-m", weights, stdin=worse.out)
    assert (better.status, better.err) == (0, "")
    assert decoded(better.out).shape == photograph.shape


def test_every_restored_file_says_how_it_was_made_unless_asked_not_to(gir, png, weights):
    data = gir("restore", "-m", weights, "--strength", "0.5", png).out
    said = provenance.read(data)
    assert said["program"] == "gir"
    assert said["options"]["strength"] == 0.5
    assert said["input_sha256"] == provenance.digest(png.read_bytes())
    assert said["weights_sha256"] == provenance.digest(weights.read_bytes())
    assert provenance.read(gir("restore", "-m", weights, "--no-provenance", png).out) is None


def test_alpha_depth_and_gray_come_through(gir, photograph, weights):
    alpha = np.tile(np.linspace(0, 65535, 384).astype(np.uint16), (256, 1))
    deep = np.dstack([photograph.astype(np.uint16) * 257, alpha])
    back = decoded(gir("restore", "-m", weights, stdin=cv2.imencode(".png", deep)[1].tobytes()).out)
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(cv2.cvtColor(back[..., ::-1].copy(), cv2.COLOR_BGRA2RGBA)[..., 3], alpha)
    assert decoded(gir("restore", "-m", weights, stdin=encoded(photograph[..., 0])).out).ndim == 2


def test_a_tree_is_mirrored_and_skipped_the_second_time(gir, tmp_path, photograph, weights):
    for name in ("a.png", "deep/b.jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photograph[:64, :64], path.suffix))
    first = gir("restore", "-m", weights, "-r", tmp_path / "in", "-o", tmp_path / "out")
    assert (first.status, first.err) == (0, "gir: 2 done\n")
    assert (tmp_path / "out/deep/b.jpg").exists()
    again = gir("restore", "-m", weights, "-r", "--skip-existing", "--json", tmp_path / "in", "-o", tmp_path / "out")
    assert json.loads(again.out.splitlines()[-1]) == {"summary": {"done": 0, "failed": 0, "skipped": 2}}


def test_update_redoes_what_is_older_than_the_weights(gir, tmp_path, png, weights):
    out = tmp_path / "out.png"
    assert gir("restore", "-m", weights, png, "-o", out).status == 0
    os.utime(png, (1000, 1000))  # long before the weights, so that they alone decide
    later = weights.stat().st_mtime + 10
    os.utime(out, (later, later))
    run = ["restore", "-m", weights, "--update", "--json", png, "-o", out]
    assert b'"skipped": 1' in gir(*run).out
    os.utime(out, (later - 20, later - 20))
    assert b'"done": 1' in gir(*run).out


def test_one_bad_file_does_not_stop_the_rest(gir, tmp_path, photograph, weights):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        (folder / name).write_bytes(encoded(photograph[:64, :64]))
    (folder / "b.png").write_bytes(encoded(photograph)[:5000])
    done = gir("restore", "-m", weights, folder, "-o", tmp_path / "out", "-j", "2")
    assert done.status == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    assert done.err.splitlines()[-1] == "gir: 2 done, 1 failed"


def test_any_number_of_workers_gives_the_same_bytes(gir, tmp_path, photograph, weights):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(encoded(photograph[number : 40 + number, :50]))
    outs = []
    for jobs in (1, 4):
        assert gir("restore", "-m", weights, folder, "-o", tmp_path / str(jobs), "-j", jobs).status == 0
        outs.append([path.read_bytes() for path in sorted((tmp_path / str(jobs)).iterdir())])
    assert outs[0] == outs[1]


def test_small_files_of_one_size_go_together_and_come_out_as_alone(gir, tmp_path, photograph, weights, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    for number, size in enumerate([(40, 50)] * 5 + [(41, 50), (40, 50)]):
        (folder / f"{number}.png").write_bytes(encoded(photograph[number:, number:][: size[0], : size[1]]))
    (folder / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    together, sizes = Restorer.together, []
    monkeypatch.setattr(
        Restorer, "together", lambda self, pictures, outs: sizes.append(len(pictures)) or together(self, pictures, outs)
    )
    done = gir("restore", "-m", weights, folder, "-o", tmp_path / "out", "-j", "2")
    assert (done.status, sizes) == (1, [2, 2, 1, 1])
    for path in sorted((tmp_path / "out").iterdir()):
        alone = decoded(gir("restore", "-m", weights, folder / path.name).out)
        assert np.abs(decoded(path.read_bytes()).astype(int) - alone).max() <= 1


@pytest.mark.parametrize("tile", ["auto", "96"])
def test_files_restored_beside_each_other_come_out_in_order_and_as_alone(gir, tmp_path, photograph, weights, tile):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.png").write_bytes(encoded(photograph[number:, : 384 - 9 * number]))
    (folder / "05.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    run = ["restore", "-m", weights, "--precision", "fp32", "--tile", tile, "--threads", 3]
    done = gir(*run, "--json", folder, "-o", tmp_path / "out")
    assert done.status == 1
    *told, summary = map(json.loads, done.out.splitlines())
    assert [Path(line["input"]).name for line in told] == [f"{number:02}.png" for number in range(12)]
    assert summary == {"summary": {"done": 11, "failed": 1, "skipped": 0}}
    for path in sorted((tmp_path / "out").iterdir()):
        alone = decoded(gir(*run, folder / path.name).out)
        assert np.abs(decoded(path.read_bytes()).astype(int) - alone).max() <= 1


def test_a_crew_shares_its_weights_and_no_layers(weights):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        crew = Crew(Restorer(weights, Way(device="cpu")), 2)
        first, second = (one.model.network for one in crew.all)
        assert not set(first.modules()) & set(second.modules())
        pairs = zip(first.parameters(), second.parameters(), strict=True)
        assert all(one.data_ptr() == other.data_ptr() for one, other in pairs)
        with crew.one(LARGE):
            assert torch.get_num_threads() == 3
        with crew.one(100), crew.one(100):
            assert torch.get_num_threads() == 1
            assert crew.idle.empty()
    finally:
        torch.set_num_threads(threads)


def test_one_of_a_crew_that_is_dismissed_stops_at_its_next_tile(weights, pixels):
    crew = Crew(Restorer(weights, Way(device="cpu", tile=96)), 2)
    crew.dismiss()
    with crew.one(100) as restorer, pytest.raises(GirError, match="interrupted"):
        restorer(pixels)


def test_wrong_weights_end_a_run_over_many_files(gir, tmp_path, photograph):
    for number in range(9):
        (tmp_path / f"{number}.png").write_bytes(encoded(photograph))
    (tmp_path / "wrong.safetensors").write_bytes(b"none")
    done = gir("restore", "-m", tmp_path / "wrong.safetensors", *tmp_path.glob("*.png"), "-o", tmp_path / "out")
    assert (done.status, len(done.err.splitlines())) == (3, 1)
    assert "wrong.safetensors" in done.err


def test_several_devices_share_out_the_files(process, gir, tmp_path, photograph, weights):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(encoded(photograph[number : 40 + number, : 50 + number]))
    (folder / "5.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    run = ["restore", "-m", weights, "--no-provenance", folder, "-o"]
    assert gir(*run, tmp_path / "one").status == 1
    done = process(*run, tmp_path / "two", "--device", "cpu,cpu")
    assert done.status == 1
    assert done.err.splitlines() == [f"gir: {folder}/5.png: truncated PNG", "gir: 5 done, 1 failed"]
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.skipif(not shutil.which("c++"), reason="there is no compiler")
def test_compiled_the_network_gives_the_same(process, png, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    run = ["restore", "--precision", "fp32", "-m", weights, png]
    compiled, plain = process(*run, "--compile", timeout=600), process(*run)
    assert (compiled.status, compiled.err) == (0, "")
    assert np.abs(decoded(compiled.out).astype(int) - decoded(plain.out)).max() <= 1
    assert os.listdir(tmp_path / "cache")


def test_without_a_compiler_the_network_cannot_be_compiled(process, png, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    done = process("restore", "--compile", "--device", "cpu", "-m", weights, png)
    assert (done.status, done.out) == (2, b"")
    assert done.err.startswith("gir: --compile is not possible here: ") and done.err.count("\n") == 1


def test_nan_in_low_precision_is_said_of_each_picture(process, tmp_path, photograph, fragile):
    names = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in names:
        path.write_bytes(encoded(photograph[:40, :50]))
    run = ["restore", "-m", fragile, "--precision", "bf16", *names, "-o", tmp_path / "out/"]
    done = process(*run)
    said = "bfloat16 gave NaN or infinity: redone in fp32"
    assert (done.status, done.out) == (0, b"")
    assert done.err.splitlines() == [*(f"gir: {path}: {said}" for path in names), "gir: 2 done"]
    np.testing.assert_array_equal(decoded((tmp_path / "out" / "a.png").read_bytes()), photograph[:40, :50])
    assert process(*run, "-q").err == ""
    for precision, redone in (("bf16", True), ("fp32", False)):
        told = process(*run, "--json", "--precision", precision)
        facts = [json.loads(line) for line in told.out.splitlines()[:2]]
        assert [one["redone_in_fp32"] for one in facts] == [redone, redone]


def test_several_devices_cannot_share_a_stream(gir, photograph, weights):
    done = gir("restore", "-m", weights, "--device", "cuda:0,1", stdin=encoded(photograph))
    assert (done.status, done.out) == (2, b"")
    assert "single --device" in done.err


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1), (2, 3), (33, 47)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_files_of_any_size_and_depth_come_back(gir, size, dtype, weights):
    values = np.random.RandomState(0).randint(0, np.iinfo(dtype).max, (*size, 3)).astype(dtype)
    back = decoded(gir("restore", "-m", weights, stdin=encoded(values)).out)
    assert (back.shape, back.dtype) == (values.shape, dtype)


def test_floats_beyond_the_range_come_back_within_it_and_nan_is_one_line(gir, tmp_path, pixels, weights):
    beyond = pixels[:40, :50] * 3 - 1
    for name, values in (("beyond", beyond), ("nan", np.where(beyond == beyond.max(), np.float32(np.nan), beyond))):
        tifffile.imwrite(tmp_path / f"{name}.tif", values, photometric="rgb")
    done = gir("restore", "-m", weights, tmp_path / "beyond.tif", "-o", tmp_path / "out.tif")
    assert done.status == 0
    assert done.err.endswith("beyond.tif: values beyond [0, 1] are clipped: models know none\n")
    back = tifffile.imread(tmp_path / "out.tif")
    assert back.dtype == np.float32 and back.shape == (40, 50, 3) and back.min() >= 0 and back.max() <= 1
    done = gir("restore", "-m", weights, tmp_path / "nan.tif", "-o", tmp_path / "no.tif")
    assert (done.status, done.err) == (1, f"gir: {tmp_path}/nan.tif: holds NaN or infinite values\n")


PEAK = """
import resource, sys
from gir_cli.cli import main
status = main(sys.argv[1:])
print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere ru_maxrss is in other units")
def test_memory_grows_with_the_files_own_integers_not_with_floats(tmp_path, photograph, weights):
    def peak(height, width):
        rows, columns = -(-height // 256), -(-width // 384)
        values = np.tile(photograph, (rows, columns, 1))[:height, :width]
        (tmp_path / "in.png").write_bytes(cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
        run = [
            "restore",
            "-m",
            weights,
            "--tile",
            "256",
            "--threads",
            "1",
            tmp_path / "in.png",
            "-o",
            tmp_path / "o.png",
        ]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *map(str, run)],
            capture_output=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        status, kilobytes = done.stdout.split()
        assert status == b"0"
        return int(kilobytes) * 1024

    more = peak(3200, 5000) - peak(800, 1250)
    # Input, output, both files, and a codec's copy of one are 5 times 3 bytes a pixel; one float picture would be 12.
    assert more < 20 * (3200 * 5000 - 800 * 1250)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["-m", "nothing"], 3, "no weights are called 'nothing' (searched: "),
        (["-m", "./no.safetensors"], 3, "no.safetensors: no such weights file"),
        (["--tile", "big"], 2, "--tile=big"),
        (["--strength", "2"], 2, "--strength=2 is out of range (0 to 1)"),
        (["--device", "tpu"], 2, "--device=tpu"),
    ],
)
def test_what_cannot_be_is_one_line(gir, png, weights, arguments, status, says):
    model = [] if "-m" in arguments else ["-m", weights]
    done = gir("restore", *model, *arguments, png, "-o", png.parent / "out.png")
    assert done.status == status
    assert len(done.err.splitlines()) == 1
    assert says in done.err
    assert not (png.parent / "out.png").exists()
