import numpy as np
import pytest

from gir_cli.rng import below, normal, quick_stream, stream, uniform

STREAMS = pytest.mark.parametrize("rng_of", [stream, quick_stream])


def test_a_seed_means_the_same_draws_for_ever():
    rng = stream(0, "kodim01")
    assert rng.randint(0, 2**31, 3).tolist() == [2080921127, 954602748, 1497696617]
    np.testing.assert_allclose(rng.standard_normal(2), [0.9328337064373513, -0.33756160731348056], rtol=1e-12)


@STREAMS
def test_an_address_says_all_and_its_parts_count(rng_of):
    assert rng_of(0, "a").uniform() == rng_of(0, "a").uniform()
    draws = {rng_of(*address).uniform() for address in ((0, "a"), (1, "a"), (0, "b"), (0, "a", 0), (0,), ("a", 0))}
    assert len(draws) == 6


@STREAMS
def test_addresses_may_hold_names_that_are_no_utf_8(rng_of):
    assert 0 <= rng_of(0, b"\xff\xfe.png".decode("utf-8", "surrogateescape")).uniform() < 1


@STREAMS
def test_streams_leave_numpys_global_state_alone(rng_of):
    before = np.random.get_state()[1].copy()
    normal(rng_of(1), (10, 10))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@STREAMS
def test_normal_draws_are_standard_normal(rng_of):
    draws = normal(rng_of("normal"), (500, 400))
    assert draws.dtype == np.float32
    assert draws.shape == (500, 400)
    assert draws.mean() == pytest.approx(0, abs=0.01)
    assert draws.std() == pytest.approx(1, abs=0.01)
    assert np.mean(draws**4) == pytest.approx(3, abs=0.1)


@STREAMS
def test_uniform_draws_are_uniform(rng_of):
    draws = uniform(rng_of("uniform"), (500, 400))
    assert draws.dtype == np.float32
    assert draws.min() >= 0
    assert np.histogram(draws, 10, (0, 1))[0] / draws.size == pytest.approx(0.1, abs=0.005)


@STREAMS
def test_whole_numbers_are_below_their_count_and_equally_likely(rng_of):
    rng = rng_of("below")
    draws = [below(rng, 4) for _ in range(4000)]
    assert np.bincount(draws, minlength=4) / 4000 == pytest.approx(0.25, abs=0.03)
    assert below(rng, 1) == 0
