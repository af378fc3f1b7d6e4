import cv2
import numpy as np
import pytest

from gir_cli.errors import InputError
from gir_cli.report import FRAMES, GAP, SIDE, Box, _gain, _shortened, differing, sheet


@pytest.fixture(scope="module")
def blurred(pixels):
    return cv2.GaussianBlur(pixels, (0, 0), 2)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_sheet_has_a_column_for_each_image(pixels, blurred, count):
    made = sheet([pixels, *[blurred] * (count - 1)], [f"image {number}" for number in range(count)])
    assert made.shape[1] == count * (SIDE + GAP) + GAP
    assert made.dtype == np.float32
    assert (made.min(), made.max()) == (0, 1)


def test_the_images_themselves_are_on_the_sheet(pixels, blurred):
    made = sheet([pixels, blurred], ["a", "b"])
    place = cv2.matchTemplate(made, np.ascontiguousarray(blurred[:40, :40]), cv2.TM_SQDIFF)
    assert place.min() < 1e-3


def test_a_change_is_found_framed_and_its_scale_told(pixels):
    changed = pixels.copy()
    changed[100:140, 200:260] = 0
    box = differing(np.abs(changed - pixels).mean(2, keepdims=True), 160, 106, 1)[0]
    assert box.top <= 100 and box.top + box.height >= 140
    assert box.left <= 200 and box.left + box.width >= 260
    made = sheet([pixels, changed], ["a", "b"])
    for frame in FRAMES[:2]:
        assert (np.abs(made - np.float32(frame)).max(2) < 0.01).sum() > 200


def test_parts_do_not_overlap_and_lie_inside(pixels, blurred):
    error = np.abs(pixels - blurred).mean(2, keepdims=True)
    seen = np.zeros(error.shape[:2], int)
    boxes = differing(error, 100, 70, 3)
    for box in boxes:
        part = box.of(seen)
        assert part.shape == (70, 100)
        part += 1
    assert (len(boxes), seen.max()) == (3, 1)
    assert Box(0, 0, 2, 3).of(error).shape == (2, 3, 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (9, 13), (60, 1500), (200, 160)], ids=str)
def test_images_of_any_size_have_a_sheet(size):
    image = np.random.RandomState(0).random_sample((*size, 3)).astype(np.float32)
    made = sheet([image, 1 - image, image[..., :1]], ["a", "b", "c"])
    assert made.shape[1] == 3 * (SIDE + GAP) + GAP
    assert np.isfinite(made).all()


def test_equal_images_have_a_sheet_too(pixels):
    assert sheet([pixels, pixels], ["a", "b"]).shape[2] == 3


def test_sizes_that_differ_are_named(pixels):
    with pytest.raises(InputError, match="384x256, 380x256"):
        sheet([pixels, pixels[:, :380]], ["a", "b"])


@pytest.mark.parametrize(("error", "gain"), [(1.0, 1), (0.5, 2), (0.26, 2), (0.03, 32), (0.0, 64), (1.7, 1)])
def test_errors_are_amplified_as_far_as_they_stay_below_white(error, gain):
    assert _gain(error) == gain


def test_a_long_name_keeps_its_ends():
    name = "folder/" * 20 + "kodim07.restored.png"
    short = _shortened(name, SIDE)
    assert short.startswith("folder/") and short.endswith(".restored.png") and "…" in short
    assert _shortened("a.png", SIDE) == "a.png"
    assert _shortened("日本 große.png", SIDE) == "日本 große.png"


def test_its_inputs_stay_as_they_are(pixels, blurred):
    before = pixels.copy()
    sheet([pixels, blurred], ["a", "b"])
    np.testing.assert_array_equal(pixels, before)
