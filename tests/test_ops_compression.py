"""Codecs: the encoder settings of the field's baselines, and the shifted grid."""

import io

import numpy as np
import pytest

from gir_cli.errors import InputError
from gir_cli.ops import OPERATORS
from gir_cli.rng import stream

data = pytest.importorskip("skimage.data")
PIL = pytest.importorskip("PIL.Image")

LEVELS = data.astronaut()[:211, 101:300].copy()
PHOTO = (LEVELS / 255).astype(np.float32)
RNG = stream("unused")


def by_pillow(levels, format, **options):
    file = io.BytesIO()
    PIL.fromarray(levels).save(file, format, **options)
    return np.asarray(PIL.open(file)) / 255


@pytest.mark.parametrize("quality", [5, 10, 30, 75, 95])
@pytest.mark.parametrize(("subsampling", "code"), [("444", 0), ("422", 1), ("420", 2)])
def test_jpeg_is_libjpegs_baseline(quality, subsampling, code):
    ours = OPERATORS["jpeg"](quality, subsampling)(PHOTO, RNG)
    theirs = by_pillow(LEVELS, "JPEG", quality=quality, subsampling=code, optimize=False)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("quality", [10, 40])
def test_gray_jpeg_is_libjpegs_baseline(quality):
    gray = LEVELS[..., 1].copy()
    ours = OPERATORS["jpeg"](quality)((gray[..., None] / 255).astype(np.float32), RNG)
    np.testing.assert_allclose(ours[..., 0], by_pillow(gray, "JPEG", quality=quality), atol=1e-6)


def test_webp_is_lossy_webp():
    theirs = by_pillow(LEVELS, "WEBP", quality=30)
    assert np.abs(OPERATORS["webp"](30)(PHOTO, RNG) - theirs).mean() < 1.5 / 255


def test_a_second_jpeg_on_the_same_grid_changes_little_and_on_a_shifted_grid_much():
    once = OPERATORS["jpeg"](10, "444")(PHOTO, RNG)
    same = OPERATORS["jpeg"](10, "444")(once, RNG)
    shifted = OPERATORS["jpeg"](10, "444", 4, 4)(once, RNG)
    assert np.abs(same - once).mean() < 0.3 * np.abs(shifted - once).mean()


def test_a_shift_moves_the_grid_to_the_left_and_up():
    pixels = np.ascontiguousarray(PHOTO[8:, 8:])
    # 8 pixels are a whole block: the first block and its successors lie as without a shift.
    np.testing.assert_array_equal(
        OPERATORS["jpeg"](20, "444", 8, 8)(pixels, RNG), OPERATORS["jpeg"](20, "444")(pixels, RNG)
    )


def test_codecs_quantise_and_clip_their_input():
    wild = PHOTO * 3 - 1
    np.testing.assert_array_equal(OPERATORS["jpeg"](50)(wild, RNG), OPERATORS["jpeg"](50)(np.clip(wild, 0, 1), RNG))


@pytest.mark.parametrize(("name", "limit"), [("jpeg", 65500), ("webp", 16383)])
def test_a_size_that_the_format_cannot_hold_is_refused(name, limit):
    long = np.zeros((1, limit + 1, 1), dtype=np.float32)
    with pytest.raises(InputError, match=f"{limit + 1} × 1 pixels"):
        OPERATORS[name]()(long, RNG)
    assert OPERATORS[name]()(long[:, :-1], RNG).shape == (1, limit, 1)
