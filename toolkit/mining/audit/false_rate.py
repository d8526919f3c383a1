"""How many mined pairs are false, estimated without labels by target and decoy.

A false pair shows two things. What two things look like to each other is known: a query
beside the positive of another track (a decoy) is such a pair for sure. So each pair is ranked
among its decoys by how alike its patches are. False pairs rank anywhere, as decoys do; true
pairs rank first, with few exceptions. From the share of pairs that do not rank among the
first follows the share of false ones (Storey's estimate of the null proportion).

What it cannot see: a track that slid to a part of its thing, or to the next thing of the same
colours. What it counts too much: true pairs that change their colours, and things that all
look alike. See docs/mining.md for how far it was right where the truth was known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.images import RgbImage
from toolkit.mining.audit.looks import likeness, look
from toolkit.patches.relations import TrackSpans, different
from toolkit.patches.shards import StoredPair
from toolkit.records import PatchPair

METHOD = (
    "target-decoy: pairs ranked by colour histograms among pairs of two tracks, "
    "Storey's null proportion, Clopper-Pearson over whole tracks"
)
FIRST = 0.3  # the best ranked part, where the true pairs are
CONFIDENCE = 0.95
MIN_TRACKS = 12  # with fewer, no false pair at all would still leave room for over a third
MIN_PAIRS = 30
_MIN_DECOYS = 5
_MAX_DECOYS = 40  # those nearest in time: a decoy of another hour differs by its light alone
_DRAWS = 2000


@dataclass(frozen=True, slots=True, eq=False)
class SeenPair:
    """A pair and its two patches, uint8 RGB, in memory."""

    pair: PatchPair
    query: RgbImage
    positive: RgbImage

    @classmethod
    def read(cls, stored: StoredPair) -> "SeenPair":
        """From a shard. Raises ShardError, ImageError."""
        return cls(stored.pair, stored.read_query(), stored.read_positive())


@dataclass(frozen=True, slots=True)
class FalseRate:
    """The estimated share of false pairs, 0 to 1, with its 95 % interval.

    rate, low, high: None where the pairs are too few to tell; pairs, tracks: that could be
    judged, because there were decoys; suspects: (key, rank) of the pairs that rank behind
    the first among their decoys, 0 to 1, the worst first.
    """

    rate: float | None
    low: float | None
    high: float | None
    pairs: int
    tracks: int
    suspects: tuple[tuple[str, float], ...] = ()


def estimate_false_rate(pairs: Sequence[SeenPair]) -> FalseRate:
    """Estimate the share of false pairs; some hundreds of pairs suffice, of 12 tracks at least.

    Pairs of one video are compared with each other only: of one place and one light. The
    same pairs give the same numbers.
    """
    if not pairs:
        return FalseRate(None, None, None, 0, 0)
    records = [seen.pair for seen in pairs]
    ranks, chances = _ranks(pairs, TrackSpans.of(records))
    judged = np.flatnonzero(~np.isnan(ranks))
    tracks = np.unique([records[i].track for i in judged], return_inverse=True)[1]
    behind = ranks[judged] > FIRST
    order = judged[np.argsort(-ranks[judged], kind="stable")]
    suspects = tuple((records[i].key, round(float(ranks[i]), 3)) for i in order if ranks[i] > FIRST)
    count = len(np.unique(tracks))
    if count < MIN_TRACKS or len(judged) < MIN_PAIRS:
        return FalseRate(None, None, None, len(judged), count, suspects)
    rate = min(1.0, float(behind.sum() / chances[judged].sum()))
    low, high = _interval(behind, chances[judged], tracks)
    return FalseRate(
        round(rate, 4), round(min(low, rate), 4), round(max(high, rate), 4),
        len(judged), count, suspects,
    )  # fmt: skip


def _ranks(
    pairs: Sequence[SeenPair], spans: TrackSpans
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each pair's rank among its decoys, 0 to 1, and a false pair's chance to be behind FIRST.

    NaN for a pair with too few decoys.
    """
    queries = np.stack([look(seen.query, seen.pair.query.box) for seen in pairs])
    positives = np.stack([look(seen.positive, seen.pair.positive.box) for seen in pairs])
    alike = likeness(queries, positives)
    decoys = different(spans) & (spans.video[:, None] == spans.video[None])
    ranks = np.full(len(pairs), np.nan)
    chances = np.zeros(len(pairs))
    for i in range(len(pairs)):
        others = np.flatnonzero(decoys[i])
        if len(others) < _MIN_DECOYS:
            continue
        near = np.argsort(np.abs(spans.end_s[others] - spans.end_s[i]), kind="stable")
        others = others[near[:_MAX_DECOYS]]
        places = len(others) + 1
        ranks[i] = (1 + np.count_nonzero(alike[i, others] >= alike[i, i])) / places
        # Ranks are steps of 1 / places: the chance is not exactly 1 - FIRST.
        chances[i] = 1 - np.floor(FIRST * places) / places
    return ranks, chances


def _interval(
    behind: NDArray[np.bool_], chances: NDArray[np.float64], tracks: NDArray[np.int64]
) -> tuple[float, float]:
    """The interval of the rate, drawing whole tracks: the pairs of a track err together.

    A Bayesian bootstrap with one imaginary track besides: right throughout for the lower
    end, false throughout for the upper. With tracks of one pair each this is the interval of
    Clopper and Pearson, which is not empty when no pair is behind.
    """
    counts = np.bincount(tracks, behind)
    expected = np.bincount(tracks, chances)
    random = np.random.default_rng(0)
    weights = random.exponential(size=(_DRAWS, len(counts) + 1))
    ends = []
    for extra, quantile in ((0.0, 1 - CONFIDENCE), (float(chances.mean()), 1 + CONFIDENCE)):
        size = len(behind) / len(counts)
        false = weights @ np.append(counts, extra * size)
        whole = weights @ np.append(expected, chances.mean() * size)
        ends.append(float(np.quantile(false / whole, quantile / 2)))
    return ends[0], min(1.0, ends[1])
