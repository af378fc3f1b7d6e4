"""read(write(image)) is the identity for all that a format can hold."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gir_cli.image import FORMATS, Image, Saving, decode, decode_all, encode

LOSSLESS = [form for form in FORMATS.values() if form.writes and form.lossless != "never"]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="urn:x"></rdf:RDF></x:xmpmeta>'


def profile(space: bytes, size: int = 400) -> bytes:
    """An ICC profile's header with a body of noise that does not shrink; enough for what carries it."""
    body = np.random.default_rng(1).bytes(size)
    return struct.pack(">I", size) + body[4:16] + space + body[20:36] + b"acsp" + body[40:]


def exif(orientation: int = 1, maker: bytes = b"a maker\0") -> bytes:
    entries = struct.pack("<HHII", 271, 2, len(maker), 38) + struct.pack("<HHIHH", 274, 3, 1, orientation, 0)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + struct.pack("<I", 0) + maker


def available(form):
    if form.needs:
        pytest.importorskip(form.needs)


def picture(seed, height, width, form, depth, gray, alpha):
    """A picture of values that `depth` holds exactly, float beyond [0, 1] included."""
    rng = np.random.default_rng(seed)
    channels = rng.normal(0.5, 0.5, (height, width, 4)).astype(np.float32)
    if depth != "float":
        white = np.float32(255 if depth == "8" else (1 << form.bits) - 1)
        channels = np.rint(np.clip(channels, 0, 1) * white) / white
    pixels = np.repeat(channels[:, :, :1], 3, axis=2) if gray else channels[:, :, :3].copy()
    opacity = np.clip(channels[:, :, 3], 0, 1) if alpha else None
    return Image(pixels, opacity, depth, gray, format=form.name)


def assert_same(found, image):
    np.testing.assert_array_equal(found.pixels, image.pixels)
    assert (found.alpha is None) == (image.alpha is None)
    if image.alpha is not None:
        np.testing.assert_array_equal(found.alpha, image.alpha)


@pytest.mark.parametrize("form", LOSSLESS, ids=lambda form: form.name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_a_format_can_hold_is_read_back_the_same(form, data):
    available(form)
    draw = data.draw
    least = 2 if form.name == "jxl" else form.sides[0]  # see jxl.write: one line of gray with alpha becomes RGBA
    height, width = draw(st.integers(least, least + 40)), draw(st.integers(least, least + 40))
    depth = draw(st.sampled_from(form.depths))
    alpha = form.alpha and draw(st.booleans())
    gray = form.gray and (not alpha or form.gray_alpha) and draw(st.booleans())
    image = picture(draw(st.integers(0, 99)), height, width, form, depth, gray, alpha)
    blobs = {
        "icc": profile(b"GRAY" if gray else b"RGB ") if form.icc and draw(st.booleans()) else None,
        "exif": exif() if form.exif and draw(st.booleans()) else None,
        "xmp": XMP if form.xmp and draw(st.booleans()) else None,
    }
    record = '{"program": "gir", "sign": "<&>"}' if form.record and draw(st.booleans()) else None
    image = Image(image.pixels, image.alpha, depth, gray, format=form.name, **blobs)
    done = encode(image, form.name, Saving(quality=100), record=record)
    found = decode(done.data)
    assert done.notes == found.notes == ()
    assert_same(found, image)
    assert (found.depth, found.gray, found.format, found.record) == (depth, gray, form.name, record)
    if form.name == "tiff" and image.exif:  # TIFF keeps EXIF in its own directories, so bytes may move
        assert b"a maker\0" in found.exif
    else:
        assert found.exif == blobs["exif"]
    assert (found.icc, found.xmp) == (blobs["icc"], blobs["xmp"])
    assert found.pixels.dtype == np.float32 and found.pixels.flags.c_contiguous


@settings(max_examples=15, deadline=None)
@given(quality=st.integers(1, 100), gray=st.booleans(), size=st.integers(1, 70000))
def test_a_jpeg_keeps_gray_profile_exif_xmp_and_record(quality, gray, size):
    icc = profile(b"GRAY" if gray else b"RGB ", size + 200)
    image = Image(np.full((9, 5, 3), 0.5, np.float32), None, "8", gray, icc, exif(), XMP, "jpeg")
    found = decode(encode(image, saving=Saving(quality=quality), record="{}").data)
    assert (found.gray, found.icc, found.exif, found.xmp, found.record) == (gray, icc, exif(), XMP, "{}")
    np.testing.assert_allclose(found.pixels, 0.5, atol=2 / 255)


@pytest.mark.parametrize("size", [1, 200, 65519, 65520, 300_000, 2_000_000])
def test_a_profile_of_any_size_fits_a_jpeg(size):
    icc = profile(b"RGB ", size + 200)
    image = Image(np.zeros((8, 8, 3), np.float32), icc=icc)
    done = encode(image, "jpeg")
    assert (decode(done.data).icc, done.notes) == (icc, ())


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "avif", "tiff", "jxl"])
def test_a_second_round_changes_no_metadata(name):
    form = FORMATS[name]
    available(form)
    image = Image(np.zeros((32, 32, 3), np.float32), icc=profile(b"RGB "), exif=exif(), xmp=XMP, format=name)
    first = decode(encode(image, name, record="one").data)
    second = decode(encode(first, name, record="two").data)
    assert (second.icc, second.exif, second.xmp) == (first.icc, first.exif, first.xmp)
    assert second.record == "two"
    third = encode(second, name).data
    assert b"two" not in third and decode(third).record is None


@pytest.mark.parametrize("name", ["webp", "avif", "jp2"])
def test_lossless_in_is_lossless_out(name):
    form = FORMATS[name]
    image = picture(3, 40, 33, form, "8", False, True)
    once = decode(encode(image, name, Saving(quality=100)).data)
    assert_same(once, image)
    if once.lossless:
        assert_same(decode(encode(once, name).data), image)


@pytest.mark.parametrize("depth", ["8", "16", "float"])
def test_the_pages_of_a_tiff_are_kept(depth):
    form = FORMATS["tiff"]
    pages = [picture(n, 10 + n, 12, form, depth, n == 1, n == 2) for n in range(3)]
    data = encode(pages, "tiff").data
    for found, page in zip(decode_all(data), pages, strict=True):
        assert_same(found, page)
    assert decode(data).notes == ("only the first of 3 pages is read",)


def test_pages_that_a_format_cannot_hold_are_told():
    pages = [picture(n, 10, 12, FORMATS["png"], "8", False, False) for n in range(3)]
    done = encode(pages, "png")
    assert done.notes == ("png holds one page: only the first of 3 is written",)
    assert_same(decode(done.data), pages[0])


@pytest.mark.parametrize("level", [0, 3, 9])
@pytest.mark.parametrize("name", ["png", "tiff"])
def test_effort_changes_size_but_no_pixel(name, level):
    image = picture(1, 40, 40, FORMATS[name], "16", False, True)
    assert_same(decode(encode(image, name, Saving(compress=level)).data), image)


def test_a_png_of_gray_with_alpha_is_plain_png():
    data = encode(picture(1, 7, 5, FORMATS["png"], "16", True, True)).data
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    assert (width, height, bits, colour) == (5, 7, 16, 4)
    assert struct.unpack_from(">I", data, 29)[0] == zlib.crc32(data[12:29])
