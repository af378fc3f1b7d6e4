"""Damaged, hostile and empty files end in one InputError: no crash, no other exception, no hang."""

import io
import lzma
import struct
import time
import zlib

import numpy as np
import pytest

from gir_cli.errors import InputError, OutputError, UsageError
from gir_cli.image import FORMATS, Image, Saving, check_size, decode, decode_all, encode, frames, named, read_header

DAMAGES = 200


def valid(form):
    """Small valid files of a format: gray, colour, alpha and depth as it has them, with metadata."""
    if form.needs:
        pytest.importorskip(form.needs)
    rng = np.random.default_rng(5)
    colours = rng.random((48, 40, 3)).astype(np.float32)
    blobs = {"exif": b"II*\0\x08\0\0\0\0\0\0\0\0\0", "xmp": b"<x:xmpmeta/>"}
    for depth in form.depths:
        yield encode(Image(colours, None, depth, **blobs), form.name, record="{}").data
        yield encode(Image(colours, colours[:, :, 0].copy(), depth), form.name).data
        yield encode(Image(np.repeat(colours[:, :, :1], 3, axis=2), None, depth, gray=True), form.name).data


def damaged(data, rng):
    """One of: cut, a few bytes changed, a run zeroed, a piece doubled, a number in the header blown up."""
    data = bytearray(data)
    at = int(rng.integers(len(data)))
    kind = rng.integers(6)
    if kind == 0:
        del data[at:]
    elif kind == 1:
        for place in rng.integers(len(data), size=int(rng.integers(1, 20))):
            data[place] = rng.integers(256)
    elif kind == 2:
        data[at : at + 50] = bytes(len(data[at : at + 50]))
    elif kind == 3:
        data[at:at] = data[max(0, at - 60) : at]
    elif kind == 4:
        for place in rng.integers(min(len(data), 200), size=4):
            data[place] = rng.integers(256)
    else:
        place = int(rng.integers(8, 64))
        data[place : place + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\xff\xff"])
    return bytes(data)


@pytest.mark.parametrize("form", [form for form in FORMATS.values() if form.writes], ids=lambda form: form.name)
def test_damaged_files_are_read_or_refused(form):
    files = list(valid(form))
    rng = np.random.default_rng(7)
    for number in range(DAMAGES):
        blob = damaged(files[number % len(files)], rng)
        begun = time.monotonic()
        try:
            for image in decode_all(blob, max_pixels=1 << 22):
                assert np.isfinite(image.pixels).all()
        except InputError as error:
            assert str(error) and "\n" not in str(error)
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "tiff", "jp2", "jxl", "pnm", "pam", "pfm", "avif", "bmp"])
def test_a_cut_file_is_never_half_a_picture(name):
    for blob in valid(FORMATS[name]):
        for share in (0.3, 0.6, 0.9):
            with pytest.raises(InputError):
                decode(blob[: int(share * len(blob))])


@pytest.mark.parametrize("cut", [1, 2, 5, 20, 50])
@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "tiff_lzw"])
def test_a_tiff_that_lacks_the_values_of_its_tags_is_no_other_picture(compression, cut):
    picture = pytest.importorskip("PIL.Image").fromarray(np.full((64, 80, 3), 99, np.uint8))
    stream = io.BytesIO()
    picture.save(stream, "TIFF", compression=compression)
    for read in (read_header, decode):
        with pytest.raises(InputError, match="damaged TIFF"):
            read(stream.getvalue()[:-cut])


@pytest.mark.parametrize(
    ("blob", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\x76\x2f\x31\x01\2\0\0\0", "OpenEXR"),
        (b"#?RADIANCE\n", "Radiance"),
        (b"II*\0\x10\0\0\0CR\2\0", "camera raw"),
    ],
)
def test_images_of_other_formats_are_named(blob, name):
    with pytest.raises(InputError, match=f"{name}.* is not supported: convert it"):
        decode(blob)


@pytest.mark.parametrize("blob", [b"", b"hello", b"\0" * 100, b"%PDF-1.4\n", b"<svg/>"])
def test_what_is_no_image_is_called_so(blob):
    with pytest.raises(InputError, match="empty file" if not blob else "not an image I can read"):
        decode(blob)


def test_a_png_whose_chunk_claims_gigabytes():
    blob = bytearray(encode(Image(np.zeros((8, 8, 3), np.float32))).data)
    blob[33:37] = struct.pack(">I", 3 << 30)
    with pytest.raises(InputError, match="truncated PNG"):
        decode(bytes(blob))


