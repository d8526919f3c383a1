"""The fast reader against the careful one: Pillow's decoding and resize."""

import io

import numpy as np
import pytest
from PIL import Image

from toolkit.errors import ImageError, ShardError
from toolkit.images import decode_image, encode_jpeg
from toolkit.patches.phash import perceptual_hash
from toolkit.patches.shards import PairSample, read_pairs, write_shard
from toolkit.preprocess import Preprocessing
from toolkit.records import Box, PatchPair, Sighting, TrackQuality
from toolkit.training import reading
from toolkit.training.reading import jpeg_frame, read_patch

QUARTER_TURN = Image.Exif()
QUARTER_TURN[0x0112] = 6  # the tag Orientation


def picture(height, width, seed=0):
    """Colours that change slowly, with some noise: what JPEG is made for."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (6, 7, 3), np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), float)
    return np.clip(smooth + random.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def saved(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def stored(tmp_path):
    """A pair whose query is the given bytes."""

    def store(content, positive=None):
        view = picture(20, 20)
        sighting = Sighting(0.0, Box(0, 0, 9, 9))
        record = PatchPair(
            "k", "a" * 64, "a.mp4", "a", "a-0", sighting, sighting, TrackQuality(1, 0, 1),
            perceptual_hash(view), perceptual_hash(view),
        )  # fmt: skip
        shard = tmp_path / "one.tar"
        write_shard(shard, [PairSample(record, content, positive or encode_jpeg(view))])
        return read_pairs(shard)[0]

    return store


def careful(content, preprocessing):
    return preprocessing.fit(decode_image(content, name="x"))


@pytest.mark.parametrize("shape", [(96, 96), (40, 40), (130, 88), (95, 97), (227, 300), (17, 60)])
@pytest.mark.parametrize("size", [32, 96, 227])
def test_it_gives_what_the_careful_reader_gives(stored, shape, size):
    content, preprocessing = encode_jpeg(picture(*shape)), Preprocessing(size, size)
    found = read_patch(stored(content), "query.jpg", preprocessing)
    assert (found.shape, found.dtype) == ((size, size, 3), np.uint8)
    off = np.abs(found.astype(int) - careful(content, preprocessing))
    if min(shape) < 4 * size:
        assert off.max() <= 2
        assert off.mean() < 0.2
    else:
        assert off.mean() < 4  # decoded smaller


def test_at_the_size_of_the_input_nothing_is_resized(stored):
    content = encode_jpeg(picture(64, 48))
    found = read_patch(stored(content), "query.jpg", Preprocessing(64, 48))
    np.testing.assert_array_equal(found, decode_image(content, name="x"))


def test_each_part_is_its_own(stored):
    query, positive = encode_jpeg(picture(32, 32, 1)), encode_jpeg(picture(32, 32, 2))
    pair, preprocessing = stored(query, positive), Preprocessing(32, 32)
    for part, content in (("query.jpg", query), ("positive.jpg", positive)):
        np.testing.assert_array_equal(
            read_patch(pair, part, preprocessing), decode_image(content, name="x")
        )


@pytest.mark.parametrize(("side", "factor"), [(127, 1), (128, 2), (256, 4), (508, 4), (800, 8)])
def test_a_large_picture_is_decoded_smaller_but_never_too_small(stored, monkeypatch, side, factor):
    sizes = []
    resize = reading._resized
    monkeypatch.setattr(
        reading, "_resized", lambda image, *size: sizes.append(image.shape) or resize(image, *size)
    )
    content, preprocessing = encode_jpeg(picture(side, side + 16)), Preprocessing(32, 32)
    found = read_patch(stored(content), "query.jpg", preprocessing)
    assert sizes == [(side // factor, (side + 16) // factor, 3)]
    assert min(sizes[0][:2]) >= 64
    assert np.abs(found.astype(int) - careful(content, preprocessing)).mean() < 1


@pytest.mark.parametrize(
    "content",
    [
        saved(picture(50, 60)[:, :, 0]),
        saved(picture(50, 60), progressive=True),
        saved(picture(50, 60), exif=QUARTER_TURN),
        saved(picture(50, 60), "PNG"),
        saved(np.dstack([picture(50, 60), np.full((50, 60), 40, np.uint8)]), "WEBP"),
        b"".join([saved(picture(50, 60)), b"something behind it"]),
    ],
    ids=["gray", "progressive", "turned", "png", "webp", "a tail"],
)  # fmt: skip
def test_other_pictures_are_read_as_carefully_as_ever(stored, content):
    preprocessing = Preprocessing(40, 40)
    found = read_patch(stored(content), "query.jpg", preprocessing)
    assert np.abs(found.astype(int) - careful(content, preprocessing)).max() <= 2


def test_four_inks_are_read_by_the_careful_reader(stored):
    buffer = io.BytesIO()
    Image.fromarray(picture(50, 60)).convert("CMYK").save(buffer, "JPEG")
    content, preprocessing = buffer.getvalue(), Preprocessing(40, 40)
    found = read_patch(stored(content), "query.jpg", preprocessing)
    np.testing.assert_array_equal(found, careful(content, preprocessing))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\xff" * 40 + b"\xff\xd9",
        b"\xff\xd8\xff\xe0\x00\x00" + b"\x00" * 40 + b"\xff\xd9",
        encode_jpeg(picture(90, 90))[:1500],
        encode_jpeg(picture(90, 90))[:200] + b"\xff\xd9",
    ],
    ids=["empty", "text", "no frame", "filling", "no length", "cut short", "cut and closed"],
)
def test_a_damaged_picture_is_an_error_with_its_name(stored, content):
    with pytest.raises(ImageError, match=r"one\.tar:k\.query\.jpg"):
        read_patch(stored(content), "query.jpg", Preprocessing(40, 40))


def test_a_shard_that_is_gone_or_shorter_is_an_error_with_the_name(stored):
    pair, preprocessing = stored(encode_jpeg(picture(40, 40))), Preprocessing(40, 40)
    pair.shard.write_bytes(pair.shard.read_bytes()[: pair.query.offset + 10])
    with pytest.raises(ShardError, match=r"k\.query\.jpg is cut short"):
        read_patch(pair, "query.jpg", preprocessing)
    pair.shard.unlink()
    with pytest.raises(ShardError, match=r"Cannot read .*k\.query\.jpg: No such file"):
        read_patch(pair, "query.jpg", preprocessing)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"x" * 3000}])
@pytest.mark.parametrize("shape", [(1, 1), (37, 301), (400, 16)])
def test_the_frame_header_says_the_size(shape, options):
    frame = jpeg_frame(saved(picture(*shape), **options))
    assert (frame.height, frame.width, frame.bits, frame.components) == (*shape, 8, 3)
    assert jpeg_frame(saved(picture(*shape)[:, :, 0])).components == 1
