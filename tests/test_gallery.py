import numpy as np
import pytest

from gir_cli.gallery import gallery
from gir_cli.ops import OPERATORS

data = pytest.importorskip("skimage.data")

PHOTO = (data.chelsea()[:100, :160] / 255).astype(np.float32)


def test_the_sheet_shows_the_picture_and_every_operator_three_times():
    sheet = gallery(PHOTO, side=80, across=2)
    tile = 50 + 24  # the picture, its label, a margin
    assert sheet.shape[0] == tile * (1 + -(-len(OPERATORS) // 2))
    assert sheet.shape[1] % 6 == 0
    assert sheet.dtype == np.float32
    assert (sheet.min(), sheet.max()) == (0, 1)


def test_the_same_seed_makes_the_same_sheet_and_another_another():
    one, same, other = (gallery(PHOTO, seed, side=40) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_gray_small_and_odd_pictures_have_a_sheet():
    for pixels in (PHOTO[..., :1], PHOTO[:1, :1], PHOTO[:7, :99]):
        assert gallery(pixels, side=64).shape[2] == 3