def test_a_png_with_a_wrong_checksum_is_told():
    blob = bytearray(encode(Image(np.zeros((8, 8, 3), np.float32))).data)
    blob[20] ^= 1
    with pytest.raises(InputError, match="wrong checksum of IHDR"):
        decode(bytes(blob))


def bomb(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    packed = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(
    "blob",
    [
        bomb(30000, 30000),
        b"P6\n60000 60000\n255\n",
        b"P7\nWIDTH 99999\nHEIGHT 99999\nDEPTH 3\nMAXVAL 255\nENDHDR\n",
        b"PF\n60000 60000\n-1\n",
        b"\xff\xd8\xff\xc0\x00\x11\x08\x75\x30\x75\x30\x03\x01\x11\0\x02\x11\0\x03\x11\0\xff\xda\0\x02",
    ],
)
def test_a_bomb_is_refused_from_its_header(blob):
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"pixels \(at most 134217728 are allowed\)"):
        decode(blob)
    assert time.monotonic() - begun < 0.5


def test_a_tiff_bomb_is_refused_from_its_header():
    tifffile = pytest.importorskip("tifffile")
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((64, 64), np.uint8), metadata=None)
    blob = bytearray(stream.getvalue())
    for tag in (256, 257):
        at = blob.index(struct.pack("<HHI", tag, 4, 1))
        blob[at + 8 : at + 12] = struct.pack("<I", 30000)
    with pytest.raises(InputError, match="30000x30000 is 900000000 pixels"):
        decode(bytes(blob))


def test_a_jpeg_of_endless_scans_is_refused():
    blob = encode(Image(np.zeros((8, 8, 3), np.float32)), "jpeg").data
    scan = blob[blob.index(b"\xff\xda") : -2]
    with pytest.raises(InputError, match="500 scans"):
        decode(blob[:-2] + 600 * scan + b"\xff\xd9")


