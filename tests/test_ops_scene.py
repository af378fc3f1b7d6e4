"""Weather, light, tone and damage."""

import re

import cv2
import numpy as np
import pytest

from gir_cli.chain import Step, step
from gir_cli.errors import InputError, UsageError
from gir_cli.ops import OPERATORS
from gir_cli.ops.damage import band
from gir_cli.ops.haze import fractal
from gir_cli.params import params_of
from gir_cli.rng import stream

GRAY = np.full((240, 320, 3), 0.4, dtype=np.float32)
BLACK = np.zeros((240, 320, 3), dtype=np.float32)


def test_rain_only_brightens_and_at_most_by_its_strength():
    layer = OPERATORS["rain"](0.002, strength=0.5)(GRAY, stream(1)) - GRAY
    assert layer.min() >= -1e-6
    assert layer.max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("lean", [-40, 0, 40])
def test_rain_leans_by_its_angle(lean):
    layer = OPERATORS["rain"](0.0005, length=40, angle=lean)(BLACK, stream(2))[..., 0]
    down, across = np.gradient(layer)
    # The structure tensor's weak direction lies along the streaks.
    tensor = [[(across**2).sum(), (across * down).sum()], [(across * down).sum(), (down**2).sum()]]
    along = np.linalg.eigh(tensor)[1][:, 0]
    angle = np.degrees(np.arctan2(-along[1], along[0])) % 180
    assert abs(angle - (90 + lean)) < 6


def test_rain_seeds_come_at_their_density():
    layer = OPERATORS["rain"](0.002, length=1, width=0, strength=1)(np.zeros((600, 600, 1), np.float32), stream(3))
    count, *_ = cv2.connectedComponents((layer[..., 0] > 0.4).astype(np.uint8))
    assert count == pytest.approx(720, rel=0.15)


def test_snow_covers_at_most_nine_tenths_and_only_whitens():
    worse = OPERATORS["snow"](0.02)(BLACK, stream(4))
    assert worse.min() == 0
    assert 0.8 < worse.max() <= 0.9 + 1e-6


def test_more_snow_covers_more():
    shares = [OPERATORS["snow"](density)(BLACK, stream(5)).mean() for density in (0.001, 0.004, 0.016)]
    assert shares == sorted(shares)


def test_drops_are_soft_and_leave_the_rest_alone():
    worse = OPERATORS["drops"](5)(GRAY, stream(6))
    inside = 0.4 * 1.05 + 0.05
    assert (np.abs(worse - GRAY) < 1e-6).mean() > 0.8
    assert worse.max() == pytest.approx(inside, abs=1e-4)
    assert np.abs(np.diff(worse[..., 0], axis=1)).max() < 0.6 * (inside - 0.4)


def test_haze_is_thickest_at_the_top_and_nearly_none_at_the_bottom():
    veil = OPERATORS["haze"](1.5, 0.9)(BLACK, stream(7)).mean((1, 2))
    assert veil[:20].mean() > 0.55
    assert veil[-20:].mean() < 0.3
    assert veil[:20].mean() > veil[110:130].mean() > veil[-20:].mean() - 0.05


