"""Recall@k and MAP@R of held-out pairs.

A query is the query patch of a pair. Relevant are the positives of its track that are at
least as far away in time as its own; the rest of the gallery is every patch of a pair that
surely shows something else (toolkit.patches.relations). What is neither is left out.
MAP@R follows Musgrave et al., "A Metric Learning Reality Check", ECCV 2020.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import TooFewHeldOutError
from toolkit.patches.relations import GUARD_S, TrackSpans, different
from toolkit.records import PatchPair


@dataclass(frozen=True, slots=True)
class RetrievalMetrics:
    """Means over the queries, each from 0 to 1."""

    queries: int
    recall_at_1: float
    recall_at_5: float
    map_at_r: float

    def as_json(self) -> dict[str, float]:
        """The keys of the JSON contracts."""
        return {
            "recall@1": self.recall_at_1,
            "recall@5": self.recall_at_5,
            "map@r": self.map_at_r,
        }


@dataclass(frozen=True, slots=True)
class Gallery:
    """Who may be found by whom: boolean (Q, 2Q) over the queries, then the positives."""

    relevant: NDArray[np.bool_]
    distractor: NDArray[np.bool_]


def build_gallery(pairs: Sequence[PatchPair], guard_s: float = GUARD_S) -> Gallery:
    """The gallery of every query. Raises TooFewHeldOutError when no query has a distractor."""
    count = len(pairs)
    spans = TrackSpans.of(pairs)
    elsewhere = different(spans, guard_s) if count else np.zeros((0, 0), np.bool_)
    distractor = np.concatenate([elsewhere, elsewhere], axis=1)
    if not distractor.any():
        raise TooFewHeldOutError(
            f"The {count} held-out pairs hold nothing that is surely different from another: "
            "recall cannot be measured.",
            mend="Mine more video, or hold out a larger part of it.",
        )
    query_time = np.array([p.query.time_s for p in pairs])
    positive_time = np.array([p.positive.time_s for p in pairs])
    gap = np.abs(positive_time - query_time)
    distance = np.abs(positive_time[None] - query_time[:, None])
    same_track = spans.track[:, None] == spans.track[None]
    relevant = np.zeros((count, 2 * count), np.bool_)
    relevant[:, count:] = same_track & (distance >= gap[:, None] - 1e-6)
    return Gallery(relevant, distractor)


def retrieval_metrics(
    queries: NDArray[np.float32], positives: NDArray[np.float32], gallery: Gallery
) -> RetrievalMetrics:
    """Rank each query's gallery by the dot product of features (Q, D) and (Q, D).

    Queries without a distractor do not count. Ties go against the query: a feature that is
    the same for everything finds nothing.
    """
    features = np.concatenate([queries, positives])
    similarity = queries @ features.T
    rows = np.flatnonzero(gallery.distractor.any(1))
    ranks = [_ranks(similarity[i], gallery.relevant[i], gallery.distractor[i]) for i in rows]
    return RetrievalMetrics(
        queries=len(rows),
        recall_at_1=float(np.mean([r[0] < 1 for r in ranks])),
        recall_at_5=float(np.mean([r[0] < 5 for r in ranks])),
        map_at_r=float(np.mean([_map_at_r(r) for r in ranks])),
    )


def _ranks(
    similarity: NDArray[np.float32], relevant: NDArray[np.bool_], distractor: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The places (0 is the first) of the relevant ones, ascending."""
    rivals = np.sort(similarity[distractor])
    wanted = np.sort(similarity[relevant])[::-1]
    ahead = len(rivals) - np.searchsorted(rivals, wanted, side="left")
    places: NDArray[np.int64] = ahead + np.arange(len(wanted))
    return places


def _map_at_r(places: NDArray[np.int64]) -> float:
    within = places < len(places)
    precision = np.arange(1, len(places) + 1) / (places + 1)
    return float((precision * within).sum() / len(places))