def replaced(blob, tag, value):
    """A little-endian TIFF with one of its tags' values, a LONG's, changed."""
    blob = bytearray(blob)
    at = blob.index(struct.pack("<H", tag), 8)
    blob[at + 2 : at + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(blob)


PACKERS = {
    8: lambda raw: zlib.compress(raw, 9),
    32773: lambda raw: b"\x81\0" * (len(raw) // 128),
    34925: lambda raw: lzma.compress(raw),
}


@pytest.mark.parametrize("compression", PACKERS)
def test_a_tiff_bomb_without_imagecodecs(monkeypatch, compression):
    tiff = pytest.importorskip("gir_cli.image.tiff")
    monkeypatch.setattr(tiff, "find_spec", lambda name: None)
    stream = io.BytesIO()
    tiff.tifffile.imwrite(stream, np.zeros((64, 64), np.uint8), compression="zlib", metadata=None)
    blob = replaced(stream.getvalue(), 259, compression)
    for size, message in ((1 << 12, None), (1 << 24, "inflates to more than its size")):
        strip = PACKERS[compression](bytes(size))
        whole = replaced(replaced(blob, 273, len(blob)), 279, len(strip)) + strip
        if message is None:
            assert not decode(whole).pixels.any()
        else:
            with pytest.raises(InputError, match=message):
                decode(whole)


@pytest.mark.parametrize("compression", PACKERS)
def test_tiles_far_larger_than_the_picture_are_refused(compression):
    stream = io.BytesIO()
    pytest.importorskip("tifffile").imwrite(
        stream, np.zeros((16, 16), np.uint8), tile=(1024, 1024), compression="zlib", metadata=None
    )
    assert decode(stream.getvalue()).width == 16
    blob = replaced(stream.getvalue(), 259, compression)
    for tag in (322, 323):
        blob = replaced(blob, tag, 16384)
    with pytest.raises(InputError, match="tiles are far larger than the picture"):
        decode(blob)


def test_max_pixels_is_the_callers():
    blob = encode(Image(np.zeros((10, 20, 3), np.float32))).data
    assert decode(blob, max_pixels=200).width == 20
    with pytest.raises(InputError, match=r"20x10 is 200 pixels \(at most 199 are allowed\)"):
        read_header(blob, max_pixels=199)


def test_a_profile_that_is_a_bomb_is_left_out():
    blob = encode(Image(np.zeros((8, 8, 3), np.float32))).data
    body = b"x\0\0" + zlib.compress(bytes(1 << 26), 9)
    chunk = struct.pack(">I", len(body)) + b"iCCP" + body + struct.pack(">I", zlib.crc32(b"iCCP" + body))
    assert decode(blob[:33] + chunk + blob[33:]).icc is None


def test_nothing_that_is_not_finite_is_written():
    for bad in (np.nan, np.inf):
        pixels = np.full((4, 4, 3), bad, np.float32)
        with pytest.raises(OutputError, match="NaN or infinite"):
            encode(Image(pixels))


@pytest.mark.parametrize(("name", "size"), [("webp", (16384, 1)), ("jpeg", (65501, 1)), ("jp2", (40, 31))])
def test_sizes_a_format_cannot_have_are_refused(name, size):
    with pytest.raises(OutputError, match=f"for {name}"):
        check_size(FORMATS[name], *size)
    with pytest.raises(OutputError, match=f"for {name}"):
        encode(Image(np.zeros((*size[::-1], 3), np.float32)), name)


class TestNotes:
    def test_jpeg_composites_on_the_background(self):
        alpha = np.zeros((8, 8), np.float32)
        done = encode(Image(np.ones((8, 8, 3), np.float32), alpha), "jpeg", Saving(background="#ff0000"))
        assert done.notes == ("jpeg holds no transparency: composited on #ff0000",)
        np.testing.assert_allclose(decode(done.data).pixels[4, 4], (1, 0, 0), atol=0.02)

    @pytest.mark.parametrize("name", ["avif", "jp2", "webp"])
    @pytest.mark.parametrize("quality", [50, 90, 100])
    def test_alpha_that_is_not_kept_to_the_bit(self, name, quality):
        rng = np.random.default_rng(1)
        alpha = (rng.integers(0, 256, (40, 40)) / np.float32(255)).astype(np.float32)
        done = encode(Image(rng.random((40, 40, 3)).astype(np.float32), alpha), name, Saving(quality=quality))
        exact = np.array_equal(decode(done.data).alpha, alpha)
        note = f"{name} of quality {quality} holds transparency only nearly: quality 100 holds it exactly"
        assert done.notes == (() if exact else (note,))
        assert exact == (name == "webp" or quality == 100)
        opaque = Image(np.zeros((40, 40, 3), np.float32), np.ones((40, 40), np.float32))
        assert encode(opaque, name, Saving(quality=quality)).notes == ()

    def test_16_bits_into_8(self):
        image = Image(np.full((8, 8, 3), 0.5, np.float32), depth="16")
        assert encode(image, "jpeg").notes == ("jpeg holds 8 bits a sample at most: converted from 16",)
        assert encode(image, "png", Saving(depth="8")).notes == ()
        assert encode(image, "avif").notes == ("avif holds 12 bits a sample at most: converted from 16",)

    def test_16_bits_into_jpeg_do_not_saturate(self):
        image = Image(np.full((8, 8, 3), 0.25, np.float32), depth="16")
        np.testing.assert_allclose(decode(encode(image, "jpeg").data).pixels, 0.25, atol=0.01)

    def test_float_into_png_does_not_turn_black(self):
        image = Image(np.full((8, 8, 3), 0.25, np.float32), depth="float")
        done = encode(image, "png")
        assert done.notes == ("png holds 16 bits a sample at most: converted from float",)
        np.testing.assert_allclose(decode(done.data).pixels, 0.25, atol=1e-5)

    def test_floats_beyond_0_to_1_are_clipped_and_it_is_said(self):
        image = Image(np.full((8, 8, 3), 1.5, np.float32), depth="float")
        done = encode(image, "png", Saving(depth="8"))
        assert done.notes == ("values beyond [0, 1] are clipped",)
        assert (decode(done.data).pixels == 1).all()

    def test_a_profile_for_other_colours_is_left_out(self):
        icc = bytes(16) + b"GRAY" + bytes(16) + b"acsp" + bytes(100)
        image = Image(np.zeros((8, 8, 3), np.float32), icc=icc)
        done = encode(image, "png")
        assert done.notes == ("the GRAY profile does not fit RGB pixels and is left out",)
        assert decode(done.data).icc is None

    def test_metadata_without_room(self):
        image = Image(np.zeros((8, 8, 3), np.float32), icc=b"x" * 200, exif=b"II*\0" + b"x" * 9, xmp=b"<x/>")
        assert encode(image, "bmp").notes == ("bmp has no room for ICC and EXIF and XMP: left out",)
        large = Image(image.pixels, exif=b"II*\0" + bytes(70000))
        assert encode(large, "jpeg").notes == ("jpeg has no room for EXIF: left out",)

    @pytest.mark.parametrize(("metadata", "left"), [("keep", "ies"), ("color", "i"), ("strip", "")])
    def test_metadata_as_asked_for(self, metadata, left):
        image = Image(np.zeros((8, 8, 3), np.float32), icc=b"x" * 200, exif=b"II*\0" + b"x" * 9, xmp=b"<x/>")
        done = encode(image, "png", Saving(metadata=metadata))
        found = decode(done.data)
        assert "".join(k for k, v in zip("ies", (found.icc, found.exif, found.xmp), strict=True) if v) == left
        assert done.notes == ()


def test_settings_that_make_no_sense():
    for settings in ({"quality": 0}, {"quality": 101}, {"compress": 10}, {"depth": "12"}, {"metadata": "all"}):
        with pytest.raises(UsageError):
            Saving(**settings)
    with pytest.raises(UsageError, match="no colour"):
        _ = Saving(background="blu").colour
    with pytest.raises(UsageError, match="did you mean 'jpeg'"):
        named("jpegg")
    with pytest.raises(UsageError, match="gif can be read but not written"):
        named("gif")


class TestHiddenColours:
    def test_do_not_bleed_into_sight(self):
        pixels = np.zeros((32, 32, 3), np.float32)
        pixels[:, :16] = (0.2, 0.6, 0.4)
        pixels[:, 16:] = (1, 0, 1)
        alpha = np.zeros((32, 32), np.float32)
        alpha[:, :16] = 1
        seen = Image(pixels, alpha).visible()
        np.testing.assert_array_equal(seen[:, :16], pixels[:, :16])
        np.testing.assert_allclose(seen[:, 16:], np.broadcast_to((0.2, 0.6, 0.4), (32, 16, 3)), atol=1e-5)

    def test_come_back_in_the_result(self):
        pixels = np.random.default_rng(1).random((9, 7, 3)).astype(np.float32)
        alpha = np.zeros((9, 7), np.float32)
        alpha[2:5, 2:5] = 0.5
        image = Image(pixels, alpha)
        result = image.replaced(image.visible() * 0)
        np.testing.assert_array_equal(result.pixels[alpha == 0], pixels[alpha == 0])
        assert (result.pixels[alpha > 0] == 0).all()
        assert result.alpha is alpha

    def test_alpha_follows_the_size(self):
        image = Image(np.zeros((8, 6, 3), np.float32), np.ones((8, 6), np.float32))
        assert image.replaced(np.zeros((16, 12, 3), np.float32)).alpha.shape == (16, 12)


class TestFrames:
    def pictures(self):
        rng = np.random.default_rng(3)
        for number in range(5):
            yield Image(rng.random((7, 9 + number, 3)).astype(np.float32), depth="16", format="png")

    @pytest.mark.parametrize("name", ["png", "pnm", "pam", "pfm"])
    def test_a_stream_is_cut_into_its_frames(self, name):
        blobs = [encode(picture, name).data for picture in self.pictures()]
        assert list(frames(io.BytesIO(b"".join(blobs)))) == blobs

    def test_kinds_may_mix(self):
        blobs = [encode(p, n).data for p, n in zip(self.pictures(), ("png", "pfm", "pnm", "pam", "png"), strict=True)]
        assert list(frames(io.BytesIO(b"".join(blobs)))) == blobs

    @pytest.mark.parametrize("name", ["jpeg", "tiff", "webp", "bmp"])
    def test_any_other_image_comes_alone(self, name):
        blob = encode(next(self.pictures()), name).data
        assert list(frames(io.BytesIO(blob))) == [blob]

    def test_a_pipe_that_gives_a_byte_at_a_time(self):
        class Slow(io.BytesIO):
            def read(self, size=-1):
                return super().read(min(size, 1))

        blobs = [encode(picture, "pnm").data for picture in self.pictures()]
        assert list(frames(Slow(b"".join(blobs)))) == blobs

    @pytest.mark.parametrize("name", ["png", "pnm"])
    def test_whole_frames_come_before_the_truncated_one(self, name):
        blobs = [encode(picture, name).data for picture in self.pictures()]
        stream = frames(io.BytesIO(b"".join(blobs)[:-5]))
        assert [next(stream) for _ in range(4)] == blobs[:4]
        with pytest.raises(InputError, match="truncated"):
            next(stream)

    def test_only_one_frame_is_read_ahead(self):
        blob = encode(next(self.pictures()), "pnm").data
        source = io.BytesIO(blob * 100)
        next(frames(source))
        assert source.tell() <= len(blob) + 64

    @pytest.mark.parametrize("blob", [b"", b"hello", b"P6\n99999 99999\n255\n", b"P6 x", b"P6\n"])
    def test_no_frame_at_all(self, blob):
        with pytest.raises(InputError):
            list(frames(io.BytesIO(blob)))
