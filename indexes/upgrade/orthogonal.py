"""The orthogonal map from the vectors of one network to those of another.

Two networks that learned from the same footage often place things alike up to a rotation.
The map is Schoenemann's solution of the orthogonal Procrustes problem (Psychometrika 1966).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.embedding import Embeddings

NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class MapQuality:
    """What a map keeps, measured on patches that it was not fitted to.

    recall_at_10: share of the ten nearest by the new network that are found among mapped
    vectors; cosine: mean between a mapped vector and the true one; fitted, queries, gallery:
    patches.
    """

    recall_at_10: float
    cosine: float
    fitted: int
    queries: int
    gallery: int

    @property
    def recall_loss(self) -> float:
        """What is lost of the recall that re-embedding gives, 0 to 1."""
        return 1 - self.recall_at_10


def fit_orthogonal(old: Embeddings, new: Embeddings) -> NDArray[np.float32]:
    """The map (D_old, D_new) that brings old vectors (N, D_old) nearest to new (N, D_new).

    Its columns or its rows, whichever are fewer, are orthonormal. Raises ValueError for no
    vectors or another number of them.
    """
    if len(old) != len(new) or not len(old):
        raise ValueError(f"{len(old)} old and {len(new)} new vectors give no map")
    cross = old.astype(np.float64).T @ new.astype(np.float64)
    left, _, right = np.linalg.svd(cross, full_matrices=False)
    return np.asarray(left @ right, np.float32)


def apply_map(vectors: Embeddings, matrix: NDArray[np.float32]) -> Embeddings:
    """Mapped vectors (N, D_new), of length 1 again."""
    mapped = np.asarray(vectors, np.float32) @ matrix
    lengths = np.linalg.norm(mapped, axis=1, keepdims=True)
    return np.asarray(mapped / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)


def measure_map(old: Embeddings, new: Embeddings, seed: int = 0) -> MapQuality:
    """Fit on one half of the pairs, drawn at random, and measure on the other.

    The gallery is that other half; a query is left out of its own answer. Raises ValueError
    for fewer than four pairs.
    """
    if len(old) < 4:
        raise ValueError(f"{len(old)} pairs are too few to fit a map and to measure it")
    order = np.random.default_rng(seed).permutation(len(old))
    fitted, held = order[: len(order) // 2], order[len(order) // 2 :]
    mapped = apply_map(old[held], fit_orthogonal(old[fitted], new[fitted]))
    truth = new[held]
    count = min(NEIGHBOURS, len(held) - 1)
    true_best = _nearest(truth, truth, count)
    found = _nearest(truth, mapped, count)
    shared = sum(len(set(a) & set(b)) for a, b in zip(true_best, found, strict=True))
    return MapQuality(
        recall_at_10=shared / (count * len(held)),
        cosine=float(np.mean(np.sum(mapped * truth, axis=1))),
        fitted=len(fitted),
        queries=len(held),
        gallery=len(held),
    )


def _nearest(queries: Embeddings, gallery: Embeddings, count: int) -> list[list[int]]:
    """Rows of the gallery by falling cosine, without the query's own row."""
    best: list[list[int]] = []
    for start in range(0, len(queries), 512):
        scores = queries[start : start + 512] @ gallery.T
        own = np.arange(len(scores))
        scores[own, own + start] = -np.inf
        best += np.argsort(-scores, axis=1, kind="stable")[:, :count].tolist()
    return best
