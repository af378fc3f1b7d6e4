"""gir restore with networks that enlarge, are gray, want to know the noise, or take what pictures are not."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from pictures import decoded, encoded
from test_models import SMALL, network

from gir_cli import restore
from gir_cli.errors import UsageError
from gir_cli.estimate import noise_level
from gir_cli.models import MODELS
from gir_cli.restore import Restorer, Way
from gir_cli.weights import Model, built, config_of, save


@pytest.fixture
def published(tmp_path):
    """Return a function that writes a small network as others publish theirs, and returns the path."""

    def write(name, **config):
        path = tmp_path / f"{name}.pth"
        torch.save({"params": network(name, **config).state_dict()}, path)
        return path

    return write


@pytest.mark.parametrize(("name", "scale"), [("srresnet", 4), ("srvgg", 3), ("rrdbnet", 2)])
def test_tiles_of_enlarging_models_give_the_same_as_the_whole(published, pixels, name, scale):
    path = published(name, scale=scale)
    pixels = pixels[:70, :90]
    whole = Restorer(path, Way(tile="off", precision="fp32", device="cpu"))(pixels)
    tiled = Restorer(path, Way(tile=48, precision="fp32", device="cpu"))(pixels)
    assert whole.shape == (70 * scale, 90 * scale, 3)
    assert np.abs(whole - tiled).max() < 1e-5


@pytest.mark.parametrize("name", ["ffdnet", "fdncnn"])
def test_tiles_of_models_that_are_told_the_noise_give_the_same_as_the_whole(published, pixels, name):
    path, pixels = published(name), pixels[:71, :90]
    for level in (None, 20):
        whole, tiled = (
            Restorer(path, Way(tile=tile, precision="fp32", device="cpu", noise_level=level))(pixels)
            for tile in ("off", 48)
        )
        assert np.abs(whole - tiled).max() < 1e-5


def test_alpha_is_enlarged_with_the_picture(gir, photograph, published):
    alpha = np.tile(np.linspace(1, 255, 60).astype(np.uint8), (40, 1))
    given = cv2.imencode(".png", np.dstack([photograph[:40, :60, ::-1], alpha]))[1].tobytes()
    back = cv2.imdecode(
        np.frombuffer(gir("restore", "-m", published("srresnet", scale=2), stdin=given).out, np.uint8), -1
    )
    assert back.shape == (80, 120, 4)
    assert np.abs(back[::2, ::2, 3].astype(int) - alpha).max() <= 3


def test_gray_models_restore_each_channel_and_gray_pictures_once(published, pixels):
    path = published("srresnet", channels=1)
    restorer = Restorer(path, Way(precision="fp32"))
    pixels = pixels[:40, :60]
    out = restorer(pixels)
    for channel in range(3):
        alone = restorer(np.repeat(pixels[..., channel : channel + 1], 3, axis=2))
        np.testing.assert_allclose(out[..., channel], alone[..., 0], atol=1e-6)
        assert (alone[..., 0] == alone[..., 2]).all()


def test_models_for_two_views_are_refused_in_one_line(gir, png, published):
    done = gir(
        "restore", "-m", published("restormer", ending="dual-pixel", channels=6), png, "-o", png.parent / "o.png"
    )
    assert done.status == 2
    assert "takes 6 channels" in done.err and len(done.err.splitlines()) == 1


def test_the_noise_level_reaches_the_model(published, pixels):
    path = published("ffdnet")
    pixels = pixels[:40, :60]
    out = Restorer(path, Way(precision="fp32", noise_level=30))(pixels)
    model = Model(network("ffdnet"), {})
    expected = model(torch.from_numpy(pixels).permute(2, 0, 1)[None], sigma=30 / 255)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("level", [5, 15, 25, 50])
def test_the_noise_is_estimated_from_the_picture(pixels, level):
    noisy = pixels + np.random.RandomState(1).standard_normal(pixels.shape) * level / 255
    assert noise_level(noisy) == pytest.approx(level, rel=0.15, abs=1.5)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (8, 8, 3)])
def test_pictures_without_details_have_no_noise(shape):
    assert noise_level(np.full(shape, 0.5, np.float32)) == 0


def test_an_estimate_is_said_and_a_given_level_is_not_called_one(gir, png, published):
    path, out = published("ffdnet"), png.parent / "out.png"
    facts = json.loads(gir("restore", "-m", path, "--json", png, "-o", out).out.splitlines()[0])
    assert facts["noise_estimated"] is True and 0 < facts["noise_level"] < 20
    facts = json.loads(gir("restore", "-m", path, "--json", "--noise-level", "15", png, "-o", out).out.splitlines()[0])
    assert (facts["noise_estimated"], facts["noise_level"]) == (False, 15)
    said = gir("restore", "-m", path, png, "-o", out).err
    assert "noise level estimated as" in said and "terms of their code" in said


def test_a_blind_model_refuses_a_noise_level(published):
    with pytest.raises(UsageError, match="--noise-level=15: this model is blind"):
        Restorer(published("srresnet"), Way(noise_level=15))


def test_a_published_checkpoint_works_in_a_pipe(gir, photograph, published):
    out = gir("restore", "-m", published("srvgg", scale=2), stdin=encoded(photograph[:30, :40])).out
    assert decoded(out).shape == (60, 80, 3)


@pytest.mark.parametrize("level", [None, 20])
def test_a_gray_file_is_denoised_from_end_to_end(gir, photograph, published, level):
    path, gray = published("ffdnet", channels=1), photograph[:41, :57, 1]
    told = [] if level is None else ["--noise-level", level]
    given = cv2.imencode(".png", gray)[1].tobytes()
    done = gir("restore", "-m", path, "--precision", "fp32", *told, stdin=given)
    back = cv2.imdecode(np.frombuffer(done.out, np.uint8), cv2.IMREAD_UNCHANGED)
    batch = torch.from_numpy(gray / np.float32(255))[None, None]
    sigma = (noise_level(batch[0].permute(1, 2, 0).numpy()) if level is None else level) / 255
    expected = Model(network("ffdnet", channels=1), {})(batch, sigma=sigma)[0, 0].numpy()
    assert back.shape == gray.shape
    assert np.abs(back - 255 * expected).max() < 0.51
    assert ("noise level estimated as" in done.err) == (level is None)


def test_a_blind_denoiser_works_from_end_to_end(gir, photograph, published):
    path, picture = published("dncnn"), photograph[:41, :57]
    back = decoded(gir("restore", "-m", path, "--precision", "fp32", stdin=encoded(picture)).out)
    batch = torch.from_numpy(picture / np.float32(255)).permute(2, 0, 1)[None]
    expected = Model(network("dncnn"), {})(batch)[0].permute(1, 2, 0).numpy()
    assert np.abs(back - 255 * expected).max() < 0.51
    done = gir("restore", "-m", path, "--noise-level", "15", stdin=encoded(picture))
    assert (done.status, done.out) == (2, b"")
    assert done.err.endswith("--noise-level=15: this model is blind; it is not told the noise\n")


@pytest.mark.parametrize("name", MODELS)
def test_every_model_runs_in_bf16_and_channels_last_where_that_is_fast_and_agrees(name, tmp_path, monkeypatch):
    monkeypatch.setattr(restore, "fast_precision", lambda device: torch.bfloat16)
    made, path = built(name, SMALL[name]), tmp_path / "w.safetensors"
    save(path, made.state_dict(), {"model": name, "config": config_of(made), "scale": 1})
    restorer = Restorer(path, Way(device="cpu"))
    assert restorer.precision == torch.bfloat16
    kernels = [layer.weight for layer in restorer.model.network.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_a_model_that_disagrees_in_bf16_runs_in_fp32(published, monkeypatch):
    monkeypatch.setattr(restore, "fast_precision", lambda device: torch.bfloat16)
    monkeypatch.setattr(restore, "AGREEMENT", 200)
    assert Restorer(published("srresnet"), Way(device="cpu")).precision == torch.float32


@pytest.mark.parametrize(("trained_here", "differs"), [(True, False), (False, True)])
def test_only_published_models_are_given_values_beyond_black_and_white(tmp_path, pixels, trained_here, differs):
    made, path = network("dncnn"), tmp_path / "made.safetensors"
    record = {"model": "dncnn", "config": config_of(made), "scale": 1}
    save(path, made.state_dict(), record | ({"train": {}} if trained_here else {}))
    beyond = 1.5 * pixels[:40, :60] - 0.25
    clipped, given = (Restorer(path, Way(precision="fp32", clip=clip))(beyond) for clip in (True, False))
    assert (np.abs(clipped - given).max() > 1e-4) == differs
