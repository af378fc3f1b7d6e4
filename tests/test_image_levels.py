"""Pixels kept in a file's integers: what is read, what is written, and that encoding them costs no second rounding."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import encoded

from gir_cli.image import Image, Levels, Saving, decode, encode, room

COLOURS = np.random.RandomState(0).rand(9, 300, 3).astype(np.float32)


def levels(dtype=np.uint8, channels=3):
    white = float(np.iinfo(dtype).max)
    return Levels(np.rint(COLOURS[:, :, :channels] * white).astype(dtype), white)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_part_reads_as_the_same_part_of_the_whole(dtype, channels):
    held = levels(dtype, channels)
    whole = np.asarray(held)
    assert whole.shape == held.shape == (9, 300, 3) and whole.dtype == np.float32
    np.testing.assert_array_equal(held[2:5, 7:90], whole[2:5, 7:90])
    np.testing.assert_array_equal(held.swapaxes(0, 1)[7:90, 2:5], whole[2:5, 7:90].swapaxes(0, 1))
    np.testing.assert_array_equal(np.rint(whole[:, :, :channels] * held.white), held.values)


def test_what_is_written_is_clipped_and_rounded_where_it_belongs():
    held = Levels(np.zeros((600, 4, 3), np.uint8), 255.0)
    given = np.linspace(-0.5, 1.5, 500 * 2 * 3, dtype=np.float32).reshape(500, 2, 3)
    held[50:550, 1:3] = given
    np.testing.assert_array_equal(held.values[50:550, 1:3], np.rint(given.clip(0, 1) * 255))
    assert held.values[:50].max() == held.values[550:].max() == held.values[:, 0].max() == 0


def test_a_gray_picture_stays_gray_when_it_is_given_colours():
    held = Levels(np.zeros((9, 300, 1), np.uint8), 255.0)
    held[:, :] = COLOURS
    np.testing.assert_allclose(held.values[:, :, 0] / 255, COLOURS @ (0.299, 0.587, 0.114), atol=0.51 / 255)


def test_files_of_integers_are_kept_as_such_until_their_pixels_are_asked_for():
    image = decode(encoded(levels().values))
    assert isinstance(image.stored, Levels) and image.stored.values.dtype == np.uint8
    np.testing.assert_array_equal(image.pixels, np.asarray(levels()))


@pytest.mark.parametrize("form", ["png", "tiff", "pnm", "bmp", "jpeg", "webp", "pfm"])
@pytest.mark.parametrize("depth", ["8", "16"])
@pytest.mark.parametrize("gray", [False, True])
def test_what_is_written_into_room_for_a_picture_is_encoded_as_the_floats_would_be(form, depth, gray):
    pixels = np.repeat(COLOURS[:, :, :1], 3, axis=2) if gray else COLOURS
    image = Image(pixels, depth=depth, gray=gray)
    place = room(image, form, Saving())
    place[:, :] = pixels
    assert encode(image.replaced(place), form).data == encode(image, form).data
