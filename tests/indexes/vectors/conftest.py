"""Clustered unit vectors, and brute force to compare with."""

import numpy as np
import pytest

from indexes.plan.choose import IndexPlan
from indexes.vectors.flat import FlatWriter


def clustered(count, dim=24, seed=0, clusters=40):
    """Unit vectors around random centres, which are the same for every seed."""
    centres = np.random.default_rng(99).standard_normal((clusters, dim))
    random = np.random.default_rng(seed)
    rows = centres[random.integers(clusters, size=count)]
    rows = rows + 0.5 * random.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def ids(count, first=1):
    """Patch ids that ascend, and things: each two patches are one."""
    patches = np.arange(first, first + count, dtype=np.int64)
    return np.stack([patches, patches // 2 + 1], axis=1)


def brute(vectors, query, count, allowed=None):
    """Rows by falling inner product in float64, then by row."""
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    rows = [row for row in range(len(vectors)) if allowed is None or allowed[row]]
    return sorted(rows, key=lambda row: (-scores[row], row))[:count]


@pytest.fixture(scope="session")
def make_vectors():
    return clustered


@pytest.fixture(scope="session")
def make_ids():
    return ids


@pytest.fixture(scope="session")
def nearest_rows():
    return brute


@pytest.fixture
def write_flat(tmp_path):
    """Vectors as a flat segment in tmp_path."""

    def write(vectors, folder=tmp_path):
        with FlatWriter(folder, vectors.shape[1]) as writer:
            writer.append(vectors)
            return writer.finish(ids(len(vectors)))

    return write


@pytest.fixture(scope="session")
def plan_of():
    """A plan that asks for a key, without the arithmetic before it."""

    def make(key, recall=0.9):
        kind = "flat" if key == "Flat" else "ivf-pq"
        return IndexPlan(kind, key, 0, 0, 0, 0.0, 0.0, recall)

    return make
