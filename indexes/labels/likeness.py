"""The labelled things most like each thing of an index, in one pass over its mapped vectors.

Two things are as like as the two most like of their patches: that can be had in one pass, and
the means of their vectors, which tell classes no better, cannot.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexes.labels.vote import Neighbours
from toolkit.embedding import Embeddings, chunks

_AT_ONCE = 1 << 23  # cosines of a part: 32 MiB
_MOST_ROWS = 8192


@dataclass(frozen=True, slots=True)
class Exemplars:
    """The patches of L labelled things, thing by thing.

    things: int64 (L,), ascending; classes: int32 (L,), numbers of classes; vectors: float32
    (P, D), of length 1; starts: int64 (L,), the first patch of each thing.
    """

    things: NDArray[np.int64]
    classes: NDArray[np.int32]
    vectors: Embeddings
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        """L."""
        return len(self.things)

    def likeness(self, vectors: Embeddings) -> NDArray[np.float32]:
        """float32 (N, L): the cosine of each of N vectors with the likest patch of each."""
        cosines = vectors @ self.vectors.T
        if len(self.vectors) == len(self.things):
            return cosines
        return np.maximum.reduceat(cosines, self.starts, axis=1)

    def rows_at_once(self) -> int:
        """Vectors of which all cosines fit in a part."""
        return max(1, min(_MOST_ROWS, _AT_ONCE // max(1, len(self.vectors))))


def best(likeness: NDArray[np.float32], k: int) -> Neighbours:
    """The k labelled things most like each, from (N, L); equal ones by number."""
    k = min(k, likeness.shape[1])
    if k < likeness.shape[1]:
        # The k-th value and all above it, so that ties are broken by number and not by chance.
        least = np.partition(likeness, -k, axis=1)[:, -k]
        order = _by_value_then_number(likeness, least, k)
    else:
        order = np.argsort(-likeness, axis=1, kind="stable")
    scores = np.take_along_axis(likeness, order, axis=1)
    return Neighbours(scores, np.where(np.isneginf(scores), -1, order).astype(np.int32))


def _by_value_then_number(
    likeness: NDArray[np.float32], least: NDArray[np.float32], k: int
) -> NDArray[np.intp]:
    taken = likeness >= least[:, None]
    tied = np.flatnonzero(np.count_nonzero(taken, axis=1) > k)
    if len(tied):
        above = likeness[tied] > least[tied, None]
        ties = taken[tied] & ~above
        room = k - above.sum(axis=1)
        taken[tied] = above | (ties & (np.cumsum(ties, axis=1) <= room[:, None]))
    order = np.nonzero(taken)[1].reshape(len(likeness), k)
    values = np.take_along_axis(likeness, order, axis=1)
    return np.take_along_axis(order, np.argsort(-values, axis=1, kind="stable"), axis=1)


def among_themselves(exemplars: Exemplars, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32 (R, L): how like some of the labelled things are to all; -inf to themselves."""
    ends = np.append(exemplars.starts[1:], len(exemplars.vectors))
    table = np.empty((len(rows), len(exemplars)), np.float32)
    for at, row in enumerate(rows):
        own = exemplars.vectors[exemplars.starts[row] : ends[row]]
        table[at] = exemplars.likeness(own).max(axis=0)
        table[at, row] = -np.inf
    return table


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of an index: float32 (n, D) and the thing of each, int64 (n,)."""

    vectors: Embeddings
    things: NDArray[np.int64]


def scan(
    parts: Iterator[Rows],
    exemplars: Exemplars,
    k: int,
    repeated: NDArray[np.int64],
    take: Callable[[NDArray[np.int64], Neighbours], None],
) -> None:
    """Give `take` every thing once, with its k neighbours.

    repeated: int64, ascending, the things that have several rows. What has one is handed on
    at once; of the others memory holds k neighbours each until the end.
    """
    k = min(k, len(exemplars))
    held = _Held(repeated, k)
    for part in parts:
        near = best(exemplars.likeness(part.vectors), k)
        at = np.searchsorted(repeated, part.things)
        at[at == len(repeated)] = 0
        several = repeated[at] == part.things if len(repeated) else np.zeros(len(at), np.bool_)
        take(part.things[~several], near.part(~several))
        held.merge(at[several], near.part(several))
    for rows in chunks(len(repeated), _MOST_ROWS):
        take(repeated[rows], held.neighbours.part(rows))


class _Held:
    """The best k of things of which more rows may come.

    Each of the k best of a thing is among the k best of the row that it is like, so nothing
    is lost by keeping k of each row.
    """

    def __init__(self, things: NDArray[np.int64], k: int) -> None:
        shape = (len(things), k)
        self.neighbours = Neighbours(
            np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int32)
        )

    def merge(self, at: NDArray[np.intp], near: Neighbours) -> None:
        """Take in what rows of the things at these places are like."""
        while len(at):
            # A place twice in one part: its second row waits for the next round.
            places, first = np.unique(at, return_index=True)
            self._merge_once(places, near.part(first))
            rest = np.ones(len(at), np.bool_)
            rest[first] = False
            at, near = at[rest], near.part(rest)

    def _merge_once(self, places: NDArray[np.intp], near: Neighbours) -> None:
        kept = self.neighbours
        k = kept.scores.shape[1]
        scores = np.concatenate([kept.scores[places], near.scores], axis=1)
        things = np.concatenate([kept.things[places], near.things], axis=1)
        # By falling score and, of one thing, the better first; its worse one then goes.
        order = np.lexsort((things, -scores), axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
        things = np.take_along_axis(things, order, axis=1)
        scores[_seen_before(things)] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        kept.scores[places] = np.take_along_axis(scores, order, axis=1)
        found = np.take_along_axis(things, order, axis=1)
        kept.things[places] = np.where(np.isneginf(kept.scores[places]), -1, found)


def _seen_before(things: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether the same number stands further left in its row, bool (N, K)."""
    order = np.argsort(things, axis=1, kind="stable")
    ordered = np.take_along_axis(things, order, axis=1)
    again = np.zeros(things.shape, np.bool_)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    seen = np.empty_like(again)
    np.put_along_axis(seen, order, again, axis=1)
    return seen
