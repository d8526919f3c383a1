"""What an index holds, and how well it finds: measured, not assumed."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.reader import CatalogReader
from indexes.vectors import KIND, Vectors
from toolkit.embedding import Embeddings

_QUERIES = 64
_NEIGHBOURS = 10
_TIE = 1e-6  # two sums of the same products in another order differ by about this


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What `vr index info` tells.

    vectors: of patches that are there; size_bytes: on the disk; model: the fingerprint;
    recall_at_10: share of the true ten nearest that the index finds, None for an empty index.
    """

    index: str
    vectors: int
    dim: int
    kind: str
    size_bytes: int
    model: str
    segments: int
    recall_at_10: float | None

    def as_json(self) -> dict[str, Any]:
        """The JSON contract of `index`."""
        return {
            "index": self.index,
            "vectors": self.vectors,
            "dim": self.dim,
            "kind": self.kind,
            "bytes": self.size_bytes,
            "model": self.model,
            "segments": self.segments,
            "measured_recall@10": self.recall_at_10,
        }


def info(index: Path) -> IndexInfo:
    """Open, check and measure an index. Raises InputError, MismatchError, MissingError."""
    with closing(CatalogReader(index)) as catalog:
        vectors = catalog.load_vectors()
        return IndexInfo(
            str(index),
            catalog.count(),
            vectors.dim,
            KIND,
            catalog.size_bytes(),
            catalog.card.fingerprint,
            len(catalog.segments),
            measure_recall(vectors),
        )


def measure_recall(vectors: Vectors) -> float | None:
    """Recall@10 on 64 queries against plain NumPy over every vector; None for no vectors.

    Queries are halfway between two random vectors: near the data, but not in it. A match
    counts where its true score is among the ten best, so that ties cost nothing.
    """
    if not len(vectors):
        return None
    queries = _halfway_queries(vectors)
    best = np.full((len(queries), min(_NEIGHBOURS, len(vectors))), -np.inf, np.float32)
    found = [{(m.segment, m.row) for m in vectors.nearest(q, _NEIGHBOURS)} for q in queries]
    true_scores: list[list[float]] = [[] for _ in queries]
    for segment, start, rows in vectors.chunks():
        scores = queries @ rows.T
        merged = np.concatenate([best, scores], axis=1)
        best = np.partition(merged, -best.shape[1], axis=1)[:, -best.shape[1] :]
        for query, places in enumerate(found):
            inside = [row - start for key, row in places if key == segment]
            true_scores[query] += [
                float(scores[query, row]) for row in inside if 0 <= row < len(rows)
            ]
    threshold = best.min(axis=1) - _TIE
    hits = sum(
        sum(score >= least for score in scores)
        for scores, least in zip(true_scores, threshold, strict=True)
    )
    return float(hits / best.size)


def _halfway_queries(vectors: Vectors) -> Embeddings:
    generator = np.random.default_rng(0)
    wanted = generator.integers(len(vectors), size=(2, _QUERIES))
    sampled = _rows_at(vectors, wanted.ravel()).reshape(2, _QUERIES, vectors.dim)
    middle = sampled.mean(axis=0)
    lengths = np.linalg.norm(middle, axis=1, keepdims=True)
    return np.asarray(np.where(lengths > _TIE, middle / np.maximum(lengths, _TIE), sampled[0]))


def _rows_at(vectors: Vectors, positions: NDArray[np.int64]) -> Embeddings:
    """The vectors at positions counted over all segments, (P, D)."""
    picked = np.empty((len(positions), vectors.dim), np.float32)
    offset = 0
    for _, _, rows in vectors.chunks():
        here = (positions >= offset) & (positions < offset + len(rows))
        picked[here] = rows[positions[here] - offset]
        offset += len(rows)
    return picked
