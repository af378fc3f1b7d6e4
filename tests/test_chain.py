"""The chain language: its text, its draws, its order, its training distributions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gir_cli.chain import (
    PRESETS,
    Choice,
    Interval,
    Mixture,
    Pipeline,
    Slot,
    Step,
    apply,
    concrete,
    draw,
    gir_steps,
    in_physical_order,
    parse,
    preset,
    spell,
    step,
)
from gir_cli.errors import UsageError
from gir_cli.ops import OPERATORS, physical_order
from gir_cli.params import params_of
from gir_cli.rng import quick_stream, stream
from gir_cli.suite import gir110

TRAINED = ["rain", "haze", "dark", "motion", "blur", "down", "noise", "shot", "jpeg", "holes"]


def spelled(chain):
    return " ".join(map(str, chain))


def values(field):
    """Every kind of value that a chain may give parameter `field`."""
    if field.choices:
        return st.one_of(
            st.sampled_from(field.choices),
            st.lists(st.sampled_from(field.choices), min_size=2, max_size=4).map(lambda v: Choice(tuple(v))),
        )
    if field.type is str:
        return st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(lambda text: text != "None")
    low, high = max(field.param.low, -1e4), min(field.param.high, 1e4)
    if field.type is int:
        number = st.integers(int(low), int(high))
    else:
        number = st.floats(low, high).map(lambda value: value + 0.0)  # no negative zero
    interval = st.builds(Interval, number, number)
    if low > 0:
        interval = st.builds(Interval, number, number, st.sampled_from(("even", "weak", "log", "inverse")))
    return st.one_of(number, interval, st.lists(number, min_size=2, max_size=4).map(lambda v: Choice(tuple(v))))


@st.composite
def steps(draw):
    name = draw(st.sampled_from(sorted(OPERATORS)))
    declared = params_of(OPERATORS[name])
    given = draw(st.lists(st.sampled_from(list(declared)), unique=True))
    return Step(name, {key: draw(values(declared[key])) for key in given})


@given(st.lists(steps(), max_size=4))
def test_a_chain_reads_back_from_its_text(chain):
    assert parse(spelled(chain)) == tuple(chain)


@given(steps(), st.integers(0, 99))
def test_a_drawn_operator_is_drawn_again_from_its_own_text_by_any_stream(part, seed):
    operator = part.draw(stream(seed))
    again = step(str(concrete(operator))).draw(stream("another"))
    assert again == operator


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_spelled_so_that_it_reads_back_exactly(value):
    assert float(spell(value)) == value


def test_the_first_parameter_needs_no_name():
    assert parse("noise:25,kind=gray") == parse("noise:sigma=25,kind=gray")


def test_a_bare_name_has_its_defaults():
    assert draw(parse("jpeg"), stream(1)) == [OPERATORS["jpeg"]()]
    assert parse("") == ()
    assert parse("  blur \n noise ") == parse("blur noise")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blur:sgima=2", "blur has no parameter 'sgima'; did you mean 'sigma'?"),
        ("noise:sigma=-1", "noise: sigma=-1 is out of range (0 to 255)"),
        ("jpeg:quality=0", "jpeg: quality=0 is out of range (1 to 100)"),
        ("jpeg:quality=2.5", "jpeg: quality=2.5 is not a whole number"),
        ("jpeg:subsampling=42", "jpeg: subsampling=42 is none of 420, 422, 444; did you mean '422'?"),
        ("bulr:2", "no operator is called 'bulr'; did you mean 'blur'?"),
        ("blur:1,2", "blur has no parameter '2' (it has sigma, minor, angle)"),
        ("blur:sigma=1,sigma=2", "blur: sigma is given twice"),
        ("blur:1,sigma=2", "blur: sigma is given twice"),
        ("blur:sigma=", "blur: sigma= is not a number"),
        ("blur:sigma=1..900", "blur: sigma=900 is out of range (0 to 100)"),
        ("blur:sigma=1|900", "blur: sigma=900 is out of range (0 to 100)"),
        ("blur:sigma=1..2..3", "blur: sigma=1..2..3 is not a number"),
        ("blur:sigma=1..2@week", "blur: sigma=1..2@week: '@week' is none of @even, @weak, @log, @inverse"),
        ("blur:sigma=0..2@log", "blur: sigma=0..2@log: both ends of a @log interval must be above 0"),
        (
            "camera:5e-324..1@inverse",
            "camera: shot=5e-324..1@inverse: both ends of a @inverse interval must be above 0",
        ),
        ("blur:sigma=nan", "blur: sigma=nan is not a number"),
        ("blur,noise", "no operator is called 'blur,noise'; did you mean 'noise'?"),
    ],
)
def test_a_wrong_chain_is_refused_in_one_line_with_the_nearest_right_word_or_range(text, message):
    with pytest.raises(UsageError) as error:
        parse(text)
    assert str(error.value) == message
    assert error.value.status == 2


@given(st.text(max_size=40))
def test_any_text_is_a_chain_or_a_usage_error(text):
    try:
        chain = parse(text)
    except UsageError as error:
        assert "\n" not in str(error).replace(text, "")
    else:
        assert parse(spelled(chain)) == chain


@pytest.mark.parametrize("rng_of", [stream, quick_stream])
class TestDraws:
    def drawn(self, text, rng_of, count=4000):
        rng = rng_of("draws", text)
        part = step(text)
        return np.array([part.draw(rng).sigma for _ in range(count)])

    def test_an_interval_is_uniform(self, rng_of):
        sigma = self.drawn("blur:1..3", rng_of)
        assert 1 <= sigma.min() < 1.01
        assert 2.99 < sigma.max() <= 3
        assert sigma.mean() == pytest.approx(2, abs=0.05)

    def test_a_weak_interval_is_nearer_to_its_first_end(self, rng_of):
        assert self.drawn("blur:0..10@weak", rng_of).mean() == pytest.approx(4, abs=0.2)
        assert self.drawn("blur:10..0@weak", rng_of).mean() == pytest.approx(6, abs=0.2)

    def test_a_log_interval_is_uniform_in_the_logarithm(self, rng_of):
        assert np.log10(self.drawn("blur:0.01..100@log", rng_of)).mean() == pytest.approx(0, abs=0.1)

    def test_an_inverse_interval_is_uniform_in_one_over_the_value(self, rng_of):
        assert (1 / self.drawn("blur:1..10@inverse", rng_of)).mean() == pytest.approx(0.55, abs=0.02)

    def test_choices_are_equally_likely(self, rng_of):
        sigma = self.drawn("blur:1|2|4", rng_of)
        assert [np.mean(sigma == value) for value in (1, 2, 4)] == pytest.approx([1 / 3] * 3, abs=0.03)

    def test_whole_numbers_are_rounded(self, rng_of):
        rng = rng_of("jpeg")
        part = step("jpeg:10..12")
        assert {part.draw(rng).quality for _ in range(200)} == {10, 11, 12}


def test_an_angle_that_is_not_given_is_drawn_from_its_interval():
    rng = stream("angles")
    angles = [step("motion:15").draw(rng).angle for _ in range(500)]
    assert 0 <= min(angles) < 5
    assert 175 < max(angles) <= 180
    assert step("motion:15,angle=30").draw(rng).angle == 30


def test_parameters_are_drawn_in_their_declared_order_whatever_the_order_typed():
    one, other = step("blur:sigma=0..3,minor=0..3"), step("blur:minor=0..3,sigma=0..3")
    assert one.draw(stream(5)) == other.draw(stream(5))


def test_fixed_values_take_nothing_from_the_stream():
    rng, fresh = stream(1), stream(1)
    draw(parse("blur:2 motion:15,angle=3 jpeg:40"), rng)
    assert rng.uniform() == fresh.uniform()


def test_operators_act_in_the_order_given():
    pixels = np.full((4, 4, 3), 0.5, dtype=np.float32)
    fade = OPERATORS["fade"](1, 1, 0)
    dark = OPERATORS["dark"](2)
    np.testing.assert_allclose(apply([fade, dark], pixels, stream(1)), 0.55**2, rtol=1e-6)
    np.testing.assert_allclose(apply([dark, fade], pixels, stream(1)), 0.3, rtol=1e-6)
    np.testing.assert_array_equal(apply([], pixels, stream(1)), pixels)


def test_the_physical_order_sorts_and_keeps_equal_steps_as_given():
    chain = in_physical_order(parse("jpeg:50 noise:25 holes jpeg:20 rain"))
    assert spelled(chain) == "rain noise:sigma=25 jpeg:quality=50 jpeg:quality=20 holes"


class TestMixture:
    mixture = Mixture(parse("rain blur noise jpeg"), counts=(0.5, 0.3, 0.2), clean=0.1)

    def lengths(self, rng_of, count=5000):
        rng = rng_of("mixture")
        return [self.mixture.draw(rng) for _ in range(count)]

    @pytest.mark.parametrize("rng_of", [stream, quick_stream])
    def test_counts_and_the_clean_share_are_as_declared(self, rng_of):
        lengths = np.array([len(chain) for chain in self.lengths(rng_of)])
        shares = np.bincount(lengths, minlength=4) / len(lengths)
        np.testing.assert_allclose(shares, [0.1, 0.45, 0.27, 0.18], atol=0.025)

    def test_steps_are_distinct_ordered_and_equally_likely(self):
        chains = self.lengths(stream)
        for chain in chains:
            places = [self.mixture.steps.index(part) for part in chain]
            assert places == sorted(set(places))
        shares = [np.mean([part in chain for chain in chains]) for part in self.mixture.steps]
        np.testing.assert_allclose(shares, 0.9 * 1.7 / 4, atol=0.03)


def test_a_slot_draws_by_share_and_what_is_missing_is_none():
    slot = Slot({"blur": 0.5, "noise jpeg": 0.2})
    rng = stream("slot")
    drawn = [spelled(slot.draw(rng)) for _ in range(4000)]
    assert [drawn.count(text) / 4000 for text in ("blur", "noise jpeg", "")] == pytest.approx([0.5, 0.2, 0.3], abs=0.03)


def test_a_pipeline_shuffles_its_first_slots_alone():
    slots = tuple(Slot({name: 1}) for name in ("blur", "noise", "jpeg", "webp"))
    rng = stream("pipeline")
    assert spelled(Pipeline(slots).draw(rng)) == "blur noise jpeg webp"
    orders = {spelled(Pipeline(slots, shuffled=3).draw(rng)) for _ in range(200)}
    assert len(orders) == 6
    assert all(order.endswith("webp") for order in orders)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("side", [64, 128, 512])
def test_every_preset_draws_chains_that_spell_and_run(name, side):
    distribution = preset(name, side, side)
    pixels = np.full((side // 4, side // 4, 3), 0.5, dtype=np.float32)
    for seed in range(20):
        rng = stream("preset", seed)
        operators = draw(distribution.draw(rng), rng)
        text = spelled(concrete(operator) for operator in operators)
        assert draw(parse(text), stream("other")) == operators
        assert apply(operators, pixels, rng).shape == pixels.shape


def test_weights_say_how_often_steps_come():
    mixture, rng = Mixture(parse("rain blur noise"), weights=(1.0, 2.0, 5.0)), stream("weights")
    names = [mixture.draw(rng)[0].name for _ in range(4000)]
    shares = [names.count(name) / 4000 for name in ("rain", "blur", "noise")]
    assert shares == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.03)


def test_the_gir_preset_has_the_ten_trained_types_in_physical_order():
    names = [part.name for part in gir_steps(512, 768)]
    assert sorted(names) == sorted(TRAINED)
    assert names == sorted(names, key=physical_order)


def test_the_multi_preset_draws_one_type_at_most():
    rng = stream("multi")
    assert {len(preset("multi", 128, 128).draw(rng)) for _ in range(200)} == {0, 1}


def test_small_crops_get_a_part_of_the_haze_and_fewer_holes():
    whole, part = (dict((s.name, s.values) for s in gir_steps(side, side)) for side in (512, 64))
    assert "span" not in whole["haze"]
    assert part["haze"]["span"] == pytest.approx(64 / 192, abs=1e-3)  # of a scene of 192 pixels
    assert part["holes"]["count"].last == 1 < whole["holes"]["count"].last


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"^no preset is called 'gri'; did you mean 'gir'\?$"):
        preset("gri", 64, 64)


def test_draws_never_leave_their_interval():
    rng = stream("ends")
    for shape in ("even", "weak", "log", "inverse"):
        for first, last in ((0.1, 0.7), (49.0, 0.3), (1e-3, 3.14)):
            low, high = sorted((first, last))
            assert all(low <= Interval(first, last, shape).draw(rng) <= high for _ in range(300))


def test_the_hundred_chains_of_the_suite_parse_and_spell():
    assert len({task.name for task in gir110()}) == 100
    for task in gir110():
        chain = parse(task.chain)
        assert parse(spelled(chain)) == chain
        assert 5 < task.reference < 40
