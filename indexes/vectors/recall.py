"""How well an index finds, measured against exact search on vectors that it was not trained on."""

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


@dataclass(frozen=True, slots=True)
class Questions:
    """Vectors of an index that are searched for among the others, and the true answers.

    rows: int64 (Q,), their own rows, which do not count; vectors: float32 (Q, D);
    least: float32 (Q,), the cosine of the tenth nearest, or of the last where there are
    fewer; answers: how many nearest there are, at most ten.
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
    queries = gather(vectors, rows)
    answers = min(AT, len(vectors) - 1)
    best = np.full((len(rows), answers + 1), -np.inf, np.float32)
    for part in chunks(len(vectors), max(_BLOCK_NUMBERS // vectors.shape[1], 1)):
        _keep_best(best, queries @ np.ascontiguousarray(vectors[part]).T)
    # Nothing is nearer to a vector than itself, so the first of them stands for it.
    return Questions(rows, queries, best[:, -1], answers)


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
    found = search(questions.vectors, questions.answers + 1)
    return recall_of_found(questions, *found)


def recall_of_found(
    questions: Questions, scores: NDArray[np.float32], rows: NDArray[np.int64]
) -> float:
    """The same of what was found: exact cosines and rows, (Q, at least 11), best first.

    1 where there is nothing to find.
    """
    if not len(questions) or not questions.answers:
        return 1.0
    good = (rows >= 0) & (rows != questions.rows[:, None])
    good &= scores >= questions.least[:, None] - _TIE
    hits = np.minimum(good.sum(axis=1), questions.answers)
    return float(hits.sum() / (len(questions) * questions.answers))
