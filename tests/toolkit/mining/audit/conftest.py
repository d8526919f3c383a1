"""Pairs of coloured things in memory and in shards: which of them are false is known."""

from dataclasses import replace

import numpy as np
import pytest

from toolkit.images import encode_jpeg
from toolkit.mining.audit.false_rate import SeenPair
from toolkit.patches.phash import perceptual_hash
from toolkit.patches.shards import PairSample, write_shard
from toolkit.records import Box, PatchPair, Sighting, TrackQuality


class Things:
    """Makes pairs: `tracks` things of colours of their own, side by side, `each` pairs a thing."""

    def __init__(self, seed=0):
        self._random = np.random.default_rng(seed)

    def patch(self, palette):
        """Three bands of noisy colours, a little different each time, uint8 (48, 24, 3)."""
        bands = np.clip(palette + self._random.normal(0, 8, palette.shape), 0, 255)
        noise = self._random.normal(0, 12, (48, 24, 3))
        return np.clip(bands.repeat(16, 0)[:, None] + noise, 0, 255).astype(np.uint8)

    def pairs(self, tracks, each, *, video="v", gray=False):
        return [p for t in range(tracks) for p in self._of_track(t, each, video, gray)]

    def _of_track(self, track, each, video, gray):
        palette = self._random.uniform(20, 235, (3, 1 if gray else 3)).repeat(3 if gray else 1, 1)
        for number in range(each):
            time_s, x = 0.1 * number + 0.001 * track, 40.0 * track
            views = self.patch(palette), self.patch(palette)
            quality = round(float(self._random.uniform(0.3, 1)), 3)
            record = PatchPair(
                f"{video}-{track:03d}-{number:03d}", video * 64, f"{video}.mp4", video,
                f"{video}-{track:03d}",
                Sighting(time_s, Box(x, 0, x + 20, 40)),
                Sighting(time_s + 0.8, Box(x + 5, 0, x + 25, 40)),
                TrackQuality(quality, 0.01, 0.9), *map(perceptual_hash, views),
            )  # fmt: skip
            yield SeenPair(record, *views)

    def spoil(self, pairs, share):
        """The pairs with the positives of so many of them taken from another track."""
        spoiled = list(pairs)
        for place in self._random.permutation(len(pairs))[: round(share * len(pairs))]:
            track = pairs[place].pair.track
            other = self._random.choice([i for i, p in enumerate(pairs) if p.pair.track != track])
            spoiled[place] = replace(pairs[place], positive=pairs[other].positive)
        return spoiled


@pytest.fixture
def things():
    """Makes makers of pairs: things(seed)."""
    return Things


@pytest.fixture
def store():
    """Writes pairs in memory into a shard: store(path, pairs)."""

    def write(path, pairs):
        jpegs = {}
        write_shard(
            path,
            (
                PairSample(seen.pair, *(
                    jpegs.setdefault(id(view), encode_jpeg(view))
                    for view in (seen.query, seen.positive)
                ))
                for seen in pairs
            ),
        )  # fmt: skip
        return path

    return write
