"""How well an index in Milvus finds, against every vector."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from indexes.milvus.client import MilvusClient
from indexes.milvus.indexing import search_params
from indexes.milvus.layout import PATCHES
from indexes.milvus.state import State, collection_of
from toolkit.embedding import Embeddings

_QUERIES = 64
_NEIGHBOURS = 10
_TIE = 1e-6  # two sums of the same products in another order differ by about this
_PAGE = 2048
_MOST_VECTORS = 2_000_000


def measure_recall(client: MilvusClient, state: State) -> float | None:
    """Recall@10 on 64 queries between vectors of the index; every vector is fetched once.

    A match counts where its true score is among the ten best, so that ties cost nothing.
    None for an index without vectors, and for one of which fetching all would take long.
    """
    if not 0 < state.vectors <= _MOST_VECTORS:
        return None
    name, seen = collection_of(client, state, PATCHES), state.patches_seen
    queries = _queries(client, state)
    count = min(_NEIGHBOURS, state.vectors)
    params = search_params(state.kind, count, state.params)
    found = [[hit[0] for hit in hits] for hits in client.search(name, queries, count, seen, params)]
    best = np.full((len(queries), count), -np.inf, np.float32)
    for vectors in _pages(client, name, seen):
        merged = np.concatenate([best, queries @ vectors.T], axis=1)
        best = np.partition(merged, -count, axis=1)[:, -count:]
    least = best.min(axis=1) - _TIE
    hits = sum(sum(s >= low for s in scores) for scores, low in zip(found, least, strict=True))
    return float(hits / best.size)


def _queries(client: MilvusClient, state: State) -> Embeddings:
    """Halfway between two vectors: near the data, but not in it."""
    chosen = np.random.default_rng(0).integers(1, state.patches + 1, 4 * _QUERIES)
    rows = client.get(collection_of(client, state, PATCHES), chosen.tolist(), ["id", "vector"])
    vectors = [np.asarray(row["vector"], np.float32) for row in rows][: 2 * _QUERIES]
    if len(vectors) < 2:
        vectors = list(next(_pages(client, collection_of(client, state, PATCHES), "id > 0")))
    half = (len(vectors) + 1) // 2
    middle = np.stack(vectors[:half]) + np.stack(vectors[-half:])
    lengths = np.linalg.norm(middle, axis=1, keepdims=True)
    return np.asarray(middle[(lengths > _TIE)[:, 0]] / lengths[lengths > _TIE][:, None], np.float32)


def _pages(client: MilvusClient, name: str, condition: str) -> Iterator[Embeddings]:
    page: list[NDArray[np.float32]] = []
    for row in client.rows(name, condition, ["vector"]):
        page.append(np.asarray(row["vector"], np.float32))
        if len(page) == _PAGE:
            yield np.stack(page)
            page = []
    if page:
        yield np.stack(page)
