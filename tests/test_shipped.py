"""The weights that come with the program: whole, documented, and as good as they were."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pictures import ROOT, decoded, encoded, psnr
from skimage import data

from gir_cli import records
from gir_cli.chain import apply, draw, parse
from gir_cli.cli.places import DEFAULT_MODEL
from gir_cli.restore import Restorer, Way
from gir_cli.rng import stream

WEIGHTS = sorted((ROOT / "weights").glob("*.safetensors"))
DEFAULT = ROOT / "weights" / f"{DEFAULT_MODEL}.safetensors"

#: Weights -> chain -> least gain in dB over the input on the photograph, a little under what was measured.
FLOORS: dict[str, dict[str, float]] = {
    "gir": {
        "noise:25": 11.0,
        "noise:50": 13.6,
        "shot:150": 8.7,
        "rain:0.0007": 9.4,
        "holes:5,width=5": 14.2,
        "blur:2 noise:25": 8.0,
        "blur:2": 2.0,
        "down:2": 0.5,
        "noise:25 jpeg:20": 3.35,
        "jpeg:10": 1.12,
        "jpeg:40": 1.0,
        "jpeg:40,dx=3,dy=5": 0.6,
        "haze:0.6": 13.2,
        "haze:1.2": 12.2,
        "haze:1.8": 15.2,
        "dark:2": 16.5,
        "dark:2.8": 16.6,
        "camera:0.006": 7.2,
        "camera:0.003 jpeg:90": 2.55,
    },
    "gir-small": {
        "noise:25": 10.2,
        "noise:50": 12.9,
        "rain:0.0007": 7.2,
        "blur:2 noise:25": 7.7,
        "blur:2": 1.3,
        "jpeg:10": 0.68,
        "haze:1.2": -0.1,
    },
}

#: Weights -> photograph of scikit-image -> least PSNR in dB of the clean picture restored, as above.
CLEAN: dict[str, dict[str, float]] = {
    "gir": {"astronaut": 45.0, "brick": 46.0, "camera": 47.5, "coffee": 39.4, "rocket": 36.8},
    "gir-small": {"astronaut": 43.3, "camera": 41.2, "coffee": 39.8, "rocket": 41.3},
}


def test_the_default_model_is_there():
    assert DEFAULT in WEIGHTS


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
class TestEveryWeightsFile:
    def test_is_small_enough(self, path):
        assert path.stat().st_size <= 16 << 20
        if path.stem == "gir-small":
            assert records.parameters(path) <= 700_000
            assert path.stat().st_size <= 1_500_000

    def test_says_how_it_came_to_be(self, path):
        record = records.record(path)
        assert record["name"] == path.stem
        assert record["license"]
        trained = record["train"]
        assert trained["command"].startswith("gir train --data photos")
        for name in ("distribution", "seed", "steps_done", "images", "seconds", "commit", "torch", "data_digest"):
            assert trained[name] not in (None, ""), name
        assert "/" not in json.dumps(trained["data"])
        assert record["scores"]


@pytest.fixture(scope="module")
def restorers():
    return {
        name: Restorer(ROOT / f"weights/{name}.safetensors", Way(precision="fp32", device="cpu")) for name in FLOORS
    }


@pytest.fixture(scope="module")
def restorer(restorers):
    return restorers[DEFAULT_MODEL]


@pytest.mark.parametrize(("name", "chain"), [(name, chain) for name, floors in FLOORS.items() for chain in floors])
def test_a_model_is_as_good_as_it_was(restorers, photograph, pixels, name, chain):
    worse = np.rint(apply(draw(parse(chain), stream(1, "draw")), pixels, stream(1, "apply")).clip(0, 1) * 255)
    restored = np.rint(restorers[name]((worse / 255).astype(np.float32)) * 255)
    assert psnr(restored, photograph) - psnr(worse, photograph) > FLOORS[name][chain]


@pytest.mark.parametrize(("name", "clean"), [(name, clean) for name, floors in CLEAN.items() for clean in floors])
def test_a_clean_photograph_stays_clean(restorers, name, clean):
    shown = getattr(data, clean)()[:400]
    whole = np.ascontiguousarray(shown if shown.ndim == 3 else np.dstack([shown] * 3))
    restored = np.rint(restorers[name](whole.astype(np.float32) / 255) * 255)
    assert psnr(restored, whole) > CLEAN[name][clean]


@pytest.mark.parametrize(("side", "inside", "mean"), [(64, 0.03, 0.005), (256, 0.015, 0.003)])
def test_a_flat_picture_stays_flat_and_keeps_its_colour(restorer, side, inside, mean):
    flat = np.full((side, side, 3), (0.2, 0.5, 0.7), np.float32)
    off = np.abs(restorer(flat) - flat)
    assert off[4:-4, 4:-4].max() < inside
    assert off.max() < 0.06  # a few pixels in the corners, where the network sees little
    assert off.mean() < mean


def test_tiles_are_toned_as_the_whole_is(restorer, pixels):
    hazy = apply(draw(parse("haze:1.2"), stream(1, "draw")), pixels, stream(1, "apply")).astype(np.float32)
    wide = np.concatenate((hazy, hazy[::-1]), 0)
    tiled = Restorer(DEFAULT, Way(precision="fp32", device="cpu", tile=256))(wide)
    whole = restorer(wide)
    assert np.abs(whole - wide).mean() > 0.03
    assert np.abs(whole - tiled).max() < 1e-3


def test_the_default_model_is_taken_without_being_named(gir, photograph):
    done = gir("restore", stdin=encoded(photograph))
    assert done.status == 0
    assert decoded(done.out).shape == photograph.shape
