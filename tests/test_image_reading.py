"""Files of other writers are read right: Pillow, tifffile and imagecodecs are the witnesses."""

import io
import struct
import zlib
from importlib.util import find_spec

import numpy as np
import pytest

from gir_cli.errors import InputError
from gir_cli.image import FORMATS, Saving, decode, decode_all, encode, read_header
from gir_cli.image.metadata import Metadata, orientation, oriented
from gir_cli.image.png import assembled

PIL = pytest.importorskip("PIL.Image")
data = pytest.importorskip("skimage.data")
tifffile = pytest.importorskip("tifffile")


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()[100:164, 180:260].copy()


def saved(picture, format, **options):
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def tiff(values, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def lzw_tiff(values, **options):
    """A TIFF of one strip as tifffile writes it, but in LZW of literals alone (TIFF 6.0, section 13)."""
    raw = values.tobytes()
    codes = [code for at in range(0, len(raw), 200) for code in (256, *raw[at : at + 200])] + [257]
    text = "".join(f"{code:09b}" for code in codes)
    strip = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
    options |= {"shape": values.shape, "dtype": values.dtype, "rowsperstrip": len(values), "metadata": None}
    blob = bytearray(tiff(iter([strip]), compression="zlib", **options))
    at = blob.index(struct.pack("<HHI", 259, 3, 1))
    blob[at + 8] = 5
    return bytes(blob)


def eight_bits(image):
    return np.rint(image.pixels * 255).astype(np.uint8)


def rgba(image):
    return np.dstack([eight_bits(image), np.rint(image.alpha * 255).astype(np.uint8)])


class TestPng:
    def test_palette(self, photo):
        picture = PIL.fromarray(photo).quantize(64)
        image = decode(saved(picture, "PNG"))
        np.testing.assert_array_equal(eight_bits(image), np.asarray(picture.convert("RGB")))
        assert (image.gray, image.alpha) == (False, None)

    @pytest.mark.parametrize("colours", [2, 4, 16])
    def test_palette_of_1_2_and_4_bits_with_transparency(self, photo, colours):
        picture = PIL.fromarray(photo).quantize(colours)
        blob = saved(picture, "PNG", transparency=1)
        np.testing.assert_array_equal(rgba(decode(blob)), np.asarray(PIL.open(io.BytesIO(blob)).convert("RGBA")))

    def test_a_gray_palette_is_gray(self, photo):
        gray = photo[:, :, 0]
        image = decode(saved(PIL.fromarray(gray).convert("P"), "PNG"))
        np.testing.assert_array_equal(eight_bits(image)[:, :, 1], gray)
        assert image.gray

    def test_one_bit(self, photo):
        image = decode(saved(PIL.fromarray(photo[:, :, 0] > 99), "PNG"))
        np.testing.assert_array_equal(image.pixels[:, :, 0], photo[:, :, 0] > 99)
        assert image.gray and image.depth == "8"

    @pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
    @pytest.mark.parametrize("key", [None, 1])
    def test_gray_of_few_bits_and_many(self, bits, key):
        levels = np.random.default_rng(bits).integers(0, 1 << bits, (5, 11))
        shifts = np.arange(bits)[::-1]
        lines = np.packbits((levels[:, :, None] >> shifts & 1).reshape(5, -1).astype(np.uint8), axis=1)
        parts = [(b"IHDR", struct.pack(">IIBBBBB", 11, 5, bits, 0, 0, 0, 0))]
        parts += [] if key is None else [(b"tRNS", struct.pack(">H", key))]
        parts += [(b"IDAT", zlib.compress(b"".join(b"\0" + bytes(line) for line in lines))), (b"IEND", b"")]
        image = decode(assembled(parts))
        np.testing.assert_allclose(image.pixels[:, :, 1], levels / ((1 << bits) - 1), atol=1e-7)
        assert (image.gray, image.depth) == (True, "16" if bits == 16 else "8")
        assert (image.alpha is None) == (key is None)
        if key is not None:
            np.testing.assert_array_equal(image.alpha, levels != key)

    def test_gray_with_alpha(self, photo):
        image = decode(saved(PIL.fromarray(photo[:, :, :2].copy()), "PNG"))
        np.testing.assert_array_equal(rgba(image)[:, :, (0, 3)], photo[:, :, :2])
        assert image.gray

    def test_gray_with_one_transparent_level(self, photo):
        gray = photo[:, :, 0]
        level = int(gray[5, 5])
        image = decode(saved(PIL.fromarray(gray), "PNG", transparency=level))
        np.testing.assert_array_equal(image.alpha, (gray != level).astype(np.float32))
        assert image.gray

    def test_16_bits(self, photo):
        deep = photo[:, :, 0].astype(np.uint16) * 257 + 3
        image = decode(saved(PIL.fromarray(deep), "PNG"))
        np.testing.assert_array_equal(np.rint(image.pixels[:, :, 0] * 65535), deep)
        assert image.depth == "16"

    @pytest.mark.parametrize(
        ("chunks", "left"),
        [
            ({b"gAMA": (45455,)}, ""),
            ({b"gAMA": (100000,)}, "gAMA"),
            ({b"cHRM": (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)}, ""),
            ({b"cHRM": (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)}, "cHRM"),
            ({b"gAMA": (55556,), b"cHRM": (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)}, "gAMA and cHRM"),
        ],
    )
    def test_colours_that_are_not_srgb_are_said(self, photo, chunks, left):
        blob = saved(PIL.fromarray(photo), "PNG")
        parts = [(kind, struct.pack(f">{len(body)}I", *body)) for kind, body in chunks.items()]
        extra = assembled(parts)[8:]
        note = f"its {left} colour description is left out: the colours are taken as sRGB"
        assert decode(blob[:33] + extra + blob[33:]).notes == ((note,) if left else ())
        srgb = assembled([(b"sRGB", b"\0")])[8:]
        assert decode(blob[:33] + srgb + extra + blob[33:]).notes == ()

    def test_an_animation_is_said(self, photo):
        frames = [PIL.fromarray(photo), PIL.fromarray(photo[::-1])]
        image = decode(saved(frames[0], "PNG", save_all=True, append_images=frames[1:]))
        np.testing.assert_array_equal(eight_bits(image), photo)
        assert image.notes == ("animated: only the first of 2 frames is read",)


class TestJpeg:
    def test_cmyk(self, photo):
        picture = PIL.fromarray(photo).convert("CMYK")
        blob = saved(picture, "JPEG", quality=100, subsampling=0, icc_profile=b"\0" * 16 + b"CMYK" + b"\0" * 200)
        image = decode(blob)
        expected = np.asarray(PIL.open(io.BytesIO(blob)).convert("RGB")).astype(int)
        assert np.abs(eight_bits(image).astype(int) - expected).max() <= 3
        assert image.notes == ("CMYK is converted to RGB, without its profile",)
        assert image.icc is None

    def test_gray(self, photo):
        image = decode(saved(PIL.fromarray(photo[:, :, 0]), "JPEG"))
        assert image.gray and not image.lossless

    def test_a_progressive_one_of_a_photograph(self, photo):
        blob = saved(PIL.fromarray(photo), "JPEG", progressive=True, quality=98, subsampling=0)
        expected = np.asarray(PIL.open(io.BytesIO(blob))).astype(int)
        assert np.abs(eight_bits(decode(blob)).astype(int) - expected).max() <= 2

    def test_what_follows_the_end_is_no_harm(self, photo):
        blob = saved(PIL.fromarray(photo), "JPEG")
        for trailer in (b"trailer", b"\xff\xda" * 1000):  # a film may follow a photograph
            np.testing.assert_array_equal(decode(blob + trailer).pixels, decode(blob).pixels)


class TestWebp:
    @pytest.mark.parametrize("alpha", [False, True])
    def test_lossless(self, photo, alpha):
        values = np.dstack([photo, photo[:, :, :1]]) if alpha else photo
        image = decode(saved(PIL.fromarray(values), "WEBP", lossless=True, exact=True))
        np.testing.assert_array_equal(rgba(image) if alpha else eight_bits(image), values)
        assert image.lossless

    def test_lossy_with_alpha(self, photo):
        blob = saved(PIL.fromarray(np.dstack([photo, photo[:, :, :1]])), "WEBP", quality=95)
        image = decode(blob)
        np.testing.assert_array_equal(rgba(image)[:, :, 3], photo[:, :, 0])
        assert not image.lossless
        assert np.abs(rgba(image).astype(int) - np.asarray(PIL.open(io.BytesIO(blob)).convert("RGBA"))).max() <= 1

    def test_an_animation_is_said(self, photo):
        frames = [PIL.fromarray(photo), PIL.fromarray(photo[::-1])]
        image = decode(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True))
        np.testing.assert_array_equal(eight_bits(image), photo)
        np.testing.assert_array_equal(eight_bits(decode(encode(image).data)), photo)
        lossy = decode(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], quality=90))
        assert (image.lossless, lossy.lossless) == (True, False)
        assert image.notes == ("animated: only the first of 2 frames is read",)


