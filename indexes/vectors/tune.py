"""The least effort with which an approximate index finds what was asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexes.plan.costs import candidate_ns, cell_ns, graph_ns
from indexes.vectors.base import Base
from indexes.vectors.effort import AT, Effort
from indexes.vectors.exact import NONE, gather
from indexes.vectors.recall import Questions, recall_of_found
from toolkit.embedding import Embeddings

_DEPTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_GRAPH_DEPTH = 64  # compressed vectors of a graph are near the exact ones
_MOST_PLACES = 1024
_WORSE = 3  # a step that costs so many times the best so far ends the search for a better one


@dataclass(frozen=True, slots=True)
class Tuned:
    """An effort, the recall that it had on the questions, and its cost in nanoseconds."""

    effort: Effort
    recall: float
    cost_ns: float


def tune(base: Base, vectors: Embeddings, questions: Questions, recall: float) -> Tuned:
    """The cheapest effort that reaches the recall, 0 to 1, with some room to spare.

    Where none does, the one that comes nearest. The recall is estimated on few questions, so
    a little more than what is asked for is aimed at.
    """
    aim = recall + min(0.01, (1 - recall) / 2)
    tried: list[Tuned] = []
    good: list[Tuned] = []
    for effort in _steps(base):
        here = _try(base, vectors, questions, effort)
        tried += here
        good += [one for one in here if one.recall >= aim]
        # Costs rise from step to step.
        if good and here[0].cost_ns > _WORSE * min(one.cost_ns for one in good):
            break
    if good:
        return min(good, key=lambda one: one.cost_ns)
    return max(tried, key=lambda one: (one.recall, -one.cost_ns))


def _steps(base: Base) -> Iterator[Effort]:
    """Ever wider efforts: two to the octave, up to all cells or the most places."""
    width, most = (AT, _MOST_PLACES) if base.is_graph else (1, base.cells)
    while width < most:
        yield _effort(base, width)
        if width > 1 and width + width // 2 < most:
            yield _effort(base, width + width // 2)
        width *= 2
    yield _effort(base, most)


def _effort(base: Base, width: int) -> Effort:
    return Effort(0, width, 0) if base.is_graph else Effort(width, 0, 0)


def _try(base: Base, vectors: Embeddings, questions: Questions, effort: Effort) -> list[Tuned]:
    """What an effort reaches, with each number of candidates where it has any."""
    walked = _walk_ns(base, vectors, effort)
    if not base.refines:
        found = base.search(questions.vectors, questions.answers + 1, effort)
        return [Tuned(effort, recall_of_found(questions, *found), walked)]
    depths = [depth for depth in _DEPTHS if depth <= len(base)] or [len(base)]
    if base.is_graph:
        depths = [min(effort.ef_search, _GRAPH_DEPTH, len(base))]
    rows = base.candidates(questions.vectors, depths[-1], effort)
    scores = _exact_scores(vectors, questions, rows)
    return [
        Tuned(
            Effort(effort.nprobe, effort.ef_search, depth),
            recall_of_found(questions, scores[:, :depth], rows[:, :depth]),
            walked + depth * candidate_ns(vectors.shape[1]),
        )
        for depth in depths
    ]


def _walk_ns(base: Base, vectors: Embeddings, effort: Effort) -> float:
    if base.is_graph:
        return graph_ns(effort.ef_search, vectors.shape[1])
    probed = effort.nprobe / base.cells * len(base)
    return cell_ns(probed, base.code_bytes, exact=not base.refines)


def _exact_scores(
    vectors: Embeddings, questions: Questions, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The cosines of candidates (Q, R), one question at a time; -inf where there is none."""
    scores = np.empty(rows.shape, np.float32)
    for question, candidates in enumerate(rows):
        near = gather(vectors, np.maximum(candidates, 0))
        scores[question] = near @ questions.vectors[question]
    scores[rows == NONE] = -np.inf
    return scores
