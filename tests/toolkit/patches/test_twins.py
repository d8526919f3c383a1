"""Tracks that repeat each other: the bands against a comparison of all with all."""

import numpy as np
import pytest

from toolkit.patches.twins import twin_tracks


def literal_twins(tracks, hashes):
    return sorted(
        {
            (int(tracks[i]), int(tracks[j]))
            for i in range(len(tracks))
            for j in range(len(tracks))
            if tracks[i] != tracks[j]
            and any(int(a ^ b).bit_count() <= 4 for a in hashes[i] for b in hashes[j])
        }
    )


@pytest.mark.parametrize("count", [0, 1, 2, 40, 150])
def test_bands_find_what_comparing_all_finds(count):
    random = np.random.default_rng(count)
    looks = random.integers(0, 1 << 63, 5).astype(np.uint64)
    hashes = looks[random.integers(0, 5, (count, 2))]
    for _ in range(6):  # up to six bits beside a look, each turned over half of the time
        bits = np.uint64(1) << random.integers(0, 64, (count, 2)).astype(np.uint64)
        hashes ^= np.where(random.random((count, 2)) < 0.5, bits, np.uint64(0))
    tracks = random.integers(0, count // 3 + 1, count)
    expected = literal_twins(tracks, hashes)
    assert [tuple(row) for row in twin_tracks(tracks, hashes).tolist()] == expected
    assert bool(expected) == (count > 2)


@pytest.mark.parametrize("places", [[0, 20, 40, 63], [12, 25, 38, 51], [60, 61, 62, 63]])
def test_four_bits_anywhere_are_found_and_five_are_not(places):
    other = sum(1 << place for place in places)
    tracks = np.array([4, 9])
    near = np.array([[0, 0], [other, other]], np.uint64)
    assert twin_tracks(tracks, near).tolist() == [[4, 9], [9, 4]]
    far = near ^ np.array([[1 << 30] * 2, [0, 0]], np.uint64)
    assert twin_tracks(tracks, far).tolist() == []


def test_a_look_that_thousands_share_tells_nothing():
    hashes = np.full((1500, 2), 7, np.uint64)
    assert twin_tracks(np.arange(1500), hashes).shape == (0, 2)
