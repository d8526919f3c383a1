"""How training is judged on vtest.avi: what trains, what tests, and what may be found.

The pairs of the first 50 s train. The test is made of the tracks that lie wholly behind 51.5 s:
a query is a sighting whose track has another one 1.5 s later, its positive. The gallery of a
query is its positive and every test sighting that is at least 5 s before or after it; closer
ones may show the same person and are left out. `Gallery.OTHER_TRACKS` also leaves out what is
known to show the same person, the sightings of the query's own track. `Gallery.OTHER_PEOPLE`
leaves out whoever is in the query's track, as judged by eye (`quality_people.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from quality_people import people_of

from toolkit.images import RgbImage
from toolkit.patches.relations import followed_as
from toolkit.patches.shards import PairSample, StoredPair, write_shard

TRAIN_UNTIL_S = 50.0
TEST_FROM_S = 51.5
GAP_S = 1.5
GAP_TOLERANCE_S = 0.11  # a little over the 0.1 s between two frames of vtest.avi
GUARD_S = 5.0
RESAMPLES = 10_000


class Gallery(Enum):
    """What a query's positive has to beat."""

    ALL = "every sighting 5 s away"
    OTHER_TRACKS = "those of other tracks"
    OTHER_PEOPLE = "those of other people"


@dataclass(frozen=True, slots=True)
class Sightings:
    """Test patches in the order of (track, time): pictures of their stored sizes, (N,) each.

    track: numbers into `names`.
    """

    pictures: tuple[RgbImage, ...]
    time_s: NDArray[np.float64]
    track: NDArray[np.int64]
    names: tuple[str, ...]

    def pairs(self) -> NDArray[np.int64]:
        """Query and positive of every query, (Q, 2): the one nearest to GAP_S later."""
        found = []
        for query in range(len(self.time_s)):
            miss = np.abs(self.time_s - self.time_s[query] - GAP_S)
            miss[self.track != self.track[query]] = np.inf
            positive = int(miss.argmin())
            if miss[positive] <= GAP_TOLERANCE_S:
                found.append((query, positive))
        return np.array(found, np.int64).reshape(-1, 2)


@dataclass(frozen=True, slots=True)
class Ranks:
    """Of each query its track and how many of its gallery beat its positive, (Q,) each."""

    track: NDArray[np.int64]
    ahead: NDArray[np.int64]

    def recall(self, k: int) -> float:
        """Recall@k over all queries."""
        return float((self.ahead < k).mean())


def training_pairs(pairs: Sequence[StoredPair]) -> list[StoredPair]:
    """The pairs that lie before TRAIN_UNTIL_S with both ends."""
    return [s for s in pairs if max(_times(s)) < TRAIN_UNTIL_S]


def write_training_shard(pairs: Sequence[StoredPair], folder: Path) -> Path:
    """The training pairs as a folder of one shard; the JPEG bytes are those that were mined."""
    samples = (
        PairSample(s.pair, s.read_bytes("query.jpg"), s.read_bytes("positive.jpg"))
        for s in training_pairs(pairs)
    )
    write_shard(folder / "train.tar", samples)
    return folder


def judged_sightings(pairs: Sequence[StoredPair]) -> Sightings:
    """Each patch of the test tracks once."""
    first: dict[str, float] = {}
    for stored in pairs:
        name = followed_as(stored.pair.track)
        first[name] = min(first.get(name, np.inf), *_times(stored))
    seen: dict[tuple[str, float], RgbImage] = {}
    for stored in pairs:
        if first[followed_as(stored.pair.track)] >= TEST_FROM_S:
            for time_s, read in zip(
                _times(stored), (stored.read_query, stored.read_positive), strict=True
            ):
                key = (stored.pair.track, round(time_s, 3))
                if key not in seen:
                    seen[key] = read()
    keys = sorted(seen)
    names = sorted({track for track, _ in keys})
    return Sightings(
        tuple(seen[key] for key in keys),
        np.array([time_s for _, time_s in keys]),
        np.array([names.index(track) for track, _ in keys], np.int64),
        tuple(names),
    )