class TestGif:
    def test_first_frame_of_an_animation(self, photo):
        frames = [PIL.fromarray(photo).quantize(200), PIL.fromarray(photo[::-1]).quantize(200)]
        blob = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
        image = decode(blob)
        np.testing.assert_array_equal(eight_bits(image), np.asarray(PIL.open(io.BytesIO(blob)).convert("RGB")))
        assert image.notes == ("animated: only the first of 2 frames is read",)

    def test_a_single_frame(self, photo):
        image = decode(saved(PIL.fromarray(photo).quantize(200), "GIF"))
        assert (image.notes, image.alpha) == ((), None)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_bmp(photo, mode):
    picture = PIL.fromarray(np.dstack([photo, photo[:, :, :1]])).convert("RGB").convert(mode)
    image = decode(saved(picture, "BMP"))
    np.testing.assert_array_equal(eight_bits(image), np.asarray(picture.convert("RGB")))


def bmp_of_masks(values, length, masks, compression=3):
    """A BMP of 32 bits whose header of `length` bytes tells, or has behind it, which bytes are R, G, B and A."""
    pixels = np.zeros((*values.shape[:2], 4), np.uint8)
    for channel, mask in enumerate(masks):
        pixels[:, :, (mask.bit_length() - 1) // 8] = values[:, :, channel]
    height, width, _ = values.shape
    head = struct.pack("<IiiHHI20x", length, width, height, 1, 32, compression) + struct.pack(f"<{len(masks)}I", *masks)
    head = head.ljust(length, b"\0")
    start = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", start + pixels.size, 0, 0, start) + head + pixels[::-1].tobytes()


_RGB, _BGR = (0xFF, 0xFF00, 0xFF0000), (0xFF0000, 0xFF00, 0xFF)


@pytest.mark.parametrize("masks", [_RGB, _BGR])
@pytest.mark.parametrize("length", [40, 52, 56, 108, 124])
def test_a_bmp_of_masks_is_opaque_unless_alpha_has_one(photo, length, masks):
    image = decode(bmp_of_masks(photo, length, masks))
    np.testing.assert_array_equal(eight_bits(image), photo)
    assert image.alpha is None
    with_alpha = np.dstack([photo, photo[:, :, 1]])
    blob = bmp_of_masks(with_alpha, length, (*masks, 0xFF000000), 6 if length < 56 else 3)
    if length != 52:  # which has room for three
        np.testing.assert_array_equal(rgba(decode(blob)), with_alpha)
        assert read_header(blob).channels == 4


@pytest.mark.parametrize("bits", [1, 4, 8, 24])
def test_a_bmp_of_os2_has_its_colours(photo, bits):
    if bits == 24:
        palette, lines = b"", photo[::-1, :, ::-1].tobytes()
    else:
        levels = photo[::-1, :, 0] >> (8 - bits)
        shifts = np.arange(0, 8, bits, dtype=np.uint8)[::-1]
        lines = (levels.reshape(64, -1, len(shifts)) << shifts).sum(axis=2).astype(np.uint8)
        lines = np.pad(lines, ((0, 0), (0, -lines.shape[1] % 4))).tobytes()
        palette = np.random.default_rng(1).bytes(3 << bits)
    start = 26 + len(palette)
    head = struct.pack("<IHHIIHHHH", start + len(lines), 0, 0, start, 12, 80, 64, 1, bits)
    blob = b"BM" + head + palette + lines
    np.testing.assert_array_equal(eight_bits(decode(blob)), np.asarray(PIL.open(io.BytesIO(blob)).convert("RGB")))


class TestAvif:
    def test_gray_colour_and_alpha(self, photo):
        for values in (photo[:, :, 0], photo, np.dstack([photo, photo[:, :, :1]])):
            try:
                blob = saved(PIL.fromarray(values), "AVIF", quality=95, subsampling="4:4:4")
            except KeyError:
                pytest.skip("this Pillow has no AVIF")
            image = decode(blob)
            expected = np.asarray(PIL.open(io.BytesIO(blob)).convert("RGB")).astype(int)
            assert np.abs(eight_bits(image) - expected).max() <= 2
            assert (image.alpha is not None) == (values.shape[2:] == (4,))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_its_own_orientation(self, photo, orientation):
        exif = PIL.Exif()
        exif[0x112] = orientation
        try:
            blob = saved(PIL.fromarray(photo), "AVIF", quality=100, subsampling="4:4:4", exif=exif)
        except KeyError:
            pytest.skip("this Pillow has no AVIF")
        assert_looks_like(decode(blob), upright(photo, orientation))


class TestJpeg2000:
    @pytest.mark.parametrize("codestream", [False, True])
    def test_8_bits(self, photo, codestream):
        options = {"no_jp2": True} if codestream else {}
        try:
            blob = saved(PIL.fromarray(photo), "JPEG2000", irreversible=False, **options)
        except OSError:
            pytest.skip("this Pillow has no JPEG 2000")
        image = decode(blob)
        np.testing.assert_array_equal(eight_bits(image), photo)
        assert image.lossless

    def test_12_bits_keep_their_scale(self, photo):
        imagecodecs = pytest.importorskip("imagecodecs")
        deep = photo.astype(np.uint16) * 16 + 7
        blob = imagecodecs.jpeg2k_encode(deep, level=0, bitspersample=12, reversible=True)
        np.testing.assert_array_equal(np.rint(decode(blob).pixels * 4095), deep)


class TestJpegXl:
    @pytest.mark.parametrize("container", [False, True])
    @pytest.mark.parametrize("size", [(64, 80), (64, 64), (33, 57), (600, 777)])
    def test_size_and_pixels(self, photo, container, size):
        imagecodecs = pytest.importorskip("imagecodecs")
        values = np.resize(photo, (*size, 3))
        blob = imagecodecs.jpegxl_encode(values, lossless=True, usecontainer=container, effort=1)
        found = read_header(blob)
        assert (found.height, found.width, found.bits) == (*size, 8)
        np.testing.assert_array_equal(eight_bits(decode(blob)), values)


class TestTiff:
    @pytest.mark.parametrize("compression", [None, "zlib", "packbits", "lzma", "lzw", "zstd", "jpeg", "webp"])
    def test_compressions(self, photo, compression):
        if compression in ("packbits", "lzw", "zstd", "jpeg", "webp"):
            pytest.importorskip("imagecodecs")
        image = decode(tiff(photo, compression=compression, photometric="rgb"))
        if compression in ("jpeg", "webp"):
            assert np.abs(eight_bits(image).astype(int) - photo).mean() < 4
        else:
            np.testing.assert_array_equal(eight_bits(image), photo)

    def test_lzw_without_imagecodecs(self, photo, monkeypatch):
        monkeypatch.setattr(tifffile.tifffile.TiffPage, "asarray", _without_lzw)
        turned = PIL.fromarray(np.rot90(photo).copy())
        exif = PIL.Exif()
        exif[0x112] = 6
        image = decode(saved(turned, "TIFF", compression="tiff_lzw", exif=exif))
        np.testing.assert_array_equal(eight_bits(image), photo)

    def test_every_page_and_kind_of_lzw_without_imagecodecs(self, photo, monkeypatch):
        monkeypatch.setattr(tifffile.tifffile.TiffPage, "asarray", _without_lzw)
        for mode in ("1", "L", "P", "RGB"):
            pages = [PIL.fromarray(values).convert(mode) for values in (photo, photo[::-1])]
            blob = saved(pages[0], "TIFF", compression="tiff_lzw", save_all=True, append_images=pages[1:])
            for image, page in zip(decode_all(blob), pages, strict=True):
                np.testing.assert_array_equal(eight_bits(image), np.asarray(page.convert("RGB")))

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("alpha", ["unspecified", "unassalpha", "assocalpha"])
    def test_alpha_in_lzw_is_that_of_the_same_file_without(self, photo, dtype, alpha):
        opacity = np.full(photo.shape[:2], 100)
        opacity[:9] = 0
        values = np.dstack([photo * (100 / 255) if alpha == "assocalpha" else photo, opacity])
        values = np.rint(values * (1 if dtype == np.uint8 else 257)).astype(dtype)
        options = {"photometric": "rgb", "extrasamples": [alpha]}
        found, expected = decode(lzw_tiff(values, **options)), decode(tiff(values, **options))
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        np.testing.assert_array_equal(found.alpha, expected.alpha)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_white_is_zero_in_lzw_too(self, photo, dtype):
        values = photo[:, :, 0].astype(dtype)
        values = values / np.float32(255) if dtype == np.float32 else values
        found, expected = (decode(make(values, photometric="miniswhite")) for make in (lzw_tiff, tiff))
        np.testing.assert_array_equal(found.pixels, expected.pixels)

    def test_gray_with_alpha_in_lzw_is_read_right_or_refused(self, photo):
        options = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]}
        values = photo[:, :, :2].copy()
        if find_spec("imagecodecs"):
            np.testing.assert_array_equal(rgba(decode(lzw_tiff(values, **options)))[:, :, (0, 3)], values)
        else:
            with pytest.raises(InputError, match="2 channels in LZW needs the Python package imagecodecs"):
                decode(lzw_tiff(values, **options))

    def test_planes_of_lzw_without_imagecodecs_are_refused(self, photo, monkeypatch):
        blob = tiff(np.moveaxis(photo, 2, 0), photometric="rgb", planarconfig="separate")
        monkeypatch.setattr(tifffile.tifffile.TiffPage, "asarray", _without_lzw)
        with pytest.raises(InputError, match="needs the Python package imagecodecs"):
            decode(blob)

    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("planar", ["contig", "separate"])
    def test_types_and_planes(self, photo, order, dtype, planar):
        top = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
        values = (photo / 255 * top).astype(dtype)
        stored = np.moveaxis(values, 2, 0) if planar == "separate" else values
        for options in ({}, {"tile": (16, 32)}, {"rowsperstrip": 7, "compression": "zlib"}):
            blob = tiff(stored, photometric="rgb", planarconfig=planar, byteorder=order, **options)
            image = decode(blob)
            np.testing.assert_allclose(image.pixels * top, values.astype(np.float32), atol=top * 1e-7)
            assert image.depth == {1: "8", 2: "16"}.get(dtype().itemsize if top > 1 else 0, "float")

    def test_white_is_zero(self, photo):
        image = decode(tiff(255 - photo[:, :, 0], photometric="miniswhite"))
        np.testing.assert_array_equal(eight_bits(image)[:, :, 2], photo[:, :, 0])
        assert image.gray

    def test_white_is_zero_but_transparency_is_not(self, photo):
        options = {"photometric": "miniswhite", "planarconfig": "contig", "extrasamples": ["unassalpha"]}
        image = decode(tiff(photo[:, :, :2].copy(), **options))
        np.testing.assert_array_equal(rgba(image)[:, :, (0, 3)], np.dstack([255 - photo[:, :, 0], photo[:, :, 1]]))

    def test_one_bit(self, photo):
        image = decode(saved(PIL.fromarray(photo[:, :, 0] > 99), "TIFF"))
        np.testing.assert_array_equal(image.pixels[:, :, 0], photo[:, :, 0] > 99)

    def test_palette(self, photo):
        picture = PIL.fromarray(photo).quantize(200)
        np.testing.assert_array_equal(eight_bits(decode(saved(picture, "TIFF"))), np.asarray(picture.convert("RGB")))

    def test_colours_multiplied_by_alpha_are_divided_again(self, photo):
        alpha = np.full(photo.shape[:2], 128, np.uint8)
        stored = np.dstack([np.rint(photo * (128 / 255)).astype(np.uint8), alpha])
        image = decode(tiff(stored, photometric="rgb", extrasamples=["assocalpha"]))
        assert np.abs(eight_bits(image).astype(int) - photo).max() <= 1
        np.testing.assert_array_equal(rgba(image)[:, :, 3], alpha)

    def test_thumbnails_are_no_pages(self, photo):
        stream = io.BytesIO()
        with tifffile.TiffWriter(stream) as file:
            file.write(photo[::4, ::4], subfiletype=1, photometric="rgb")
            file.write(photo, photometric="rgb")
        (image,) = decode_all(stream.getvalue())
        np.testing.assert_array_equal(eight_bits(image), photo)

    def test_nothing_but_previews_is_refused(self, photo):
        with pytest.raises(InputError, match="nothing but previews"):
            decode(tiff(photo, subfiletype=1, photometric="rgb"))

    def test_a_camera_negative_is_refused(self, photo):
        with pytest.raises(InputError, match="DNG"):
            decode(tiff(photo, photometric="rgb", extratags=[(50706, 1, 4, (1, 4, 0, 0), True)]))

    @pytest.mark.parametrize("photometric", ["separated", "cielab"])
    def test_colour_models_not_understood_are_refused_by_name(self, photo, photometric):
        values = np.dstack([photo, photo[:, :, :1]]) if photometric == "separated" else photo
        with pytest.raises(InputError, match=f"colour model {photometric.upper()}"):
            decode(tiff(values, photometric=photometric))

    def test_ycbcr_without_jpeg_is_refused(self, photo):
        blob = bytearray(tiff(photo, photometric="rgb"))
        at = blob.index(struct.pack("<HHI", 262, 3, 1))
        blob[at + 8] = 6
        with pytest.raises(InputError, match="colour model YCBCR"):
            decode(bytes(blob))

    def test_five_channels_are_refused(self, photo):
        with pytest.raises(InputError, match="5 channels"):
            decode(tiff(np.dstack([photo, photo[:, :, :2]]), photometric="rgb", planarconfig="contig"))

    @pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.complex64])
    def test_types_not_understood_are_refused(self, photo, dtype):
        with pytest.raises(InputError, match="not supported"):
            decode(tiff(photo[:, :, 0].astype(dtype), photometric="minisblack"))

    def test_nan_and_infinity_are_refused(self, photo):
        for bad in (np.nan, np.inf):
            values = (photo / 255).astype(np.float32)
            values[3, 4, 1] = bad
            with pytest.raises(InputError, match="holds NaN or infinite values"):
                decode(tiff(values, photometric="rgb"))

    def test_floats_too_large_are_called_so(self, photo):
        values = photo / 255
        values[3, 4, 1] = 1e300
        with pytest.raises(InputError, match="too large for 32-bit floats"):
            decode(tiff(values, photometric="rgb"))

    def test_ours_is_read_by_others(self, photo):
        image = decode(saved(PIL.fromarray(photo), "PNG"))
        blob = encode(image, "tiff").data
        np.testing.assert_array_equal(tifffile.imread(io.BytesIO(blob)), photo)
        np.testing.assert_array_equal(np.asarray(PIL.open(io.BytesIO(blob))), photo)


