"""Noise has the statistics that its parameters say."""

import numpy as np
import pytest

from gir_cli.color import to_linear, to_srgb
from gir_cli.errors import InputError
from gir_cli.ops import OPERATORS
from gir_cli.rng import quick_stream, stream

SHAPE = (400, 400, 3)
GRAY = np.full(SHAPE, 0.5, dtype=np.float32)
STREAMS = pytest.mark.parametrize("rng_of", [stream, quick_stream])


@STREAMS
@pytest.mark.parametrize("kind", ["color", "gray", "correlated"])
def test_a_sigma_of_25_measures_25(rng_of, kind):
    noise = OPERATORS["noise"](25, kind)(GRAY, rng_of("noise", kind)) - GRAY
    assert abs(noise.mean()) < 0.4 / 255
    assert noise.std() * 255 == pytest.approx(25, rel=0.01)


def test_colour_noise_is_independent_in_every_channel():
    noise = OPERATORS["noise"](25)(GRAY, stream(1)) - GRAY
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.02


def test_gray_noise_is_one_field():
    noise = OPERATORS["noise"](25, "gray")(GRAY, stream(1)) - GRAY
    assert np.ptp(noise, axis=2).max() < 1e-6


def test_correlated_noise_depends_on_its_neighbours_by_two_thirds():
    noise = OPERATORS["noise"](25, "correlated")(GRAY, stream(1)) - GRAY
    neighbours = np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]
    assert neighbours == pytest.approx(2 / 3, abs=0.02)


def test_noise_is_not_clipped_so_that_its_psnr_is_the_definition():
    black = np.zeros(SHAPE, dtype=np.float32)
    for sigma, psnr in ((15, 24.61), (25, 20.17), (50, 14.15)):
        error = OPERATORS["noise"](sigma)(black, stream(sigma))
        assert -10 * np.log10(np.mean(error**2)) == pytest.approx(psnr, abs=0.03)


@STREAMS
@pytest.mark.parametrize("value", [0.1, 0.5, 0.9])
def test_shot_noise_of_peak_150_has_variance_x_over_150(rng_of, value):
    flat = np.full(SHAPE, value, dtype=np.float32)
    worse = OPERATORS["shot"](150)(flat, rng_of("shot"))
    assert worse.mean() == pytest.approx(value, rel=0.005)
    assert worse.var() == pytest.approx(value / 150, rel=0.02)


@STREAMS
def test_shot_noise_takes_any_number_of_photons_and_nothing_else(rng_of):
    huge = np.array([[[1e17, 3e38, np.inf]]], dtype=np.float32)
    worse = OPERATORS["shot"](1e6)(huge, rng_of("shot"))
    np.testing.assert_allclose(worse, 1e12, rtol=1e-6)
    with pytest.raises(InputError, match="not a number"):
        OPERATORS["shot"](150)(np.full_like(huge, np.nan), rng_of("shot"))


def test_speckle_grows_with_the_value():
    dark, bright = (OPERATORS["speckle"](50)(GRAY * k, stream(2)).std() for k in (0.4, 1.6))
    assert bright / dark == pytest.approx(4, rel=1e-3)
    assert dark == pytest.approx(0.2 * 50 / 255, rel=0.01)


def test_impulse_hits_its_share_of_pixels_half_black_half_white_in_all_channels():
    worse = OPERATORS["impulse"](0.1)(GRAY, stream(3))
    assert np.ptp(worse, axis=2).max() == 0
    assert (worse == 0).mean() == pytest.approx(0.05, abs=0.003)
    assert (worse == 1).mean() == pytest.approx(0.05, abs=0.003)


def test_camera_noise_is_coarser_where_colours_are_interpolated():
    light = to_linear(GRAY)
    noise = to_linear(OPERATORS["camera"](0.002, 0.0001)(GRAY, stream(4))) - light
    full = 0.002 * light[0, 0, 0] + 0.0001
    # A tent over a quarter of the sites keeps 9/16 of the variance on average; over half of them, 9/32.
    np.testing.assert_allclose(noise.var((0, 1)) / full, [9 / 16, 9 / 32, 9 / 16], rtol=0.04)


def test_camera_keeps_the_detail_of_the_picture():
    checks = np.indices((32, 32)).sum(0) % 2
    pixels = np.repeat(checks[..., None].astype(np.float32), 3, axis=2) * 0.5 + 0.25
    assert np.abs(OPERATORS["camera"](0, 1e-9)(pixels, stream(5)) - pixels).max() < 0.01


def test_dim_takes_light_away_by_its_gain():
    pixels = np.full((64, 64, 3), 0.8, dtype=np.float32)
    dim = OPERATORS["dim"](0.25, 0, 0)(pixels, stream(6))
    np.testing.assert_allclose(dim, to_srgb(0.25 * to_linear(pixels)), atol=1e-6)


def test_dim_adds_noise_in_linear_light():
    light = to_linear(OPERATORS["dim"](0.5, 0.004, 0.0001)(GRAY + 0.3, stream(7)))
    mean = 0.5 * to_linear(GRAY + 0.3)[0, 0, 0]
    assert light.mean() == pytest.approx(mean, rel=0.005)
    assert light.var() == pytest.approx(0.004 * mean + 0.0001, rel=0.02)


def test_grain_is_one_soft_field_of_its_sigma_at_middle_gray():
    grain = OPERATORS["grain"](15)(GRAY, stream(8)) - GRAY
    assert np.ptp(grain, axis=2).max() < 1e-6
    assert grain.std() * 255 == pytest.approx(15, rel=0.02)
    assert np.corrcoef(grain[:, :-1].ravel(), grain[:, 1:].ravel())[0, 1] > 0.5


def test_grain_is_weaker_at_black_and_white():
    at = [OPERATORS["grain"](15)(np.full(SHAPE, value, np.float32), stream(8)).std() for value in (0, 0.5, 1)]
    assert at[0] / at[1] == pytest.approx(0.4, rel=1e-3)
    assert at[2] / at[1] == pytest.approx(0.4, rel=1e-3)
