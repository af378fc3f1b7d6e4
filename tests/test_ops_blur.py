"""Blurs, resampling, ringing and sharpening do what their formulas say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gir_cli.ops import OPERATORS
from gir_cli.ops.blur import blurred, disk, filtered, gaussian, line
from gir_cli.ops.ripple import bessel, sinc
from gir_cli.resize import resized
from gir_cli.rng import stream

data = pytest.importorskip("skimage.data")
PIL = pytest.importorskip("PIL.Image")

PHOTO = (data.astronaut()[60:188, 150:311] / 255).astype(np.float32)
RNG = stream("unused")


def moments(kernel):
    """Mean and covariance of a kernel as a distribution over (x, y), about its centre."""
    y, x = np.indices(kernel.shape) - (np.array(kernel.shape) // 2)[:, None, None]
    mean = np.array([(kernel * x).sum(), (kernel * y).sum()])
    return mean, np.array([(kernel * a * b).sum() for a, b in ((x, x), (x, y), (y, y))])


@given(st.floats(0, 60), st.floats(-360, 360))
def test_a_line_sums_to_one_is_centred_and_as_long_as_it_says(length, angle):
    kernel = line(length, angle)
    mean, (xx, _, yy) = moments(kernel)
    assert kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    # A uniform line has variance length² / 12; sharing a point between pixels adds at most 1/4 in x and in y.
    assert -0.01 <= xx + yy - length**2 / 12 <= 0.5 + 0.01 * length


@pytest.mark.parametrize(("angle", "row", "column"), [(0, 0, 3), (45, -2, 2), (90, -3, 0), (135, -2, -2)])
def test_a_line_turns_counter_clockwise(angle, row, column):
    kernel = line(8, angle)
    assert kernel[4 + row, 4 + column] > 0.09
    assert kernel[4 + column, 4 - row] < 0.01  # a quarter turn away


@given(st.floats(0.05, 20))
def test_gaussians_disks_and_sincs_sum_to_one(size):
    for kernel in (gaussian(size), disk(size), sinc(min(max(size, 0.1), math.pi))):
        assert kernel.sum() == pytest.approx(1, abs=1e-4)


@given(st.floats(1, 12))
def test_a_disk_has_the_second_moment_of_a_disk(radius):
    _, (xx, xy, yy) = moments(disk(radius))
    assert xx == pytest.approx(radius**2 / 4, rel=0.05, abs=0.2)
    assert yy == pytest.approx(xx, rel=1e-4)
    assert abs(xy) < 1e-4


def test_motion_does_not_shift_the_picture():
    dot = np.zeros((65, 65, 1), dtype=np.float32)
    dot[32, 32] = 1
    for angle in range(0, 360, 15):
        trace = OPERATORS["motion"](15, angle)(dot, RNG)[..., 0]
        np.testing.assert_allclose(moments(trace)[0], 0, atol=1e-4)
        np.testing.assert_allclose(trace, trace[::-1, ::-1], atol=1e-6)


def test_blur_of_sigma_a_then_b_is_the_blur_of_the_root_of_their_squares():
    twice, once = blurred(blurred(PHOTO, 1.5), 2.0), blurred(PHOTO, 2.5)
    # Kernels end at three sigma, where a Gaussian still holds 0.3 %.
    assert np.abs(twice - once)[12:-12, 12:-12].max() < 1.5 / 255


def test_an_anisotropic_blur_has_its_two_sigmas_along_its_angle():
    dot = np.zeros((65, 65, 1), dtype=np.float32)
    dot[32, 32] = 1
    spot = OPERATORS["blur"](4, 2, 30)(dot, RNG)[..., 0]
    _, (xx, xy, yy) = moments(spot)
    sigmas, axes = np.linalg.eigh([[xx, xy], [xy, yy]])
    np.testing.assert_allclose(np.sqrt(sigmas), [2, 4], rtol=0.02)
    assert math.degrees(math.atan2(axes[1, 1], axes[0, 1])) % 180 == pytest.approx(30, abs=0.5)


def test_an_isotropic_blur_is_the_anisotropic_one_with_equal_axes():
    one, other = OPERATORS["blur"](2.0)(PHOTO, RNG), OPERATORS["blur"](2.0, 1.99999, 40)(PHOTO, RNG)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_filtering_convolves_and_reflects_the_border_without_its_edge():
    pixels = np.arange(5, dtype=np.float32).reshape(1, 5, 1)
    shifted = filtered(pixels, np.array([[1, 0, 0]], dtype=np.float32))
    np.testing.assert_array_equal(shifted[0, :, 0], [1, 2, 3, 4, 3])


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "box"])
@pytest.mark.parametrize("size", [(40, 32), (161, 64), (53, 128), (300, 200)], ids=str)
def test_resampling_agrees_with_pillow(kernel, size):
    ours = resized(PHOTO, *size, kernel)
    filter_ = {"bicubic": PIL.BICUBIC, "bilinear": PIL.BILINEAR, "box": PIL.BOX}[kernel]
    planes = [PIL.fromarray(np.ascontiguousarray(PHOTO[..., c])).resize(size, filter_) for c in range(3)]
    np.testing.assert_allclose(ours, np.stack([np.asarray(plane) for plane in planes], axis=2), atol=1e-4)


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "box", "nearest", "area"])
def test_resampling_keeps_a_flat_picture_flat(kernel):
    flat = np.full((31, 17, 3), 0.3, dtype=np.float32)
    for size in ((5, 5), (17, 31), (40, 70)):
        np.testing.assert_allclose(resized(flat, *size, kernel), 0.3, atol=1e-6)


def test_down_never_shrinks_to_nothing():
    assert OPERATORS["down"](64)(PHOTO[:3, :5], RNG).shape == (3, 5, 3)


def test_bessel_is_j1():
    x = np.array([0, 0.5, 1, 5, 44, 3.8317059702])
    known = [0, 0.2422684577, 0.4400505857, -0.3275791376, 0.1202257152, 0]
    np.testing.assert_allclose(bessel(x)[[0, 1, 2, 3, 5]], np.array(known)[[0, 1, 2, 3, 5]], atol=1e-9)


def test_ringing_passes_slow_waves_and_stops_fast_ones():
    x = np.arange(128)[None, :, None] * np.ones((64, 1, 1))
    for frequency, least, most in ((0.3, 0.85, 1.15), (2.4, 0, 0.1)):
        wave = np.sin(frequency * x).astype(np.float32)
        left = OPERATORS["ringing"](1.2)(wave, RNG)[20:-20, 20:-20].std() / wave.std()
        assert least <= left <= most


def test_ringing_overshoots_at_an_edge():
    edge = np.zeros((41, 41, 1), dtype=np.float32)
    edge[:, 20:] = 1
    assert OPERATORS["ringing"](1.2)(edge, RNG).max() > 1.04


def test_sharpening_adds_what_blurring_takes():
    np.testing.assert_allclose(OPERATORS["sharpen"](1, 2)(PHOTO, RNG), 2 * PHOTO - blurred(PHOTO, 2), atol=1e-6)