def _without_lzw(page, *args, **kwargs):
    raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")


def upright(photo, orientation):
    """What Pillow makes of the stored `photo` when told its orientation."""
    from PIL import ImageOps

    exif = PIL.Exif()
    exif[0x112] = orientation
    stored = PIL.open(io.BytesIO(saved(PIL.fromarray(photo), "PNG", exif=exif)))
    return np.asarray(ImageOps.exif_transpose(stored))


def assert_looks_like(image, expected):
    assert image.pixels.shape == expected.shape
    assert np.abs(eight_bits(image).astype(int) - expected).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_orientation_is_applied_once_and_set_to_1(photo, name, orientation):
    exif = PIL.Exif()
    exif[0x112] = orientation
    exif[0x10F] = "maker"
    options = {"TIFF": {}, "JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}.get(name, {})
    blob = saved(PIL.fromarray(photo), name, exif=exif, **options)
    image = decode(blob)
    assert_looks_like(image, upright(photo, orientation))
    again = decode(encode(image).data)
    assert_looks_like(again, upright(photo, orientation))
    tags = PIL.open(io.BytesIO(encode(image, "png").data)).getexif()
    assert (tags.get(0x112, 1), tags[0x10F]) == (1, "maker")
    stored = decode(blob, orient=False)
    assert_looks_like(stored, photo)


@pytest.mark.parametrize("orientation", [1, 3, 5, 6])
@pytest.mark.parametrize("source", ["PNG", "JPEG", "TIFF", "LZW", "AVIF"])
@pytest.mark.parametrize("target", ["png", "jpeg", "tiff", "avif", "webp"])
def test_a_picture_left_unturned_still_says_how_to_turn_it(photo, source, target, orientation):
    exif = PIL.Exif()
    exif[0x112] = orientation
    options = {"LZW": {"compression": "tiff_lzw"}, "JPEG": {"quality": 98, "subsampling": 0}}.get(source, {})
    if source == "AVIF":
        options = {"quality": 100, "subsampling": "4:4:4"}
    blob = saved(PIL.fromarray(photo), "TIFF" if source == "LZW" else source, exif=exif, **options)
    image = decode(blob, orient=False)
    assert_looks_like(image, photo)
    written = encode(image, target, Saving(quality=98)).data
    assert_looks_like(decode(written, orient=False), photo)
    assert_looks_like(decode(written), upright(photo, orientation))


def test_every_page_left_unturned_still_says_how_to_turn_it(photo):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        for orientation in (6, 1, 8):
            tag = (0x112, 3, 1, orientation, True)
            file.write(photo, photometric="rgb", extratags=[tag], metadata=None)
    pages = decode_all(encode(decode_all(stream.getvalue(), orient=False), "tiff").data)
    for page, orientation in zip(pages, (6, 1, 8), strict=True):
        np.testing.assert_array_equal(eight_bits(page), upright(photo, orientation))


def test_an_orientation_is_added_to_an_exif_block_that_has_none(photo):
    exif = PIL.Exif()
    exif[0x10F] = "maker"
    exif.get_ifd(0x8769)[0x9003] = "2001:02:03 04:05:06"
    metadata = Metadata(exif=exif.tobytes()[6:])
    assert orientation(metadata.exif) == 1
    found = PIL.Exif()
    found.load(oriented(metadata, 6).exif)
    assert (found[0x112], found[0x10F], found.get_ifd(0x8769)[0x9003]) == (6, "maker", "2001:02:03 04:05:06")


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "tiff", "avif"])
def test_others_find_our_metadata(photo, name):
    from PIL import ImageCms

    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = PIL.Exif()
    exif[0x10F] = "maker"
    exif.get_ifd(0x8769)[0x9003] = "2001:02:03 04:05:06"
    image = decode(saved(PIL.fromarray(photo), "JPEG", icc_profile=icc, exif=exif, xmp=b"<x:xmpmeta/>"))
    found = PIL.open(io.BytesIO(encode(image, name, Saving(quality=90)).data))
    found.load()
    assert found.info["icc_profile"] == icc
    tags = found.getexif()
    assert tags[0x10F] == "maker"
    assert tags.get_ifd(0x8769)[0x9003] == "2001:02:03 04:05:06"
    assert found.size == (80, 64)


