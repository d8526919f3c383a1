"""Images in: 16 bits a pixel, outsized claims, and what no reader should make up."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from toolkit.errors import ImageError
from toolkit.images import MAX_PIXELS, decode_image, read_image


def encoded(image, kind="PNG", **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def png_chunk(name, content):
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def deep_png(values):
    """A 16-bit gray PNG, written by hand from the format's specification."""
    height, width = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


VALUES = np.array([[0, 255, 256, 1000], [32768, 40000, 65279, 65535]])
GRAYS = np.array([[0, 0, 1, 3], [128, 156, 254, 255]])  # VALUES // 256


def test_a_16_bit_png_keeps_its_upper_8_bits():
    image = decode_image(deep_png(VALUES), name="x")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.repeat(GRAYS[:, :, None], 3, axis=2))


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<i4", "<f4"])
def test_a_deep_tiff_gives_the_same_grays_as_the_png(kind):
    if kind == ">u2":  # Pillow writes none: header, 10 tags, then the pixels, big-endian
        tags = [(256, 3, 4), (257, 3, 2), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 122)]
        tags += [(277, 3, 1), (278, 3, 2), (279, 4, 16)]
        entries = b"".join(
            struct.pack(">HHI", tag, form, 1)
            + (struct.pack(">HH", value, 0) if form == 3 else struct.pack(">I", value))
            for tag, form, value in tags
        )
        head = b"MM\0*" + struct.pack(">IH", 8, len(tags)) + entries + struct.pack(">I", 0)
        content = head + VALUES.astype(">u2").tobytes()
        assert len(head) == 122
    else:
        content = encoded(Image.fromarray(VALUES.astype(kind)), "TIFF")
    np.testing.assert_array_equal(decode_image(content, name="x")[:, :, 1], GRAYS)


def test_a_16_bit_gray_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    image = Image.fromarray(VALUES.astype(np.uint16))
    (tmp_path / "x.png").write_bytes(encoded(image, exif=exif))
    upright = read_image(tmp_path / "x.png")
    np.testing.assert_array_equal(upright[:, :, 0], np.rot90(GRAYS, -1))


@pytest.mark.parametrize("value", [-1.0, 65536.0, 0.5, np.nan, np.inf])
def test_numbers_that_are_no_16_bit_gray_are_refused(value):
    values = np.full((2, 3), 7, np.float32)
    values[1, 2] = value
    with pytest.raises(ImageError, match=r"depth\.tif holds numbers that are no gray of 16 bits"):
        decode_image(encoded(Image.fromarray(values), "TIFF"), name="depth.tif")


@pytest.mark.parametrize("value", [-1, 65536])
def test_whole_numbers_beyond_16_bits_are_refused(value):
    values = np.full((2, 3), value, np.int32)
    with pytest.raises(ImageError, match="no gray of 16 bits"):
        decode_image(encoded(Image.fromarray(values), "TIFF"), name="x")


def claiming(width, height):
    """A PNG that says it is so large and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


@pytest.mark.parametrize(
    ("width", "height"), [(MAX_PIXELS + 1, 1), (9500, 9500), (14_000, 14_000), (60_000, 60_000)]
)
@pytest.mark.parametrize("filters", ["error", "ignore"])
def test_an_outsized_claim_is_refused_before_decoding_and_without_a_warning(width, height, filters):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter(filters)
        with pytest.raises(ImageError, match=r"x\.png has more than 89,478,485 pixels"):
            decode_image(claiming(width, height), name="x.png")
    assert seen == []


def test_the_largest_size_is_decoded():
    """It gets as far as the pixels, which this file lacks."""
    with pytest.raises(ImageError, match="damaged"):
        decode_image(claiming(MAX_PIXELS // 64, 64), name="x.png")


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"no picture"])
def test_what_is_no_image_is_refused(content):
    with pytest.raises(ImageError, match="x"):
        decode_image(content, name="x")


def see_through(mode):
    """Two pixels: red, and black that is wholly transparent; and how they are saved."""
    if mode in ("P", "RGB"):
        image = Image.new(mode, (2, 1))
        if mode == "P":
            image.putpalette([255, 0, 0, 0, 0, 0])
            image.putdata([0, 1])
            return encoded(image, transparency=1)
        image.putdata([(255, 0, 0), (0, 0, 0)])
        return encoded(image, transparency=(0, 0, 0))
    image = Image.new("RGBA", (2, 1))
    image.putdata([(255, 0, 0, 255), (0, 0, 0, 0)])
    return encoded(image)


@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA"])
def test_what_is_transparent_lies_on_white(mode):
    found = decode_image(see_through(mode), name="it")
    assert found.tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_half_transparent_gray_is_mixed_with_white_and_opaque_colours_stay():
    half = Image.new("LA", (1, 1), (100, 51))  # a fifth of 100 and four fifths of 255
    assert decode_image(encoded(half), name="it").tolist() == [[[224, 224, 224]]]
    colours = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    colours[..., 3] = 255
    opaque = decode_image(encoded(Image.fromarray(colours, "RGBA")), name="it")
    assert np.array_equal(opaque, colours[..., :3])
