"""One pass over the shards: counts of every pair, and the few pairs that are worth a look.

A folder may hold millions of pairs; what is kept of them does not grow with their number.
"""

import heapq
import zlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from toolkit.patches.shards import StoredPair, find_shards, read_shard

BINS = 10
WORST = 200
EVEN = 100
_SAMPLE = 2000  # from which the even part of a sheet is taken


@dataclass(slots=True)
class Gathered:
    """What the shards of a folder hold.

    histogram: pairs by quality, ten bins from 0 to 1; of_video: (pairs, tracks with pairs)
    by the video's SHA-256; shards: each with its number of pairs; worst: the least trusted
    pairs, the worst first; sample: pairs drawn by the hash of their keys, by quality.
    """

    histogram: list[int] = field(default_factory=lambda: [0] * BINS)
    of_video: dict[str, tuple[int, int]] = field(default_factory=dict)
    shards: list[tuple[Path, int]] = field(default_factory=list)
    worst: list[StoredPair] = field(default_factory=list)
    sample: list[StoredPair] = field(default_factory=list)

    def overview(self) -> list[StoredPair]:
        """The pairs for a picture of few of them: the very worst, and the sample, by quality."""
        pairs = {stored.pair.key: stored for stored in self.worst[:10] + self.sample}
        return sorted(pairs.values(), key=by_quality)

    def sheet(self) -> list[StoredPair]:
        """The pairs for a page: the worst, and an even sample of the rest, worst first."""
        taken = {stored.pair.key for stored in self.worst}
        rest = [stored for stored in self.sample if stored.pair.key not in taken]
        places = np.linspace(0, len(rest) - 1, min(EVEN, len(rest))).round().astype(int)
        return sorted(self.worst + [rest[place] for place in places], key=by_quality)


def gather(out: Path) -> Gathered:
    """Read every record of a folder, shard by shard. Raises ShardError."""
    found = Gathered()
    for shard in find_shards(out):
        pairs = read_shard(shard)
        found.shards.append((shard, len(pairs)))
        _count(found, pairs)
        found.worst = heapq.nsmallest(WORST, chain(found.worst, pairs), key=by_quality)
        found.sample = heapq.nsmallest(_SAMPLE, chain(found.sample, pairs), key=_by_chance)
    found.sample.sort(key=by_quality)
    return found


def by_quality(stored: StoredPair) -> tuple[float, str]:
    """The worst first; the key makes the order the same every time."""
    return stored.pair.quality.score, stored.pair.key


def _by_chance(stored: StoredPair) -> tuple[int, str]:
    return zlib.crc32(stored.pair.key.encode("utf-8", "surrogatepass")), stored.pair.key


def _count(found: Gathered, pairs: list[StoredPair]) -> None:
    scores = np.array([stored.pair.quality.score for stored in pairs], np.float64)
    bins = np.clip((scores * BINS).astype(np.int64), 0, BINS - 1)
    for place, number in enumerate(np.bincount(bins, minlength=BINS)):
        found.histogram[place] += int(number)
    tracks = Counter(video for video, _ in {(s.pair.video, s.pair.track) for s in pairs})
    for video, number in Counter(stored.pair.video for stored in pairs).items():
        before = found.of_video.get(video, (0, 0))
        found.of_video[video] = before[0] + number, before[1] + tracks[video]