def test_the_gps_and_exif_of_a_tiff_reach_a_jpeg(photo):
    exif = PIL.Exif()
    exif[0x10F] = "maker"
    exif.get_ifd(0x8769)[0x9003] = "2001:02:03 04:05:06"
    exif.get_ifd(0x8825)[1] = "N"
    image = decode(saved(PIL.fromarray(photo), "TIFF", exif=exif.tobytes()))
    tags = PIL.open(io.BytesIO(encode(image, "jpeg").data)).getexif()
    assert (tags[0x10F], tags.get_ifd(0x8769)[0x9003], tags.get_ifd(0x8825)[1]) == (
        "maker",
        "2001:02:03 04:05:06",
        "N",
    )


@pytest.mark.parametrize("order", "<>")
def test_the_thumbnail_of_before_is_not_handed_on(photo, order):
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    above = struct.pack(order + "HHHI4s", 1, 271, 2, 3, b"me\0\0")
    exif = head + above + struct.pack(order + "I", 26) + b"a second directory"
    image = decode(saved(PIL.fromarray(photo), "PNG", exif=exif))
    assert image.exif == exif
    assert decode(encode(image).data).exif == head + above + bytes(4) + b"a second directory"


def test_the_resolution_of_a_scan_stays_in_a_tiff(photo):
    image = decode(saved(PIL.fromarray(photo), "TIFF", dpi=(600, 300)))
    assert PIL.open(io.BytesIO(encode(image).data)).info["dpi"] == (600, 300)
    tags = PIL.open(io.BytesIO(encode(image, "jpeg").data)).getexif()
    assert (tags[282], tags[283], tags[296]) == (600, 300, 2)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("white", [255, 1000, 65535])
