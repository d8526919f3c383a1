"""The least effort with which an approximate index finds what was asked for."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from indexes.plan.costs import candidate_ns, cell_ns, flat_ns, graph_ns
from indexes.vectors.base import Base
from indexes.vectors.effort import AT, Effort, widen
from indexes.vectors.exact import NONE, gather
from indexes.vectors.recall import Questions, found_shares, sure_recall
from toolkit.embedding import Embeddings

# How many candidates are looked at closely. More are tried where fewer do not do and each
# doubling still finds more than `_GAIN`.
_DEPTHS = (
    (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512),
    (768, 1024),
    (1536, 2048),
    (3072, 4096),
)
_GAIN = 0.004
_GRAPH_DEPTH = 64  # compressed vectors of a graph are near the exact ones
_MOST_PLACES = 8192
_WORSE = 3  # a step that costs so many times the best so far ends the search for a better one
_BEYOND = 4  # times the latency that are tried, to know what would be enough


@dataclass(frozen=True, slots=True)
class Tuned:
    """An effort and what it did on the questions.

    recall: of them; sure: what it is at least, as sure as 95 %; cost_ns: of a query, estimated.
    """

    effort: Effort
    recall: float
    sure: float
    cost_ns: float


@dataclass(frozen=True, slots=True)
class Aim:
    """What is wanted: a recall, 0 to 1, that is sure, within so many nanoseconds a query."""

    recall: float
    most_ns: float = math.inf


@dataclass(frozen=True, slots=True)
class Choice:
    """The effort that is used, and the one that reaches the aim, however long it takes."""

    used: Tuned
    enough: Tuned

    @property
    def reached(self) -> bool:
        """Whether they are the same."""
        return self.used is self.enough


def tune(base: Base, vectors: Embeddings, questions: Questions, aim: Aim) -> Choice:
    """The cheapest effort that reaches the aim; where none does, the one that comes nearest."""
    tried: list[Tuned] = []
    good: list[Tuned] = []
    for effort in _steps(base):
        here = _try(base, vectors, questions, effort, aim.recall)
        tried += here
        good += [one for one in here if one.sure >= aim.recall]
        # Costs rise from step to step.
        least = here[0].cost_ns if here else math.inf
        if least > min([_BEYOND * aim.most_ns, *(_WORSE * one.cost_ns for one in good)]):
            break
    exact = Tuned(_everything(base), 1.0, 1.0, flat_ns(len(vectors), vectors.shape[1]))
    enough = min(good or [exact], key=_cost)
    if enough.cost_ns <= aim.most_ns:
        return Choice(enough, enough)
    within = [one for one in tried if one.cost_ns <= aim.most_ns]
    within = within or [min(tried or [exact], key=_cost)]
    return Choice(max(within, key=lambda one: (one.recall, -one.cost_ns)), enough)


def _cost(tuned: Tuned) -> float:
    return tuned.cost_ns


def _everything(base: Base) -> Effort:
    """An effort with which every vector is looked at: see `widen`."""
    return Effort(0, len(base), 0) if base.is_graph else Effort(base.cells, 0, 0)


def _steps(base: Base) -> Iterator[Effort]:
    """Ever wider efforts, two to the octave, as far as not everything would be looked at."""
    width, most = (AT, _MOST_PLACES) if base.is_graph else (1, base.cells)
    while width <= most:
        for one in (width, width + width // 2):
            effort = Effort(0, one, 0) if base.is_graph else Effort(one, 0, 0)
            if one <= most and widen(effort, base.extent, AT, None) is not None:
                yield effort
            if width == 1:
                break
        width *= 2


def _try(
    base: Base, vectors: Embeddings, questions: Questions, effort: Effort, recall: float
) -> list[Tuned]:
    """What an effort reaches, with each number of candidates where it has any."""
    walked = _walk_ns(base, vectors, effort)
    if not base.refines:
        found = base.search(questions.vectors, questions.answers + 1, effort)
        return [_tuned(effort, found_shares(questions, *found), walked)]
    tried: list[Tuned] = []
    for depths in _depths(base, effort):
        before = tried[-1].recall if tried else 0.0
        rows = base.candidates(questions.vectors, depths[-1], effort)
        scores = _exact_scores(vectors, questions, rows)
        tried += [
            _tuned(
                replace(effort, rerank=depth),
                found_shares(questions, scores[:, :depth], rows[:, :depth]),
                walked + depth * candidate_ns(vectors.shape[1]),
            )
            for depth in depths
        ]
        if tried[-1].sure >= recall or tried[-1].recall < before + _GAIN:
            break
    return tried


def _depths(base: Base, effort: Effort) -> Iterator[list[int]]:
    """Numbers of candidates, some at a time, as far as not everything would be looked at."""
    if base.is_graph:
        yield [min(effort.ef_search, _GRAPH_DEPTH)]
        return
    for depths in _DEPTHS:
        some = [
            depth
            for depth in depths
            if widen(replace(effort, rerank=depth), base.extent, AT, None) is not None
        ]
        if some:
            yield some


def _tuned(effort: Effort, shares: NDArray[np.float64], cost_ns: float) -> Tuned:
    recall = float(shares.mean()) if len(shares) else 1.0
    return Tuned(effort, recall, sure_recall(shares), cost_ns)


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
