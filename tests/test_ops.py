"""What every operator of the catalogue promises."""

import numpy as np
import pytest

from gir_cli.chain import Step, step
from gir_cli.ops import OPERATORS, STAGES, physical_order
from gir_cli.params import params_of
from gir_cli.rng import quick_stream, stream

data = pytest.importorskip("skimage.data")

PHOTO = (data.astronaut()[:96, 180:300] / 255).astype(np.float32)
DETERMINISTIC = {"blur", "motion", "defocus", "down", "ringing", "sharpen", "dark", "banding", "fade", "jpeg", "webp"}
#: Operators that treat the channels apart, or tint.
COLOURED = {"noise", "shot", "speckle", "camera", "dim", "fade"}
SIZES = [(1, 1), (1, 9), (9, 1), (2, 3), (37, 53), (64, 64)]


def drawn(name, rng):
    return step(name).draw(rng)


def degraded(name, pixels, *address):
    rng = stream("test", *address)
    return drawn(name, rng)(pixels, rng)


def crop(height, width, channels):
    return np.ascontiguousarray(PHOTO[:height, :width, :channels])


@pytest.mark.parametrize("name", OPERATORS)
class TestEveryOperator:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
    def test_keeps_shape_and_type_at_any_size(self, name, size, channels):
        pixels = crop(*size, channels)
        worse = degraded(name, pixels)
        assert worse.shape == pixels.shape
        assert worse.dtype == np.float32
        assert np.isfinite(worse).all()

    def test_keeps_shape_at_every_strength_it_shows(self, name):
        strength = next(iter(params_of(OPERATORS[name])))
        for value in OPERATORS[name].shown:
            rng = stream("test")
            assert Step(name, {strength: value}).draw(rng)(PHOTO, rng).shape == PHOTO.shape

    def test_gets_stronger_in_the_order_it_shows(self, name):
        strength = next(iter(params_of(OPERATORS[name])))
        errors = []
        for value in OPERATORS[name].shown:
            rng = stream("test", "strength")
            errors.append(np.mean((Step(name, {strength: value}).draw(rng)(PHOTO, rng) - PHOTO) ** 2))
        assert errors == sorted(errors)
        assert errors[0] > 0

    def test_leaves_its_input_alone(self, name):
        before = PHOTO.copy()
        worse = degraded(name, PHOTO)
        np.testing.assert_array_equal(PHOTO, before)
        assert not np.shares_memory(worse, PHOTO)

    def test_leaves_its_input_alone_at_the_identity(self, name):
        if not OPERATORS[name].identity:
            pytest.skip("has no identity")
        operator = OPERATORS[name](**OPERATORS[name].identity)
        same = operator(PHOTO, stream("test"))
        assert not np.shares_memory(same, PHOTO)
        np.testing.assert_allclose(same, PHOTO, atol=2e-6)

    def test_takes_values_beyond_black_and_white(self, name):
        assert np.isfinite(degraded(name, PHOTO * 1.6 - 0.3)).all()

    def test_makes_the_same_pixels_from_the_same_stream(self, name):
        np.testing.assert_array_equal(degraded(name, PHOTO, 1), degraded(name, PHOTO, 1))

    def test_makes_other_pixels_from_another_stream_if_it_draws_at_all(self, name):
        operator = OPERATORS[name]()
        one, other = operator(PHOTO, stream("test", 1)), operator(PHOTO, stream("test", 2))
        assert np.array_equal(one, other) == (name in DETERMINISTIC)

    def test_takes_both_kinds_of_stream(self, name):
        rng = quick_stream("test")
        worse = drawn(name, rng)(PHOTO, rng)
        assert worse.shape == PHOTO.shape
        assert worse.dtype == np.float32

    def test_keeps_gray_gray_unless_it_colours(self, name):
        gray = np.repeat(PHOTO[..., 1:2], 3, axis=2)
        worse = degraded(name, gray)
        # Codecs round their colour matrix: a level or two.
        assert (np.ptp(worse, axis=2).max() <= 2.01 / 255) == (name not in COLOURED)

    def test_takes_pictures_that_are_not_contiguous(self, name):
        mirrored = PHOTO[:, ::-1]
        worse = degraded(name, mirrored, "view")
        np.testing.assert_allclose(worse, degraded(name, np.ascontiguousarray(mirrored), "view"), atol=1e-6)

    def test_is_documented_and_has_its_place(self, name):
        operator = OPERATORS[name]
        assert operator.name == name
        assert operator.__doc__.endswith((".", ".\n    "))
        assert operator.stage in STAGES
        assert all(field.param.help for field in params_of(operator).values())

    def test_names_only_its_own_parameters_as_identity(self, name):
        operator = OPERATORS[name]
        assert set(operator.identity) <= set(params_of(operator))


def test_no_two_operators_share_a_place_in_the_physical_order():
    places = [physical_order(name) for name in OPERATORS]
    assert len(set(places)) == len(places)


def test_the_physical_order_is_that_of_the_light():
    order = "rain snow drops haze dark dim motion blur defocus down ringing sharpen noise shot speckle impulse camera"
    order += " banding fade grain jpeg webp scratch holes"
    assert sorted(OPERATORS, key=physical_order) == order.split()
