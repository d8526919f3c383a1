"""How well an index finds, measured against exact search on queries like those of its users.

What a user looks for is hardly ever a vector of the index. Vectors of the index themselves have
their other sightings right beside them, in the same cell, and flatter it. So a question is a
vector that was not trained on, moved towards another one by a share of 0 to 0.4, and neither
counts the vector itself. With 32,595 windows of vtest.avi, synthetic vectors, clusters and
random directions, the recall of such questions was on average 0.002 to 0.019 below that of
queries from outside (with the windows and the synthetic vectors at efforts that find nine of ten
and more), and at no effort more than 0.008 above; that of vectors as they are was up to 0.039
above.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexes.vectors.effort import AT
from indexes.vectors.exact import Found, gather
from toolkit.embedding import Embeddings, chunks

HELD_OUT = 256  # queries to tune on, and as many to measure with
_TIE = 1e-6  # two sums of the same products in another order differ by about this
_BLOCK_NUMBERS = 1 << 20  # of vectors that are multiplied at once
_SEED = 20
_MOVED = 0.4  # the most of another vector that is mixed in; a fifth is about another crop
_ONE_SIDED = 1.645  # standard errors below the mean, for 95 %


@dataclass(frozen=True, slots=True)
class Questions:
    """What is searched for in an index, and the true answers.

    rows: int64 (Q,), those that the questions were made of, which do not count; vectors:
    float32 (Q, D), of length 1; least: float32 (Q,), the cosine of the tenth nearest, or of
    the last where there are fewer, -1 where there is none; answers: how many nearest there
    are, at most ten.
    """

    rows: NDArray[np.int64]
    vectors: Embeddings
    least: NDArray[np.float32]
    answers: int

    def __len__(self) -> int:
        return len(self.rows)

    def half(self, which: int) -> "Questions":
        """Every second one, from `which` (0 or 1) on."""
        part = slice(which, None, 2)
        return Questions(self.rows[part], self.vectors[part], self.least[part], self.answers)


def held_out_rows(vectors: int) -> NDArray[np.int64]:
    """The rows that tune and measure an index, ascending: random, and at most a tenth."""
    count = min(2 * HELD_OUT, max(vectors // 10, min(vectors, 2)))
    generator = np.random.default_rng(_SEED)
    return np.sort(generator.choice(vectors, count, replace=False)).astype(np.int64)


def ask(vectors: Embeddings, rows: NDArray[np.int64]) -> Questions:
    """The questions of some rows of the vectors (N, D), answered by looking at all of them."""
    queries = _moved(vectors, rows)
    answers = min(AT, len(vectors) - 1)
    best = np.full((len(rows), max(answers, 1)), -1, np.float32)
    for part in chunks(len(vectors), max(_BLOCK_NUMBERS // vectors.shape[1], 1)):
        scores = queries @ np.ascontiguousarray(vectors[part]).T
        own = np.flatnonzero((rows >= part.start) & (rows < part.stop))
        scores[own, rows[own] - part.start] = -np.inf
        _keep_best(best, scores)
    return Questions(rows, queries, best[:, -1], answers)


def _moved(vectors: Embeddings, rows: NDArray[np.int64]) -> Embeddings:
    """The vectors of rows on their way to a random one, by a share that is random too."""
    generator = np.random.default_rng(_SEED)
    share = generator.uniform(0, _MOVED, (len(rows), 1)).astype(np.float32)
    others = gather(vectors, generator.integers(0, len(vectors), len(rows)))
    mixed = (1 - share) * gather(vectors, rows) + share * others
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.float32)


def _keep_best(best: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    """Put the highest of `scores` (Q, n) among `best` (Q, K), which falls along its rows.

    Comparing with the least that counts leaves few scores to sort, after the first block.
    """
    width = best.shape[1]
    better = scores > best[:, -1:]
    for query in np.flatnonzero(better.any(axis=1)):
        found = np.concatenate([best[query], scores[query, better[query]]])
        top = np.partition(found, len(found) - width)[-width:]
        best[query] = np.sort(top)[::-1]


def recall_of(questions: Questions, search: Callable[[Embeddings, int], Found]) -> float | None:
    """The share of the true ten nearest that a search gives; None where there are none.

    search: from queries (Q, D) and a count to scores and rows, as `OpenSegment.search`. A
    vector counts where its cosine is among the ten best, so that ties cost nothing.
    """
    if not len(questions) or not questions.answers:
        return None
    return float(found_shares(questions, *search(questions.vectors, questions.answers + 1)).mean())


def found_shares(
    questions: Questions, scores: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The same for each question, (Q,), of what was found: exact cosines and rows.

    Both are (Q, at least 11), in any order. 1 where there is nothing to find.
    """
    if not questions.answers:
        return np.ones(len(questions))
    good = (rows >= 0) & (rows != questions.rows[:, None])
    good &= scores >= questions.least[:, None] - _TIE
    right = np.minimum(good.sum(axis=1), questions.answers)
    return np.asarray(right / questions.answers, np.float64)


def sure_recall(shares: NDArray[np.float64]) -> float:
    """What the recall of such questions is at least, as sure as 95 %, by the normal law.

    shares: (Q,), what was found for each of some. 1 of none.
    """
    if not len(shares):
        return 1.0
    return float(shares.mean() - _ONE_SIDED * shares.std() / math.sqrt(len(shares)))
