"""Tiles of models that take something of the whole picture: a mean, an attention between channels, a prompt."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from test_models import network

from gir_cli.models.detail import Details
from gir_cli.models.histogram import Levels
from gir_cli.models.whole import Place, Stretched, found, part, shared
from gir_cli.restore import Restorer, Way
from gir_cli.views import VIEWS, Ends, counts, reduced, sample
from gir_cli.weights import Model, config_of, save

NAMES = ("nafnet", "restormer", "promptir", "xrestormer", "girnet")
# What a network needs to take of the whole.
TONING = {"girnet": {"toner": 6, "histogram": 8, "detail": 8, "experts": 2}}
TILED = {"tile": 256, "overlap": 208}  # enough for these small networks


@pytest.fixture
def restorer(tmp_path):
    """Return a function that makes a restorer of a small random network of a name."""

    def make(name, channels=3, **way):
        made = network(name, **TONING.get(name, {"channels": channels}))
        for key, parameter in made.named_parameters():  # so that attention depends on the picture
            parameter.data *= 30 if key.endswith("temperature") else 4 if name == "nafnet" else 1
        path = tmp_path / f"{name}.safetensors"
        save(path, made.state_dict(), {"model": name, "config": config_of(made), "scale": 1})
        return Restorer(path, Way(**{"precision": "fp32", "device": "cpu"} | way))

    return make


@pytest.fixture
def exact(monkeypatch):
    """Let the whole picture be its own sample, so that tiles share what the picture shows."""
    monkeypatch.setattr(Restorer, "_sample", lambda self, picture, side: picture[:, :])


@pytest.fixture
def uneven(pixels):
    """Return a photograph whose ends differ."""
    wide = np.concatenate((pixels[:44, :200], pixels[-44:, -119:]), 1)
    return wide * np.linspace(0.2, 1, wide.shape[1], dtype=np.float32)[:, None]


@pytest.mark.parametrize("name", NAMES)
class TestEveryModelThatTakesTheWhole:
    def test_gives_tiles_of_the_whole_where_they_share_what_it_shows(self, name, restorer, uneven, exact, monkeypatch):
        whole = restorer(name, tile="off")(uneven)
        assert np.abs(restorer(name, **TILED)(uneven) - whole).max() < 5e-5
        monkeypatch.setattr(Restorer, "_shares", False)
        assert np.abs(restorer(name, **TILED)(uneven) - whole).max() > 1e-4

    def test_keeps_a_ramp_free_of_seams(self, name, restorer):
        ramp = np.tile(np.linspace(0.1, 0.9, 500, dtype=np.float32)[:, None], (64, 1, 3))
        tiled = restorer(name, **TILED)
        once = Model(tiled.model.network, {})
        [quantities] = tiled._found([ramp], None)
        with shared(once.network, quantities, Place((0, 1), (0, 1))):
            steps = np.diff(once(_batch(ramp))[0, 0, 30].numpy().astype(float))
        tiled_steps = np.diff(tiled(ramp)[30, :, 0].astype(float))
        assert np.abs(tiled_steps - steps).max() < 1 / 65535
        assert (tiled_steps > 0).all() or not (steps > 0).all()

    def test_is_the_same_as_before_after_its_tiles(self, name, restorer, uneven):
        tiled = restorer(name, **TILED)
        before = tiled.model(_batch(uneven))
        tiled(uneven)
        assert not any(layer._forward_hooks for layer in tiled.model.network.modules())
        assert torch.equal(tiled.model(_batch(uneven)), before)

    def test_has_only_the_tensors_that_are_published(self, name):
        tensors = network(name, **TONING.get(name, {})).state_dict()
        assert not [key for key in tensors if "whole" in key or "stretched" in key]


def _batch(pixels):
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]


@pytest.mark.parametrize("high", [False, True])
def test_every_view_of_the_ensemble_shares_what_it_shows(restorer, uneven, exact, high):
    given = np.ascontiguousarray(uneven.swapaxes(0, 1)) if high else uneven
    whole, tiled = (restorer("promptir", tta=True, **way)(given) for way in ({"tile": "off"}, TILED))
    assert np.abs(tiled - whole).max() < 1e-5


@pytest.mark.parametrize("tta", [False, True])
@pytest.mark.parametrize("beyond", [0, 0.3])
@pytest.mark.parametrize("size", [(37, 319), (319, 43)])
def test_tiles_are_toned_as_the_whole_is_whatever_its_sides_and_range(restorer, pixels, tta, beyond, size):
    given = pixels[: size[0], : size[1]] * (1 + 2 * beyond) - beyond
    given = np.ascontiguousarray(np.resize(given, (*size, 3)))
    whole, tiled = (restorer("girnet", tta=tta, **way)(given) for way in ({"tile": "off"}, TILED))
    assert np.abs(tiled - whole).max() < 1e-5


def test_pictures_restored_together_share_nothing_with_each_other(restorer, uneven):
    tiled = restorer("promptir", **TILED)
    given = [uneven, uneven[:, ::-1] ** 2]
    for picture, made in zip(given, tiled.together(given, [None] * 2), strict=True):
        np.testing.assert_allclose(made, tiled(picture), atol=1e-5)


def test_gray_tiles_of_a_coloured_picture_keep_to_its_channels(restorer, uneven, exact):
    given = uneven.copy()
    given[:, :250] = given[:, :250, 1:2]
    whole, tiled = (restorer("nafnet", channels=1, **way)(given) for way in ({"tile": "off"}, TILED))
    assert np.abs(tiled - whole).max() < 1e-5


@pytest.mark.skipif(not shutil.which("c++"), reason="there is no compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_compiled_a_network_shares_too(restorer, uneven, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    plain = restorer("girnet", **TILED)(uneven)
    assert np.abs(restorer("girnet", compile=True, **TILED)(uneven) - plain).max() < 1e-4
    assert list((tmp_path / "cache").iterdir())


def test_tiles_are_given_the_histogram_of_the_whole(restorer, uneven):
    given = np.rint(255 * uneven[:40, :312] ** 2) / 255
    tiled = restorer("girnet", **TILED)
    network = tiled.model.network
    with found(network) as quantities:
        tiled.model(_batch(given.astype(np.float32)))
    [shared_ones] = tiled._found([given], None)
    [counted] = [layer for layer in network.modules() if isinstance(layer, Levels)]
    wanted = np.bincount(np.rint(255 * given).astype(int).ravel(), minlength=256)
    np.testing.assert_array_equal(shared_ones[counted][0], wanted)
    np.testing.assert_allclose(quantities[counted][0] / quantities[counted].sum(), wanted / wanted.sum(), atol=2e-3)


@pytest.mark.parametrize("layer", [Levels(), Details()])
def test_what_bands_have_of_a_picture_adds_up_to_what_it_has(monkeypatch, layer):
    picture = np.random.RandomState(0).rand(61, 41, 3).astype(np.float32) ** 2
    wanted = layer.counts(_batch(picture))[0]
    for values in (1 << 20, 2000, 1):
        monkeypatch.setattr("gir_cli.views.BAND_VALUES", values)
        np.testing.assert_allclose(counts(picture, layer), wanted, atol=1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 9), (5, 1)])
def test_of_what_a_thin_picture_has_none_nothing_is_counted(shape):
    thin = np.full((*shape, 3), 0.5, np.float32)
    assert counts(thin, Details()).tolist() == [0] * 192
    assert counts(thin, Levels()).sum() == thin.size


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_histogram_is_counted_by_bands(monkeypatch, dtype):
    picture = np.random.RandomState(0).randint(-20, 300, (37, 41, 3)).astype(dtype) / 255
    wanted = np.bincount(np.rint(255 * picture).clip(0, 255).astype(int).ravel(), minlength=256)
    for values in (1 << 20, 500, 1):
        monkeypatch.setattr("gir_cli.views.BAND_VALUES", values)
        np.testing.assert_array_equal(counts(picture, Levels()), wanted)


def test_low_precision_shares_too(restorer, uneven, exact):
    whole = restorer("promptir", tile="off")(uneven)
    tiled = restorer("promptir", precision="bf16", **TILED)(uneven)
    assert np.abs(tiled - whole).max() < 0.02


def test_a_part_of_stretched_maps_is_that_of_the_whole():
    maps = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(1))
    whole = Stretched()(maps, 24, 40)
    found_there = part(maps, 8, 12, Place((4 / 24, 12 / 24), (20 / 40, 32 / 40)))
    assert (found_there - whole[..., 4:12, 20:32]).abs().max() < 1e-6


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_knows_where_a_tile_lies_and_the_way_back(view):
    pictures = np.random.RandomState(0).rand(2, 7, 9, 3)
    rows, columns = view.ends(Ends(1, 3, 7), Ends(4, 9, 9))
    seen = view.of(pictures)
    assert seen.shape[1:3] == (rows.size, columns.size)
    tile = seen[:, rows.start : rows.stop, columns.start : columns.stop]
    np.testing.assert_array_equal(tile, view.of(pictures[:, 1:3, 4:9]))
    np.testing.assert_array_equal(view.back(seen), pictures)


def test_a_sample_is_of_pieces_from_end_to_end_as_they_are():
    y, x = np.mgrid[0:300, 0:1000]
    picture = np.stack((y, x), -1)
    taken = sample(picture, 256)
    assert taken.shape == (256, 256, 2)
    np.testing.assert_array_equal(taken[32:64, 64:96], picture[taken[32, 64, 0] :, taken[32, 64, 1] :][:32, :32])
    assert taken[0, 0].tolist() == [0, 0] and taken[-1, -1].tolist() == [299, 999]


@pytest.mark.parametrize("side", [16, 40, 256])
def test_a_sample_is_never_larger_than_a_tile_and_a_small_picture_is_its_own(side):
    picture = np.random.RandomState(0).rand(100, 41, 3)
    taken = sample(picture, side)
    assert max(taken.shape) <= side
    if side == 256:
        np.testing.assert_array_equal(taken, picture)


def test_a_reduced_picture_shows_all_of_it_by_means():
    picture = np.random.RandomState(0).rand(96, 640, 3).astype(np.float32)
    exact = picture.repeat(2, 0).reshape(64, 3, 640, 3).mean(1)
    np.testing.assert_allclose(reduced(picture[:, :64], 64, 8), exact[:, :64], atol=1e-6)  # 1.5 rows each
    taken = reduced(picture, 35, 8)  # 32 is the next multiple below
    np.testing.assert_allclose(taken, picture.reshape(32, 3, 32, 20, 3).mean((1, 3)), atol=1e-6)
    np.testing.assert_array_equal(reduced(picture, 640, 8), picture)
