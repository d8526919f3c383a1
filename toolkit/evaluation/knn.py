"""The weighted vote of the nearest neighbours, which needs no training of its own.

Wu et al., "Unsupervised Feature Learning via Non-parametric Instance Discrimination", CVPR
2018: each of the k nearest by cosine votes for its class with exp(cosine / temperature).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import UsageError

_BLOCK_NUMBERS = 1 << 24  # of a table of similarities or votes at a time: 64 MB


@dataclass(frozen=True, slots=True)
class KnnSettings:
    """Who votes, and how.

    neighbors: how many, all where there are fewer; temperature: the less, the more the nearest
    count.
    """

    neighbors: int = 20
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if self.neighbors < 1 or not 1e-4 <= self.temperature <= 100:
            raise UsageError(
                f"{self.neighbors} neighbours with the temperature {self.temperature} cannot vote.",
                mend="Use 1 neighbour or more, and a temperature from 0.0001 to 100.",
            )


DEFAULTS = KnnSettings()


def knn_classes(
    queries: NDArray[np.float32],
    known: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    settings: KnnSettings = DEFAULTS,
) -> NDArray[np.int64]:
    """The class with most of the votes, the first of equals: int64 (Q,).

    queries: (Q, D), known: (N, D), rows of length 1, N at least 1; labels: (N,), below
    `classes`.
    """
    found = [
        _votes(queries[rows], known, labels, classes, settings).argmax(1)
        for rows in _blocks(queries, known, classes)
    ]
    return np.concatenate(found or [np.zeros(0, np.int64)])


def _blocks(queries: NDArray[np.float32], known: NDArray[np.float32], classes: int) -> list[slice]:
    size = max(1, _BLOCK_NUMBERS // max(len(known), classes))
    return [slice(start, start + size) for start in range(0, len(queries), size)]


def _votes(
    queries: NDArray[np.float32],
    known: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    settings: KnnSettings,
) -> NDArray[np.float64]:
    """The votes for each class, (Q, classes)."""
    similarity = queries @ known.T
    k = min(settings.neighbors, len(known))
    nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    cosines = np.take_along_axis(similarity, nearest, axis=1)
    # From the nearest down, so that nothing overflows; the shares are the same.
    weights = np.exp((cosines - cosines.max(1, keepdims=True)) / settings.temperature)
    places = np.arange(len(queries))[:, None] * classes + labels[nearest]
    votes = np.bincount(places.ravel(), weights.ravel(), len(queries) * classes)
    return np.asarray(votes.reshape(len(queries), classes), np.float64)
