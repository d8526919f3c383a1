"""A vote on every thing of an index, and what labelled things, left out in turn, say of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexes.labels.calibrate import LeftOut
from indexes.labels.likeness import Exemplars, among_themselves, best, scan
from indexes.labels.things import OnProgress, Part, all_things, blocks
from indexes.labels.vote import MOST_NEIGHBOURS, Neighbours, Votes, VoteSettings, tune, vote

_MOST_LEFT_OUT = 4096  # labelled things that are left out, each once; of more a part, drawn
_K, _TEMPERATURE = 10, 0.04  # where no class has two things to learn them from


@dataclass(frozen=True, slots=True)
class Voting:
    """How the vote is held.

    left_out: votes on labelled things, each without itself, so that the only one of its class
    is voted wrong: of things drawn at random, the share of such ones is the chance that the
    next is of a class without labels (Good, Biometrika 1953). hidden: float64 (N,), the
    confidences of votes on labelled things whose whole class was hidden.
    """

    settings: VoteSettings
    left_out: LeftOut
    hidden: NDArray[np.float64]


def hold_voting(known: Exemplars) -> Voting:
    """Choose how to vote by leaving labelled things out, each once; L > 1, of two classes."""
    rows = np.arange(len(known))
    if len(known) > _MOST_LEFT_OUT:
        drawn = np.random.default_rng(0).choice(len(known), _MOST_LEFT_OUT, replace=False)
        rows = np.sort(drawn)
    likeness = among_themselves(known, rows)
    truth = known.classes[rows]
    same = truth[:, None] == known.classes[None, :]
    others = np.where(same, -np.inf, likeness)
    start = VoteSettings(_K, _TEMPERATURE, stranger=float(np.median(others.max(axis=1))))
    near = best(likeness, MOST_NEIGHBOURS)
    several = np.bincount(known.classes)[truth] > 1  # there is nothing to tune for the others
    settings = tune(near.part(several), truth[several], known.classes, start)
    votes = vote(near, known.classes, settings)
    hidden = vote(best(others, MOST_NEIGHBOURS), known.classes, settings)
    left_out = LeftOut(votes.confidences, votes.classes == truth)
    return Voting(settings, left_out, hidden.confidences)


def vote_on_all(
    parts: Sequence[Part],
    known: Exemplars,
    settings: VoteSettings,
    on_progress: OnProgress | None = None,
) -> tuple[NDArray[np.int64], Votes]:
    """Vote on every thing of the segments; the things, ascending int64 (T,), and the votes."""
    things, rows = all_things(parts)
    votes = Votes(np.zeros(len(things), np.int32), np.zeros(len(things)))

    def take(some: NDArray[np.int64], near: Neighbours) -> None:
        at = np.searchsorted(things, some)
        found = vote(near, known.classes, settings)
        votes.classes[at] = found.classes
        votes.confidences[at] = found.confidences

    blocked = blocks(parts, known.rows_at_once(), on_progress)
    scan(blocked, known, settings.k, things[rows > 1], take)
    return things, votes
