"""The perceptual hash: against cosines written out, and what it must and must not notice."""

import math

import cv2
import numpy as np
import pytest
from PIL import Image

from toolkit.images import decode_image, encode_jpeg, resize
from toolkit.patches.phash import hamming, perceptual_hash
from toolkit.records import Box, PatchPair, Sighting, TrackQuality


def blotches(seed, side=96):
    """A picture of soft blotches, as a thing is: mostly low frequencies."""
    cells = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return np.array(Image.fromarray(cells).resize((side, side), Image.Resampling.BICUBIC))


def literal_hash(patch):
    """The definition, term by term, in floating point."""
    small = np.asarray(Image.fromarray(patch).resize((32, 32), Image.Resampling.BILINEAR))
    gray = [[0.299 * r + 0.587 * g + 0.114 * b for r, g, b in row] for row in small.tolist()]
    frequencies = [
        sum(
            gray[y][x]
            * math.cos(math.pi * v * (2 * y + 1) / 64)
            * math.cos(math.pi * u * (2 * x + 1) / 64)
            for y in range(32)
            for x in range(32)
        )
        for v in range(8)
        for u in range(8)
    ]
    median = sorted(frequencies[1:])[31]
    return int("".join("1" if value > median else "0" for value in frequencies), 2)


@pytest.mark.parametrize("seed", range(5))
def test_the_hash_is_its_definition(seed):
    assert perceptual_hash(blotches(seed)) == literal_hash(blotches(seed))


def test_the_hash_stays_what_it_was():
    # Shards hold it: another value for the same pixels would make old and new ones strangers.
    ramp = np.add.outer(np.arange(40) * 3, np.arange(30) ** 2 // 6)[..., None]
    patch = np.concatenate([ramp % 256, ramp * 2 % 256, 255 - ramp % 200], 2).astype(np.uint8)
    assert f"{perceptual_hash(patch):016x}" == "ab14254d3b6e3963"


@pytest.mark.parametrize("seed", range(6))
def test_a_copy_of_another_size_light_and_quality_is_near(seed):
    patch = blotches(seed)
    copy = decode_image(encode_jpeg(resize(patch, 61, 61), quality=50), name="copy")
    brighter = cv2.convertScaleAbs(copy, alpha=0.9, beta=20)
    assert hamming(perceptual_hash(patch), perceptual_hash(brighter)) <= 8


def test_other_pictures_are_far():
    hashes = [perceptual_hash(blotches(seed)) for seed in range(30)]
    apart = [hamming(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(apart) > 10
    assert 28 < np.mean(apart) < 36


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (256, 256)])
def test_any_size_has_a_hash_and_a_flat_patch_only_its_constant(size):
    assert perceptual_hash(np.full((*size, 3), 90, np.uint8)) == 1 << 63


@pytest.mark.parametrize(("one", "other", "bits"), [(0, 0, 0), (0, 2**64 - 1, 64), (6, 5, 2)])
def test_hamming_counts_bits(one, other, bits):
    assert hamming(one, other) == bits


def record():
    sighting = Sighting(1.5, Box(0, 0, 8, 8))
    return PatchPair(
        "k", "a" * 64, "a.mp4", "a", "t", sighting, Sighting(2.0, sighting.box),
        TrackQuality(1, 0, 1), 0x00AB, 2**64 - 1,
    )  # fmt: skip


def test_the_record_has_both_hashes_as_hex_digits():
    content = record().as_json()
    assert content["query"]["phash"] == "00000000000000ab"
    assert content["positive"]["phash"] == "f" * 16
    assert PatchPair.from_json("k", content) == record()


@pytest.mark.parametrize(
    "digits", ["", "ab", "0x000000000000ab", "00000000000000AB", " 0000000000000ab", "g" * 16, 171]
)
def test_a_hash_that_is_none_is_refused(digits):
    content = record().as_json()
    content["query"]["phash"] = digits
    with pytest.raises((ValueError, TypeError)):
        PatchPair.from_json("k", content)


def test_a_record_without_a_hash_is_refused():
    content = record().as_json()
    del content["positive"]["phash"]
    with pytest.raises(KeyError, match="phash"):
        PatchPair.from_json("k", content)