def test_pnm_of_any_maximum(gray, plain, white):
    values = np.random.default_rng(1).integers(0, white + 1, (4, 5, 1 if gray else 3))
    kind = {(True, True): 2, (True, False): 5, (False, True): 3, (False, False): 6}[gray, plain]
    body = (
        b" ".join(b"%d" % v for v in values.ravel())
        if plain
        else values.astype(">u2" if white > 255 else "u1").tobytes()
    )
    image = decode(b"P%d # a comment\n5 # and one more\n4\n%d\n" % (kind, white) + body)
    np.testing.assert_array_equal(np.rint(image.pixels[:, :, : values.shape[2]] * white), values)
    assert (image.gray, image.depth) == (gray, "8" if white < 256 else "16")


def test_a_pam_of_other_colours_is_refused_by_name():
    with pytest.raises(InputError, match="kind CMYK is not supported"):
        decode(b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE CMYK\nENDHDR\nabcd")


def test_a_file_of_several_pnm_says_that_one_is_read():
    blob = b"P5\n2 1\n255\nab"
    assert decode(blob).notes == decode(blob + b"\n").notes == ()
    assert decode(blob + blob).notes == ("only the first of several pictures in the file is read",)


def test_bitmaps_of_both_kinds():
    expected = 1 - np.array([[1, 0, 1, 1, 0, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0, 1]])
    for blob in (b"P1\n9 2\n101100101\n0 0 0 0 0 0 0 0 1\n", b"P4\n9 2\n" + bytes([0b10110010, 0x80, 0, 0x80])):
        np.testing.assert_array_equal(decode(blob).pixels[:, :, 0], expected)


def test_pillow_reads_our_netpbm(photo):
    image = decode(saved(PIL.fromarray(photo), "PPM"))
    np.testing.assert_array_equal(np.asarray(PIL.open(io.BytesIO(encode(image, "pnm").data))), photo)


@pytest.mark.parametrize("name", [form.name for form in FORMATS.values() if form.writes])
def test_a_header_tells_size_and_depth(name):
    if FORMATS[name].needs:
        pytest.importorskip(FORMATS[name].needs)
    image = decode(saved(PIL.fromarray(data.astronaut()[:40, :57]), "PNG"))
    found = read_header(encode(image, name).data)
    assert (found.format, found.width, found.height) == (name, 57, 40)


# ---- pixels per inch


@pytest.mark.parametrize("source", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("target", ["PNG", "JPEG", "TIFF"])
def test_the_density_of_a_scan_is_kept(photo, source, target):
    image = decode(saved(PIL.fromarray(photo), source, dpi=(300, 600)))
    written = PIL.open(io.BytesIO(encode(image, target.lower()).data))
    assert written.info["dpi"] == pytest.approx((300, 600), abs=0.01)


def test_the_density_turns_with_the_picture_and_is_stripped_with_the_rest(photo):
    exif = PIL.Exif()
    exif[0x112] = 6
    blob = saved(PIL.fromarray(photo), "JPEG", exif=exif, dpi=(300, 600))
    assert decode(blob).density == pytest.approx((600 / 0.0254, 300 / 0.0254))
    assert decode(blob, orient=False).density == pytest.approx((300 / 0.0254, 600 / 0.0254))
    bare = PIL.open(io.BytesIO(encode(decode(blob), "png", Saving(metadata="strip")).data))
    assert "dpi" not in bare.info


@pytest.mark.parametrize("source", ["JPEG", "TIFF", "PNG"])
@pytest.mark.parametrize("target", ["JPEG", "TIFF", "PNG"])
def test_the_density_turns_in_every_place_that_tells_it(photo, source, target):
    exif = PIL.Exif()
    exif[0x112] = 6
    exif[282], exif[283], exif[296] = 300.0, 200.0, 2
    image = decode(saved(PIL.fromarray(photo), source, exif=exif, dpi=(300, 200)))
    found = PIL.open(io.BytesIO(encode(image, target.lower()).data))
    assert found.info["dpi"] == pytest.approx((200, 300), abs=0.01)
    assert (found.getexif()[282], found.getexif()[283]) == (200, 300)


def test_a_density_that_cannot_be_is_none(photo):
    data = bytearray(saved(PIL.fromarray(photo), "JPEG", dpi=(300, 300)))
    data[14:18] = bytes(4)
    assert decode(bytes(data)).density is None
    assert decode(saved(PIL.fromarray(photo), "PNG")).density is None
    assert decode(saved(PIL.fromarray(photo), "TIFF")).density is None
    centimetres = saved(PIL.fromarray(photo), "TIFF", x_resolution=50.0, y_resolution=50.0, resolution_unit="cm")
    assert decode(centimetres).density == pytest.approx((5000, 5000))
