import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gir_cli.color import luma, to_linear, to_srgb


@given(st.floats(0, 1, width=32))
def test_linear_light_and_back_is_the_identity(value):
    pixel = np.full((1, 1, 3), value, dtype=np.float32)
    np.testing.assert_allclose(to_srgb(to_linear(pixel)), pixel, atol=2e-6)


@pytest.mark.parametrize(
    ("srgb", "light"), [(0, 0), (1, 1), (0.5, 0.21404114), (0.04045, 0.0031308), (0.02, 0.0015479876)]
)
def test_the_curve_is_that_of_the_standard(srgb, light):
    assert to_linear(np.full((1, 1), srgb, np.float32))[0, 0] == pytest.approx(light, abs=1e-6)


def test_negative_values_count_as_black():
    assert to_linear(np.full((2, 2, 3), -0.5, np.float32)).max() == 0
    assert to_srgb(np.full((2, 2, 3), -0.5, np.float32)).max() == 0


def test_values_above_white_go_on():
    pixels = np.full((1, 1, 3), 1.5, dtype=np.float32)
    assert to_linear(pixels).min() > 2.2
    np.testing.assert_allclose(to_srgb(to_linear(pixels)), pixels, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 1), (2, 3, 3)])
def test_any_shape_keeps_its_shape_and_type(shape):
    for curve in (to_linear, to_srgb):
        done = curve(np.full(shape, 0.5, dtype=np.float32))
        assert done.shape == shape
        assert done.dtype == np.float32


def test_luma_weighs_red_green_and_blue():
    pixels = np.eye(3, dtype=np.float32).reshape(1, 3, 3)
    np.testing.assert_allclose(luma(pixels), [[0.299, 0.587, 0.114]], rtol=1e-6)


def test_luma_of_gray_is_itself():
    gray = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3, 1)
    np.testing.assert_array_equal(luma(gray), gray[..., 0])
    np.testing.assert_allclose(luma(np.repeat(gray, 3, axis=2)), gray[..., 0], atol=1e-6)
