"""The vote of labelled neighbours: pure arithmetic on similarities, no index.

A weighted k-NN vote (Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance
Discrimination", CVPR 2018, section 3.4): each of the k nearest labelled things votes for its
class with the weight exp(cosine / temperature). Beside the classes stands one voter for "none
of these", at the cosine `stranger`: what is far from every labelled thing is sure of nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

MOST_NEIGHBOURS = 20
_NEIGHBOURS = (1, 2, 3, 5, 10, MOST_NEIGHBOURS)
_TEMPERATURES = (0.01, 0.02, 0.04, 0.07, 0.1, 0.2)
_AT_ONCE = 1 << 22  # numbers of a part's table of shares: 32 MiB


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The labelled things most like each of N things, at most K of them, by falling cosine.

    scores: float32 (N, K); things: int32 (N, K), numbers of labelled things, -1 for none.
    """

    scores: NDArray[np.float32]
    things: NDArray[np.int32]

    def __len__(self) -> int:
        """N."""
        return len(self.scores)

    def part(self, rows: slice | NDArray[np.bool_] | NDArray[np.intp]) -> "Neighbours":
        """Those of some of the things."""
        return Neighbours(self.scores[rows], self.things[rows])


@dataclass(frozen=True, slots=True)
class VoteSettings:
    """k: neighbours that vote; temperature, stranger: of the weights, in cosines."""

    k: int
    temperature: float
    stranger: float


@dataclass(frozen=True, slots=True)
class Votes:
    """What each of N things was voted to be.

    classes: int32 (N,), numbers of classes; confidences: float64 (N,), the share of the
    winning class among all weights, 0 to 1.
    """

    classes: NDArray[np.int32]
    confidences: NDArray[np.float64]


def vote(near: Neighbours, classes: NDArray[np.int32], settings: VoteSettings) -> Votes:
    """Let the neighbours vote.

    classes: int32 (L,), the class of each labelled thing. A tie is won by the class of the
    smaller number; a thing without neighbours gets class 0 with confidence 0.
    """
    parts = [_winners(shares) for shares in _shares(near, classes, settings)]
    return Votes(
        np.concatenate([np.empty(0, np.int32), *(won for won, _ in parts)]),
        np.concatenate([np.empty(0), *(confidence for _, confidence in parts)]),
    )


def _winners(shares: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    won = shares.argmax(axis=1).astype(np.int32)
    return won, shares[np.arange(len(shares)), won]


def _shares(
    near: Neighbours, classes: NDArray[np.int32], settings: VoteSettings
) -> Iterator[NDArray[np.float64]]:
    """The share of each class, (n, C), in parts of bounded size."""
    count = int(classes.max()) + 1
    for start in range(0, len(near), max(1, _AT_ONCE // count)):
        part = near.part(slice(start, start + max(1, _AT_ONCE // count)))
        voters = part.things[:, : settings.k]
        # Relative to the nearest (or the stranger, if that is nearer), so that nothing
        # overflows.
        cosines = np.where(voters < 0, -np.inf, part.scores[:, : settings.k].astype(np.float64))
        top = np.maximum(cosines.max(axis=1, initial=-np.inf), settings.stranger)
        weights = np.exp((cosines - top[:, None]) / settings.temperature)
        shares = np.zeros((len(part), count))
        rows = np.broadcast_to(np.arange(len(part))[:, None], voters.shape)
        np.add.at(shares, (rows, classes[voters]), weights)
        none_of_these = np.exp((settings.stranger - top) / settings.temperature)
        yield shares / (shares.sum(axis=1) + none_of_these)[:, None]


def brier(
    near: Neighbours,
    truth: NDArray[np.int32],
    classes: NDArray[np.int32],
    settings: VoteSettings,
) -> float:
    """The mean Brier score of the votes, 0 (best) to 2: what is not shared out counts too.

    truth: int32 (N,), the class of each thing. Proper: honest shares have the least score.
    """
    total, start = 0.0, 0
    for shares in _shares(near, classes, settings):
        wanted = truth[start : start + len(shares)]
        own = shares[np.arange(len(shares)), wanted]
        total += float((np.square(shares).sum(axis=1) - 2 * own + 1).sum())
        start += len(shares)
    return total / max(1, len(near))


def tune(
    near: Neighbours, truth: NDArray[np.int32], classes: NDArray[np.int32], start: VoteSettings
) -> VoteSettings:
    """The k and temperature of least Brier score over labelled things, each left out once.

    near: the neighbours of labelled things, without themselves. Of equal ones the smaller k
    and the lower temperature; `start` where there is nothing to learn from.
    """
    if not len(near):
        return start
    grid = [
        replace(start, k=k, temperature=temperature)
        for k in _NEIGHBOURS
        for temperature in _TEMPERATURES
    ]
    return min(grid, key=lambda settings: brier(near, truth, classes, settings))
