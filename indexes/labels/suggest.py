"""Which things to label next: those that say most of what has no label yet.

Facility location (Nemhauser, Wolsey, Fisher, 1978): the things are chosen one by one, each so
that the sum over all others of their cosine with the likest chosen or labelled thing grows
most. Dense regions count for more, and what is like a chosen thing adds little, so that not
twenty of the same come. What a vote is sure of counts for less, unless it is as sure of things
of a class that was hidden from it.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.folder.store import open_folder
from indexes.labels.calibrate import stranger_p_values
from indexes.labels.likeness import Exemplars, best
from indexes.labels.table import given_labels
from indexes.labels.things import Part, Sample, all_things, class_names, exemplars, living, sample
from indexes.labels.vote import Votes, vote
from indexes.labels.voting import hold_voting
from indexes.records import Place
from toolkit.embedding import Embeddings, chunks
from toolkit.errors import InputError, UsageError

SAMPLE = 4000  # things that are looked at; of more they are drawn
_ROWS = 512
_LIKELY = 0.5


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A thing to label.

    share: of the things without a label, those that are liker to it than to the other
    suggestions; guess, confidence: what a vote makes of it, None where there is none yet;
    thumbnail: a small JPEG, None where the index has no picture.
    """

    rank: int
    place: Place
    share: float
    guess: str | None
    confidence: float | None
    thumbnail: bytes | None

    @property
    def likely(self) -> bool:
        """Whether the guess is worth showing to people."""
        return self.confidence is not None and self.confidence >= _LIKELY

    def as_json(self) -> dict[str, Any]:
        """As `vr label suggest` gives it."""
        return {
            "rank": self.rank,
            "id": self.place.id,
            "source": self.place.source,
            "time_s": self.place.time_s,
            "box": list(self.place.box),
            "track": self.place.track,
            "share": self.share,
            "guess": self.guess,
            "confidence": self.confidence,
        }


@dataclass(frozen=True, slots=True)
class Suggestions:
    """things: of the index; given: of these labelled by people."""

    things: int
    given: int
    suggestions: tuple[Suggestion, ...]


def suggest(index: Path, count: int = 20) -> Suggestions:
    """The things whose labels would tell most, the most telling first.

    Raises UsageError for a count below 1, InputError where there is no index or nothing is
    left to label.
    """
    if count < 1:
        raise UsageError(f"The count is {count}; 1 is the least.", mend="Give -n 1 or more.")
    with closing(open_folder(index)) as store:
        parts = living(store)
        dim = store.card.dim
        labels = given_labels(store.catalog)
        known = exemplars(parts, labels, dim)
        drawn, total = _drawn(parts, known, dim)
        if not total:
            raise InputError(f"The index {index} is empty.", mend="Fill it: vr index build.")
        if not len(drawn.things):
            raise InputError(
                f"Every thing of the index {index} is labelled.",
                mend="There is nothing to suggest: vr label list shows the labels.",
            )
        votes, doubts = _votes(drawn.vectors, known)
        chosen = choose(drawn.vectors, doubts, _covered(drawn.vectors, known), count)
        patches = [int(patch) for patch in drawn.patches[chosen]]
        places, pictures = store.places(patches), store.thumbnails(patches)
    shares = _shares(drawn.vectors, chosen)
    names = class_names(labels)
    found = [
        Suggestion(
            rank,
            places[patch],
            float(shares[rank - 1]),
            None if votes is None else names[votes.classes[at]],
            None if votes is None else float(votes.confidences[at]),
            pictures.get(patch),
        )
        for rank, (patch, at) in enumerate(zip(patches, chosen, strict=True), start=1)
    ]
    return Suggestions(total, len(known), tuple(found))


def choose(
    vectors: Embeddings, weights: NDArray[np.float64], covered: NDArray[np.float32], count: int
) -> list[int]:
    """The rows of vectors (N, D) that cover all of them best, chosen greedily.

    weights: float64 (N,), how much each counts; covered: float32 (N,), the cosine with what is
    known already, 0 for nothing. Of equal ones the first; fewer where there are not so many.
    """
    covered = covered.copy()
    chosen: list[int] = []
    for _ in range(min(count, len(vectors))):
        gains = _gains(vectors, weights, covered)
        gains[chosen] = -np.inf
        chosen.append(int(gains.argmax()))
        covered = np.maximum(covered, vectors @ vectors[chosen[-1]])
    return chosen


def _gains(
    vectors: Embeddings, weights: NDArray[np.float64], covered: NDArray[np.float32]
) -> NDArray[np.float64]:
    gains = np.empty(len(vectors))
    for rows in chunks(len(vectors), _ROWS):
        gains[rows] = np.maximum(vectors[rows] @ vectors.T - covered, 0) @ weights
    return gains


def _drawn(parts: Sequence[Part], known: Exemplars, dim: int) -> tuple[Sample, int]:
    """One row of each of the things without a label, or of `SAMPLE` of them; all things."""
    things, _ = all_things(parts)
    wanted = things[~np.isin(things, known.things)]
    if len(wanted) > SAMPLE:
        wanted = np.sort(np.random.default_rng(0).choice(wanted, SAMPLE, replace=False))
    return sample(parts, wanted, 1, dim), len(things)


def _votes(vectors: Embeddings, known: Exemplars) -> tuple[Votes | None, NDArray[np.float64]]:
    """What labelled things make of the sample, and the doubt that is left, 0 to 1.

    No votes, and nothing but doubt, with fewer than two classes.
    """
    if len(np.unique(known.classes)) < 2:
        return None, np.ones(len(vectors))
    voting = hold_voting(known)
    found = [
        vote(best(known.likeness(vectors[rows]), voting.settings.k), known.classes, voting.settings)
        for rows in chunks(len(vectors), known.rows_at_once())
    ]
    sure = np.concatenate([one.confidences for one in found])
    doubts = np.maximum(1 - sure, stranger_p_values(voting.hidden, sure))
    return Votes(np.concatenate([one.classes for one in found]), sure), doubts


def _covered(vectors: Embeddings, known: Exemplars) -> NDArray[np.float32]:
    covered = np.zeros(len(vectors), np.float32)
    if len(known):
        for rows in chunks(len(vectors), known.rows_at_once()):
            covered[rows] = known.likeness(vectors[rows]).max(axis=1).clip(min=0)
    return covered


def _shares(vectors: Embeddings, chosen: Sequence[int]) -> NDArray[np.float64]:
    """For each chosen row the share of all that are liker to it than to the others."""
    nearest = (vectors @ vectors[list(chosen)].T).argmax(axis=1)
    return np.bincount(nearest, minlength=len(chosen)) / len(vectors)
