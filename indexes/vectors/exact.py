"""Exact search: every vector is looked at, or every one that is allowed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.vectors.allowed import Allowed
from indexes.vectors.load import load_faiss
from toolkit.embedding import Embeddings, chunks

Found = tuple[NDArray[np.float32], NDArray[np.int64]]  # scores and rows, both (Q, K)

NONE = -1
_GATHERED_BYTES = 64 << 20
# Copying what is allowed pays where it is a small part, or where many queries share it.
_SMALL_PART, _MANY_QUERIES = 8, 16


def search_exact(
    flat: Any, vectors: Embeddings, queries: Embeddings, count: int, allowed: Allowed | None
) -> Found:
    """The `count` rows of highest inner product, best first, equal scores by row.

    flat: the mapped FAISS index of `vectors` (N, D); allowed: None for all rows. Row -1 and
    score -inf where there are no more.
    """
    if allowed is None:
        scores, rows = flat.search(queries, min(count, len(vectors)))
        return padded(scores, rows, count)
    if not allowed.count:
        return nothing(len(queries), count)
    if len(queries) >= _MANY_QUERIES or allowed.count * _SMALL_PART <= len(vectors):
        return _search_gathered(vectors, allowed.rows, queries, count)
    parameters = load_faiss().SearchParameters(sel=allowed.selector)
    scores, rows = flat.search(queries, min(count, allowed.count), params=parameters)
    return padded(scores, rows, count)


def nothing(queries: int, count: int) -> Found:
    """No row at all, for each of the queries."""
    rows = np.full((queries, count), NONE, np.int64)
    return np.full((queries, count), -np.inf, np.float32), rows


def padded(scores: NDArray[np.float32], rows: NDArray[np.int64], count: int) -> Found:
    """`count` columns, equal scores in the order of the rows, -1 and -inf at the end."""
    if rows.shape == (1, count) and rows.item(-1) >= 0:
        _order_ties_of_one(scores[0], rows[0])
        return scores, rows
    if (rows[:, -1] < 0).any():
        scores[rows < 0] = -np.inf  # FAISS has the least float32 there
    if scores.shape[1] < count:
        all_scores, all_rows = nothing(len(scores), count)
        all_scores[:, : scores.shape[1]], all_rows[:, : scores.shape[1]] = scores, rows
        scores, rows = all_scores, all_rows
    _order_ties(scores, rows)
    return scores, rows


def _order_ties_of_one(scores: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
    """As `_order_ties`, for one query, where lists are faster; for a thousand they are not."""
    falling = scores.tolist()
    if len(set(falling)) < len(falling):
        ranked = sorted(zip(falling, rows.tolist(), strict=True), key=lambda hit: (-hit[0], hit[1]))
        rows[:] = [row for _, row in ranked]


def _order_ties(scores: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
    tied = scores[:, 1:] == scores[:, :-1]
    if not tied.any():
        return
    wrong = tied & (rows[:, 1:] < rows[:, :-1])
    for query in np.flatnonzero(wrong.any(axis=1)):
        # What is not there (-1) stands behind the rest: its score is -inf.
        order = np.lexsort((rows[query], -scores[query]))
        scores[query], rows[query] = scores[query][order], rows[query][order]


def _search_gathered(
    vectors: Embeddings, ids: NDArray[np.int64], queries: Embeddings, count: int
) -> Found:
    faiss = load_faiss()
    best_scores, best_rows = nothing(len(queries), 0)
    for part in chunks(len(ids), max(_GATHERED_BYTES // (vectors.shape[1] * 4), 1)):
        block = gather(vectors, ids[part])
        depth = min(count, len(block))
        scores, places = faiss.knn(queries, block, depth, metric=faiss.METRIC_INNER_PRODUCT)
        all_scores = np.concatenate([best_scores, scores], axis=1)
        all_rows = np.concatenate([best_rows, ids[part][places]], axis=1)
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, :count]
        best_scores = np.take_along_axis(all_scores, order, axis=1)
        best_rows = np.take_along_axis(all_rows, order, axis=1)
    return padded(best_scores, best_rows, count)


def gather(vectors: Embeddings, rows: NDArray[np.int64]) -> Embeddings:
    """The vectors of rows, copied and aligned, float32 (N, D)."""
    return np.ascontiguousarray(vectors[rows], np.float32)