@pytest.mark.parametrize("top", [0.4, 0.8, 1.0])
def test_haze_stays_near_beyond_the_end_of_its_ramp(top):
    span = 0.999  # of which depths are not divided by their own maximum
    depth = -np.log1p(-OPERATORS["haze"](1, 1, top=top, span=span)(BLACK, stream(7)))
    smooth = -np.log1p(-OPERATORS["haze"](1, 1, top=1, span=0)(BLACK, stream(7)))
    ramp = (depth - smooth)[:, 0, 0]
    assert np.diff(ramp).max() < 1e-5
    np.testing.assert_allclose(ramp[-1], 0, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_haze_without_any_depth_is_none(size):
    pixels = np.full((*size, 3), 0.4, dtype=np.float32)
    assert np.isfinite(OPERATORS["haze"](1, top=1)(pixels, stream(1))).all()
    np.testing.assert_array_equal(OPERATORS["haze"](1, top=1)(pixels[:1, :1], stream(1)), pixels[:1, :1])


def test_haze_of_endless_density_is_the_airlight():
    worse = OPERATORS["haze"](20, 0.8)(GRAY, stream(8))
    np.testing.assert_allclose(worse[:60], 0.8, atol=0.01)


def test_smooth_noise_spans_zero_to_one_and_is_smooth():
    field = fractal(stream(9), 200, 333)
    assert field.shape == (200, 333)
    assert (field.min(), field.max()) == (0, 1)
    assert np.abs(np.diff(field, axis=0)).max() < 0.06


def depth_file(path, depth):
    path.write_bytes(cv2.imencode(path.suffix, depth)[1].tobytes())
    return str(path)


@pytest.mark.parametrize(
    ("name", "dtype", "top"), [("d.png", np.uint8, 200), ("d.png", np.uint16, 50000), ("d.tiff", np.float32, 7.5)]
)
def test_haze_follows_a_depth_map_of_any_depth(tmp_path, name, dtype, top):
    depth = np.zeros((12, 16), dtype=dtype)
    depth[:, 8:] = top
    worse = OPERATORS["haze"](1.0, 0.9, depth_file(tmp_path / name, depth))(BLACK, stream(10))
    np.testing.assert_allclose(worse[:, :140], 0, atol=1e-6)
    np.testing.assert_allclose(worse[:, 180:], 0.9 * (1 - np.exp(-1)), atol=1e-5)


def test_a_depth_map_is_an_address_in_a_chain(tmp_path):
    path = depth_file(tmp_path / "a, b %20 | ü.png", np.full((4, 4), 9, np.uint8))
    chain = Step("haze", {"beta": 1.0, "depth": path})
    assert " " not in str(chain)
    assert step(str(chain)).draw(stream(1)).depth == path


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a depth map"),
        (b"hello", "not a depth map"),
        (cv2.imencode(".png", np.ones((4, 4, 3), np.uint8))[1].tobytes(), "one channel, this has 3"),
        (cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes(), "none below 0 and some above"),
        (cv2.imencode(".tiff", np.full((4, 4), np.nan, np.float32))[1].tobytes(), "must be finite"),
        (cv2.imencode(".tiff", np.full((4, 4), -1, np.float32))[1].tobytes(), "none below 0"),
    ],
)
def test_what_is_no_depth_map_is_refused_in_one_line(tmp_path, content, why):
    path = tmp_path / "depth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=why) as error:
        OPERATORS["haze"](1.0, 0.9, str(path))(GRAY, stream(1))
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_missing_depth_map_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(InputError, match="no such depth map"):
            OPERATORS["haze"](1.0, 0.9, str(path))(GRAY, stream(1))


def test_dark_is_a_power_law():
    np.testing.assert_allclose(OPERATORS["dark"](2)(GRAY, stream(1)), 0.16, atol=1e-6)


def test_banding_leaves_as_many_levels_as_it_says():
    ramp = np.linspace(0, 1, 1000, dtype=np.float32).reshape(1, -1, 1)
    levels = np.unique(OPERATORS["banding"](8)(ramp, stream(1)))
    np.testing.assert_allclose(levels, np.arange(8) / 7, atol=1e-6)


def test_fade_follows_its_formula():
    pixel = np.array([[[0.8, 0.4, 0.2]]], dtype=np.float32)
    gray = 0.299 * 0.8 + 0.587 * 0.4 + 0.114 * 0.2
    z = 0.5 + 0.75 * (gray + 0.5 * (pixel - gray) - 0.5) + 0.05
    np.testing.assert_allclose(OPERATORS["fade"]()(pixel, stream(1)), z * [1.08, 1, 0.92], atol=1e-6)


@pytest.mark.parametrize("width", [1, 2, 5, 10, 14])
@pytest.mark.parametrize("angle", [0, 0.3, 0.8, 1.5708, 2.5])
def test_a_band_is_as_wide_as_it_says(width, angle):
    mask = np.zeros((400, 400), dtype=np.uint8)
    along = 150 * np.array([np.cos(angle), np.sin(angle)])
    band(mask, 200.3 - along, 200.3 + along, width)
    assert mask.sum() / 300 == pytest.approx(width, rel=0.08, abs=0.25)


def test_holes_are_all_white_or_all_black_each_half_of_the_time():
    white = 0
    for seed in range(60):
        worse = OPERATORS["holes"](6, 5)(GRAY[:64, :64], stream(seed))
        values = set(np.unique(worse)) - {np.float32(0.4)}
        assert values in ({0}, {1})
        white += values == {1}
    assert 15 < white < 45


def test_scratches_are_thin_and_near_vertical_and_mostly_white():
    change = OPERATORS["scratch"](40)(GRAY, stream(11)) - GRAY
    touched = np.abs(change[..., 0]) > 1e-6
    assert 0.02 < touched.mean() < 0.3
    assert (change > 0).sum() > (change < 0).sum()
    assert np.abs(change).max() < 0.6


@pytest.mark.parametrize("name", OPERATORS)
def test_values_out_of_range_are_refused_with_the_range(name):
    strength, field = next(iter(params_of(OPERATORS[name]).items()))
    with pytest.raises(UsageError, match=re.escape(f" is out of range ({field.range})")):
        step(f"{name}:{strength}={field.param.low - 1:g}")
