"""What every metric of the catalogue promises, and what surrounds the metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gir_cli.errors import InputError, UsageError
from gir_cli.metrics import METRICS, PEAKS, Undefined, quantised, rises, scores

PAIRED = [name for name, metric in METRICS.items() if metric.perfect is not None and not metric.needs]


@pytest.fixture(scope="module")
def clean(pixels):
    return quantised(pixels)


def noisy(clean, sigma):
    noise = np.random.RandomState(0).standard_normal(clean.shape)
    return quantised(clean + sigma / 255 * noise)


@pytest.mark.parametrize("name", PAIRED)
class TestEveryPairedMetric:
    def test_is_perfect_on_equal_pictures(self, name, clean):
        assert METRICS[name](clean, clean.copy()) == METRICS[name].perfect

    def test_is_not_perfect_if_one_level_of_one_pixel_differs(self, name, clean):
        other = clean.copy()
        other[100, 100] += 1 / 255
        assert METRICS[name](other, clean) != METRICS[name].perfect

    @pytest.mark.parametrize("worse", [noisy, lambda clean, sigma: clean * (1 - sigma / 255)], ids=["noise", "dim"])
    def test_orders_bad_from_worse(self, name, clean, worse):
        ladder = [METRICS[name](worse(clean, sigma), clean) for sigma in (2, 5, 15, 50)]
        assert ladder == sorted(ladder, reverse=rises(METRICS[name]))
        assert len(set(ladder)) == 4

    def test_does_not_care_which_is_which(self, name, clean):
        worse = noisy(clean, 20)
        assert METRICS[name](worse, clean) == pytest.approx(METRICS[name](clean, worse), abs=1e-12)

    def test_leaves_its_inputs_alone(self, name, clean):
        worse = noisy(clean, 20)
        before = worse.copy(), clean.copy()
        METRICS[name](worse, clean)
        np.testing.assert_array_equal(worse, before[0])
        np.testing.assert_array_equal(clean, before[1])

    def test_tells_its_name(self, name, clean):
        assert METRICS[name].name == name


@pytest.mark.parametrize("depth", PEAKS)
def test_every_level_of_a_depth_survives_float32_exactly(depth):
    levels = np.arange(PEAKS[depth] + 1)
    held = (levels.astype(np.float32) / np.float32(PEAKS[depth])).astype(np.float32)
    np.testing.assert_array_equal(quantised(held, depth), levels / PEAKS[depth])


def test_what_a_file_cannot_hold_is_clipped_and_rounded():
    pixels = np.float32([-0.1, 0.4 / 255, 0.6 / 255, 1.2])
    np.testing.assert_array_equal(quantised(pixels), [0, 0, 1 / 255, 1])
    np.testing.assert_array_equal(quantised(pixels, "float"), pixels)


def test_16_bits_are_measured_at_their_own_peak():
    clean = quantised(np.full((8, 8, 3), 0.5, np.float32), "16")
    other = clean + 1 / 65535
    assert scores(["psnr"], other, clean)["psnr"] == pytest.approx(20 * math.log10(65535), abs=1e-6)


def test_sizes_that_differ_are_both_named(clean):
    with pytest.raises(InputError, match="384x256 against 383x256"):
        scores(["psnr"], clean, clean[:, 1:])


def test_a_border_is_left_out(clean):
    framed = clean.copy()
    framed[:4] = framed[-4:] = framed[:, :4] = framed[:, -4:] = 0
    assert scores(PAIRED, framed, clean, border=4) == {name: METRICS[name].perfect for name in PAIRED}
    assert scores(["psnr"], framed, clean, border=3)["psnr"] < math.inf


def test_a_border_that_leaves_nothing_is_refused(clean):
    assert scores(["mae"], clean, clean, border=127)["mae"] == 0
    with pytest.raises(UsageError, match="a border of 128 leaves nothing of 384x256"):
        scores(["mae"], clean, clean, border=128)


def test_a_picture_too_small_for_a_metric_has_a_reason_and_not_a_number(clean):
    small = clean[:160, :200]
    found = scores(["psnr", "ssim", "ms-ssim"], noisy(small, 5), small)
    assert isinstance(found["ms-ssim"], Undefined)
    assert str(found["ms-ssim"]) == "ms-ssim needs more than 160 pixels a side, not 200x160"
    assert found["psnr"] > 30
    assert isinstance(scores(["ssim"], small[:10], small[:10])["ssim"], Undefined)


def test_an_unknown_metric_is_named_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'psnr'"):
        scores(["pnsr"], np.zeros((1, 1, 3)), np.zeros((1, 1, 3)))


def test_not_a_number_is_not_perfect():
    bad = np.full((4, 4, 3), np.nan)
    assert math.isnan(METRICS["psnr"](bad, np.zeros((4, 4, 3))))
