"""Classical methods: each does what it is there for, and none more than pictures allow."""

from __future__ import annotations

import numpy as np
import pytest

from gir_cli.baselines import BASELINES, baseline
from gir_cli.chain import apply, draw, parse
from gir_cli.errors import UsageError
from gir_cli.rng import stream

#: Method -> a chain that it undoes in part, and the least gain in dB on the photograph.
GAINS = {
    "nlm": ("noise:25", 5),
    "nlm:sigma=25": ("noise:25", 5),
    "bilateral": ("noise:25", 5),
    "wiener:sigma=2": ("blur:2", 2),
    "richardson-lucy:sigma=2": ("blur:2", 1.5),
    "clahe": ("dark:2", 1),
    "gamma": ("dark:2", 5),
    "dark-channel": ("haze:1.8", 1),
    "inpaint": ("holes:5,width=5", 10),
}


def psnr(a, b):
    return float(-10 * np.log10(np.mean(np.square(a.astype(float) - b))))


def worse(chain, pixels):
    return np.rint(apply(draw(parse(chain), stream(1)), pixels, stream(1)).clip(0, 1) * 255).astype(np.float32) / 255


@pytest.mark.parametrize("text", GAINS)
def test_each_undoes_what_it_is_for(pixels, text):
    chain, least = GAINS[text]
    given = worse(chain, pixels)
    assert psnr(baseline(text)(given), pixels) - psnr(given, pixels) > least


@pytest.mark.parametrize("name", BASELINES)
class TestEveryBaseline:
    def test_has_a_test_of_what_it_is_for(self, name):
        assert name in {text.partition(":")[0] for text in GAINS}

    def test_keeps_shape_and_kind_and_leaves_its_input_alone(self, name, pixels):
        for given in (pixels[:33, :47], pixels[:33, :47] * 3 - 1, np.zeros((20, 21, 3), np.float32)):
            before = given.copy()
            out = baseline(name)(given)
            assert (out.shape, out.dtype) == (given.shape, np.float32)
            assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
            np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize("name", ["nlm", "bilateral", "gamma", "inpaint"])
def test_what_needs_nothing_stays_nearly_as_it_is(name, pixels):
    bright = 0.4 + 0.5 * pixels
    assert np.abs(baseline(name)(bright) - bright).mean() < 0.01


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nlmm", "did you mean 'nlm'"),
        ("wiener:radius=2", "wiener has no parameter 'radius'"),
        ("wiener:sigma=99", "out of range"),
        ("wiener:sigma=1..2", "is not a number"),
    ],
)
def test_what_is_no_baseline_is_refused(text, says):
    with pytest.raises(UsageError, match=says):
        baseline(text)
