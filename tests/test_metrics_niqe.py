"""niqe: features as defined, written out here block by block, and what the score says."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from gir_cli.cli.niqe import main
from gir_cli.errors import InputError
from gir_cli.metrics import METRICS, Undefined, quantised
from gir_cli.metrics.niqe import block_features, fit, pristine, unpacked

SHAPES = np.arange(0.2, 10.0005, 0.001)
MOMENTS = np.array([math.gamma(2 / s) ** 2 / (math.gamma(1 / s) * math.gamma(3 / s)) for s in SHAPES])


@pytest.fixture(scope="module")
def clean(pixels):
    return quantised(pixels)


def defined_fit(values):
    """Return shape, left and right scale of the asymmetric generalised Gaussian, as the paper's code finds them."""
    left = math.sqrt((values[values < 0] ** 2).mean())
    right = math.sqrt((values[values > 0] ** 2).mean())
    skew = left / right
    spread = np.abs(values).mean() ** 2 / (values**2).mean()
    moment = spread * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = SHAPES[np.argmin((MOMENTS - moment) ** 2)]
    scale = math.sqrt(math.gamma(1 / shape) / math.gamma(3 / shape))
    return shape, left * scale, right * scale


def defined_features(block):
    shape, left, right = defined_fit(block)
    features = [shape, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = defined_fit(block * np.roll(block, (down, across), (0, 1)))
        features += [shape, (right - left) * math.gamma(2 / shape) / math.gamma(1 / shape), left, right]
    return features


def defined_normal(luma):
    """Return luma less its local mean over its local deviation plus 1, summed pixel by pixel of the window."""
    line = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(line, line) / line.sum() ** 2
    at = np.pad(luma, 3, mode="edge")
    shifts = [(i, j) for i in range(7) for j in range(7)]
    parts = [at[i : i + luma.shape[0], j : j + luma.shape[1]] for i, j in shifts]
    mean = sum(window[at] * part for at, part in zip(shifts, parts, strict=True))
    square = sum(window[at] * part**2 for at, part in zip(shifts, parts, strict=True))
    return (luma - mean) / (np.sqrt(np.abs(square - mean**2)) + 1)


def test_features_are_as_defined(clean):
    found, _ = block_features(clean)
    luma = np.rint(clean @ [65.481, 128.553, 24.966] + 16)[:192, :384]
    normal = defined_normal(luma)
    blocks = [normal[i : i + 96, j : j + 96] for i in (0, 96) for j in (0, 96, 192, 288)]
    np.testing.assert_allclose(found[:, :18], [defined_features(block) for block in blocks], atol=2e-3)


def test_the_coarse_scale_is_half_the_size(clean):
    """Within what this picture's own halving by Pillow and ours differ at their borders."""
    image = pytest.importorskip("PIL.Image")
    luma = np.rint(clean @ [65.481, 128.553, 24.966] + 16)[:192, :384].astype(np.float32)
    half = np.asarray(image.fromarray(luma).resize((192, 96), image.Resampling.BICUBIC)).astype(float)
    normal = defined_normal(half)
    expected = [defined_features(normal[i : i + 48, j : j + 48]) for i in (0, 48) for j in (0, 48, 96, 144)]
    np.testing.assert_allclose(block_features(clean)[0][:, 18:], expected, atol=5e-3)


def test_worse_pictures_are_farther_from_clean_photographs(clean):
    def blurred(sigma):
        return quantised(cv2.GaussianBlur(clean, (0, 0), sigma))

    def noisy(sigma):
        return quantised(clean + sigma / 255 * np.random.RandomState(0).standard_normal(clean.shape))

    for ladder in ([clean, noisy(10), noisy(25), noisy(50)], [clean, blurred(1), blurred(2), blurred(4)]):
        found = [METRICS["niqe"](picture, clean) for picture in ladder]
        assert found == sorted(found)
        assert 0 < found[0] < found[-1] < 40


def test_the_clean_picture_is_not_looked_at(clean):
    assert METRICS["niqe"](clean, clean * 0) == METRICS["niqe"](clean, clean)


def test_small_and_flat_pictures_have_no_score_and_a_reason(clean):
    with pytest.raises(Undefined, match="96 pixels a side, not 384x95"):
        METRICS["niqe"](clean[:95], clean[:95])
    with pytest.raises(Undefined, match="flat"):
        METRICS["niqe"](np.full((200, 200, 3), 0.5), clean)
    half_flat = clean.copy()
    half_flat[:, :200] = 1
    assert math.isfinite(METRICS["niqe"](half_flat, clean))
    assert math.isfinite(METRICS["niqe"](clean[:96, :96], clean))


def test_a_fit_is_mean_and_covariance_of_the_sharpest_blocks_and_survives_its_file(clean):
    many = [clean[i : i + 96, j : j + 96] for i in range(0, 160, 20) for j in range(0, 280, 30)]
    model = fit(many)
    again = unpacked(model.packed())
    np.testing.assert_array_equal(again.mean, model.mean)
    np.testing.assert_array_equal(again.covariance, model.covariance)
    features = np.concatenate([block_features(picture)[0] for picture in many])
    np.testing.assert_allclose(model.mean, features.mean(0))
    np.testing.assert_allclose(model.covariance, np.cov(features.T), atol=1e-12)


def test_too_few_photographs_are_refused(clean):
    with pytest.raises(InputError, match="too few"):
        fit([clean, clean[:50]])
    with pytest.raises(InputError, match="0 sharp blocks"):
        fit([])


def test_what_is_shipped_tells_where_it_is_from():
    assert '"photographs": 467' in pristine().record
    assert (pristine().mean.shape, pristine().covariance.shape) == ((36,), (36, 36))


def test_the_command_refuses_without_changing_anything(tmp_path, capsys):
    assert main([]) == 2
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 2
