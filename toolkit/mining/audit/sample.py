"""Which pairs the estimate of false ones looks at: a few hundred of however many."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from toolkit.patches.shards import StoredPair, read_shard

MOST = 400
_WINDOWS = (10, 20, 40, 80)  # more of them where videos are short
_TRACKS = 12  # of a window: enough decoys for each, of its own time


def judged_sample(shards: Sequence[tuple[Path, int]], most: int = MOST) -> list[StoredPair]:
    """All pairs, or about `most` of them, which stand for all.

    shards: each with the number of its pairs. The sample lies in windows of a dozen tracks
    that follow each other in one shard, because a pair is judged beside others of its time;
    the windows lie evenly over all pairs. Raises ShardError.
    """
    total = sum(count for _, count in shards)
    if total <= most:
        return [stored for shard, _ in shards for stored in read_shard(shard)]
    starts = np.cumsum([0] + [count for _, count in shards])
    chosen: list[StoredPair] = []
    for windows in _WINDOWS:
        positions = (np.arange(windows) + 0.5) * total / windows
        hit = np.searchsorted(starts, positions, side="right") - 1
        chosen = []
        for index in np.unique(hit):
            local = positions[hit == index] - starts[index]
            chosen += _from_shard(read_shard(shards[index][0]), local, most // windows)
        if len(chosen) >= most // 2:
            break
    return chosen


def _from_shard(
    pairs: Sequence[StoredPair], positions: Sequence[float], size: int
) -> list[StoredPair]:
    """`size` pairs for each position, of the tracks around it."""
    tracks = _tracks(pairs)
    if len(tracks) <= _TRACKS * len(positions):
        return _evenly([stored for track in tracks for stored in track], size * len(positions))
    starts = np.cumsum([0] + [len(track) for track in tracks])
    chosen: dict[str, StoredPair] = {}
    for position in positions:
        middle = int(np.searchsorted(starts, position, side="right")) - 1
        first = max(0, min(middle - _TRACKS // 2, len(tracks) - _TRACKS))
        window = [stored for track in tracks[first : first + _TRACKS] for stored in track]
        chosen |= {stored.pair.key: stored for stored in _evenly(window, size)}
    return list(chosen.values())


def _tracks(pairs: Sequence[StoredPair]) -> list[list[StoredPair]]:
    """The pairs of each track by time, the tracks by the time they begin."""
    ordered = sorted(pairs, key=lambda s: (s.pair.track, s.pair.query.time_s))
    tracks = [list(group) for _, group in groupby(ordered, key=lambda s: s.pair.track)]
    return sorted(tracks, key=lambda track: (track[0].pair.query.time_s, track[0].pair.track))


def _evenly(pairs: Sequence[StoredPair], most: int) -> list[StoredPair]:
    places = np.linspace(0, len(pairs) - 1, min(most, len(pairs)))
    return [pairs[place] for place in places.round().astype(int)]
