"""What held-out queries find: examples of the best, the typical and the worst."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.embedding import Embeddings
from toolkit.evaluation.retrieval import Gallery

GROUPS = ("best", "typical", "worst")
HITS = 5


@dataclass(frozen=True, slots=True)
class Found:
    """One patch of a query's gallery: its row among the queries, then the positives."""

    row: int
    score: float
    right: bool


@dataclass(frozen=True, slots=True)
class Example:
    """A query, and what lies nearest to it.

    query: its row; group: one of GROUPS; place: where its nearest relevant patch came, 1 is
    first; positive: its own positive and how near that is; hits: the nearest HITS.
    """

    group: str
    query: int
    place: int
    positive: Found
    hits: tuple[Found, ...]


def find_examples(
    queries: Embeddings,
    positives: Embeddings,
    gallery: Gallery,
    tracks: Sequence[str],
    each: int = 3,
) -> list[Example]:
    """Up to `each` examples of every group, no track twice; (Q, D) embeddings of length 1.

    A query is better the further its nearest relevant patch is nearer than any distractor.
    """
    features = np.concatenate([queries, positives])
    similarity = np.asarray(queries @ features.T, np.float32)
    lead = _leads(similarity, gallery)
    counted = np.flatnonzero(np.isfinite(lead))
    order = counted[np.argsort(lead[counted], kind="stable")]
    middle = len(order) // 2
    by_group = {
        "best": order[::-1],
        "worst": order,
        "typical": np.array(sorted(order, key=lambda i: abs(lead[i] - lead[order[middle]])), int),
    }
    taken: set[str] = set()
    chosen: dict[str, list[Example]] = {}
    for group, candidates in by_group.items():
        chosen[group] = []
        for row in candidates.tolist():
            if len(chosen[group]) < each and tracks[row] not in taken:
                taken.add(tracks[row])
                chosen[group].append(_example(group, row, similarity[row], gallery))
    return [example for group in GROUPS for example in chosen[group]]


def _leads(similarity: NDArray[np.float32], gallery: Gallery) -> NDArray[np.float32]:
    """How much nearer the nearest relevant patch is than the nearest distractor, (Q,)."""
    right = np.where(gallery.relevant, similarity, -np.inf).max(1)
    wrong = np.where(gallery.distractor, similarity, -np.inf).max(1)
    leads: NDArray[np.float32] = right - wrong  # infinite where there is no distractor
    return leads


def _example(group: str, query: int, similarity: NDArray[np.float32], gallery: Gallery) -> Example:
    relevant, distractor = gallery.relevant[query], gallery.distractor[query]
    rows = np.flatnonzero(relevant | distractor)
    # Ties go against the query, as in the measure.
    order = rows[np.lexsort((relevant[rows], -similarity[rows]))]
    found = [Found(int(row), float(similarity[row]), bool(relevant[row])) for row in order]
    place = next(i for i, one in enumerate(found, 1) if one.right)
    own = len(gallery.relevant) + query
    positive = Found(own, float(similarity[own]), True)
    return Example(group, query, place, positive, tuple(found[:HITS]))
