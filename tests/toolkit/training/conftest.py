"""A folder of pair shards that a small network learns in seconds."""

import numpy as np
import pytest

from toolkit.images import encode_jpeg, resize
from toolkit.patches.phash import perceptual_hash
from toolkit.patches.shards import PairSample, write_shard
from toolkit.records import Box, PatchPair, Sighting, TrackQuality


@pytest.fixture(scope="session")
def learnable_patches(tmp_path_factory):
    """Two videos of 24 tracks with 2 pairs each.

    A track is an order of the same 36 gray values: only shape tells tracks apart, so that
    a network has something to learn that colours do not give away.
    """
    folder = tmp_path_factory.mktemp("learnable")
    rng = np.random.default_rng(0)
    for video in ("a" * 64, "b" * 64):
        write_shard(folder / f"{video[:4]}.tar", list(_samples(video, rng)))
    return folder


def _samples(video, rng):
    grays = np.linspace(20, 235, 36).astype(np.uint8)
    for track in range(24):
        order = rng.permutation(grays).reshape(6, 6, 1).repeat(3, axis=2)
        texture = resize(order, 48, 48).astype(float)
        for number in range(2):
            start = 3.0 * track + number
            noisy = (np.roll(texture, rng.integers(-6, 6), 1) + rng.normal(0, 25, texture.shape)
                     for _ in range(2))  # fmt: skip
            views = [np.clip(view, 0, 255).astype(np.uint8) for view in noisy]
            pair = PatchPair(
                f"{video[:4]}-{track:02d}-{number}", video, f"{video[:4]}.mp4", video[:4],
                f"{video[:4]}-{track}",
                Sighting(start, Box(0, 0, 40, 40)), Sighting(start + 1, Box(9, 0, 49, 40)),
                TrackQuality(1, 0, 1), *map(perceptual_hash, views),
            )  # fmt: skip
            yield PairSample(pair, *map(encode_jpeg, views))