def rank(sightings: Sightings, features: NDArray[np.float32], gallery: Gallery) -> Ranks:
    """Rank every query's gallery by the dot product of features (N, D); ties go against it."""
    pairs = sightings.pairs()
    ahead = []
    for (query, positive), rivals in zip(pairs, _rivals(sightings, gallery), strict=True):
        scores = features[rivals] @ features[query]
        ahead.append(int((scores >= features[positive] @ features[query]).sum()))
    return Ranks(sightings.track[pairs[:, 0]], np.array(ahead, np.int64))


def recall_of_a_judge(sightings: Sightings) -> float:
    """The R@1 in `Gallery.ALL` of somebody who knows all people, and nothing else of a patch.

    Whoever shows the query's person comes before all others, in an order drawn at random.
    """
    everybody = _rivals(sightings, Gallery.ALL)
    others = _rivals(sightings, Gallery.OTHER_PEOPLE)
    same = [len(a) - len(b) for a, b in zip(everybody, others, strict=True)]
    return float(np.mean([1 / (1 + count) for count in same]))


def _rivals(sightings: Sightings, gallery: Gallery) -> list[NDArray[np.int64]]:
    """The sightings that each query's positive has to beat."""
    pairs = sightings.pairs()
    used = np.unique(pairs)
    alike = _alike(sightings, gallery, np.unique(sightings.track[used]))
    found = []
    for query in pairs[:, 0]:
        rivals = used[np.abs(sightings.time_s[used] - sightings.time_s[query]) >= GUARD_S]
        found.append(rivals[~alike[sightings.track[query], sightings.track[rivals]]])
    return found


def _alike(sightings: Sightings, gallery: Gallery, tracks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which tracks count as one thing, and so are no rivals: bool (tracks, tracks)."""
    alike = np.zeros((len(sightings.names),) * 2, np.bool_)
    if gallery is Gallery.OTHER_TRACKS:
        np.fill_diagonal(alike, True)
    elif gallery is Gallery.OTHER_PEOPLE:
        people = {track: people_of(sightings.names[track]) for track in tracks}
        for one in tracks:
            for other in tracks:
                alike[one, other] = bool(people[one] & people[other])
    return alike


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the middle 95 % of its bootstrap."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def recall_interval(runs: Sequence[Ranks], k: int) -> Interval:
    """Recall@k, the mean over seeds, with whole tracks drawn again.

    The queries of one track are nearly copies of each other; drawing them one by one would
    claim a certainty that is not there.
    """
    draws = _drawn([(r.track, r.ahead < k) for r in runs])
    return Interval(float(np.mean([r.recall(k) for r in runs])), *_middle(draws))


def ratio_interval(runs: Sequence[Ranks], baseline: Ranks, k: int) -> Interval:
    """Recall@k over that of a baseline, both on the same drawn tracks."""
    above = _drawn([(r.track, r.ahead < k) for r in runs])
    below = _drawn([(baseline.track, baseline.ahead < k)])
    mean = float(np.mean([r.recall(k) for r in runs])) / baseline.recall(k)
    return Interval(mean, *_middle(above / np.maximum(below, 1e-9)))


def _drawn(runs: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]]) -> NDArray[np.float64]:
    """The mean over the runs for each of RESAMPLES draws of tracks: always the same draws."""
    tracks = np.unique(runs[0][0])
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(tracks), (RESAMPLES, len(tracks)))
    drawn = np.zeros(RESAMPLES)
    for track, hit in runs:
        hits = np.array([hit[track == t].sum() for t in tracks])
        counts = np.array([(track == t).sum() for t in tracks])
        drawn += hits[chosen].sum(1) / counts[chosen].sum(1)
    return drawn / len(runs)


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def _times(stored: StoredPair) -> tuple[float, float]:
    return stored.pair.query.time_s, stored.pair.positive.time_s
