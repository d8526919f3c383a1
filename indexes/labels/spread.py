"""A few labels to many: a vote of like things, that abstains where it is not sure."""

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.folder.store import open_folder
from indexes.labels.calibrate import (
    NEVER,
    accuracy_threshold,
    stranger_threshold,
    wilson,
)
from indexes.labels.records import SPREAD, Labelling
from indexes.labels.table import add_batch, changing_labels, given_labels
from indexes.labels.things import OnProgress, class_names, exemplars, living
from indexes.labels.vote import Votes
from indexes.labels.voting import Voting, hold_voting, vote_on_all
from toolkit.errors import InputError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadSettings:
    """Raises UsageError.

    accuracy: wanted of what is labelled, 0.5 to under 1; closed: every thing is of a class
    that has labels, so that strangers need no caution; uncalibrated: label even where nothing
    vouches for the accuracy; dry_run: write nothing; wait_s: for another writer.
    """

    accuracy: float = 0.95
    closed: bool = False
    uncalibrated: bool = False
    dry_run: bool = False
    wait_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.accuracy < 1:
            raise UsageError(
                f"An accuracy of {self.accuracy} cannot be asked for.",
                mend="Give at least 0.5 and less than 1.",
            )


@dataclass(frozen=True, slots=True)
class Decision:
    """What is labelled.

    threshold: the least confidence; calibrated: whether labelled things vouch for the
    accuracy; measured: of `checked` labelled things that were sure enough when they were
    left out, the share that was voted right, None for none; interval: of 95 %.
    """

    threshold: float
    calibrated: bool
    measured: float | None
    interval: tuple[float, float]
    checked: int


# What is looked at where the labels cannot vouch for the accuracy that was asked for.
_LESS = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


@dataclass(frozen=True, slots=True)
class Offer:
    """A lower accuracy that the labels do vouch for, and the share of things it would label."""

    accuracy: float
    coverage: float


@dataclass(frozen=True, slots=True)
class SpreadReport:
    """What a spread did.

    batch: None where nothing was written; things: of the index; given: labelled by people;
    classes: things of each label that this spread gave, also of those it gave to none;
    singles: classes with one labelled thing, which nothing vouches for; offer: the highest
    accuracy that the labels would vouch for, where it is not the one asked for.
    """

    batch: int | None
    things: int
    given: int
    classes: dict[str, int]
    singles: tuple[str, ...]
    voting: Voting
    decision: Decision
    accuracy: float
    offer: Offer | None

    @property
    def labelled(self) -> int:
        """Things that this spread labelled."""
        return sum(self.classes.values())

    @property
    def coverage(self) -> float:
        """The share of the things without a given label that this spread labelled."""
        return self.labelled / max(1, self.things - self.given)

    def as_json(self) -> dict[str, Any]:
        """The JSON contract of `vr label spread`."""
        made = self.decision
        return {
            "batch": self.batch,
            "things": self.things,
            "given": self.given,
            "labelled": self.labelled,
            "coverage": self.coverage,
            "accuracy": self.accuracy,
            "calibrated": made.calibrated,
            "expected_accuracy": made.measured if made.calibrated else None,
            "left_out": {
                "accuracy": made.measured,
                "interval": list(made.interval),
                "things": made.checked,
            },
            "threshold": made.threshold if math.isfinite(made.threshold) else None,
            "neighbours": self.voting.settings.k,
            "temperature": self.voting.settings.temperature,
            "classes": self.classes,
            "classes_of_one": list(self.singles),
            "offer": None
            if self.offer is None
            else {"accuracy": self.offer.accuracy, "coverage": self.offer.coverage},
        }


def spread(
    index: Path, settings: SpreadSettings | None = None, on_progress: OnProgress | None = None
) -> SpreadReport:
    """Label what is like labelled things, in a batch of its own, and leave the rest alone.

    The newest spread counts in the place of older ones. Memory holds some bytes a thing and
    no vectors but those of labelled things. Raises InputError for an index without labels or
    with one class of them, StorageError where another process writes it.
    """
    settings = settings or SpreadSettings()
    with closing(open_folder(index)) as store:
        labels = given_labels(store.catalog)
        parts = living(store)
        known = exemplars(parts, labels, store.card.dim)
        names = class_names(labels)
        _check(index, names)
        voting = hold_voting(known)
        things, votes = vote_on_all(parts, known, voting.settings, on_progress)
    open_ones = ~np.isin(things, known.things)
    given = np.bincount(known.classes, minlength=len(names))
    candidates = votes.confidences[open_ones]
    decision = decide(voting, candidates, settings)
    chosen = open_ones & (votes.confidences >= decision.threshold)
    sure = Votes(votes.classes[chosen], votes.confidences[chosen])
    batch = None
    if not settings.dry_run:
        batch = _write(index, settings, _labellings(things[chosen], sure, names))
    made = np.bincount(sure.classes, minlength=len(names))
    return SpreadReport(
        batch,
        len(things),
        len(known),
        {name: int(count) for name, count in zip(names, made, strict=True)},
        tuple(name for name, count in zip(names, given, strict=True) if count == 1),
        voting,
        decision,
        settings.accuracy,
        None if decision.calibrated else best_offer(voting, candidates, settings),
    )


def decide(voting: Voting, candidates: NDArray[np.float64], settings: SpreadSettings) -> Decision:
    """How sure a vote must be; candidates: the confidences of votes to choose from.

    Where the labelled things do not vouch for the accuracy, no vote is sure enough; with
    `uncalibrated` the rule for strangers alone decides then.
    """
    left_out = voting.left_out
    accurate = accuracy_threshold(left_out, candidates, settings.accuracy)
    calibrated = accurate < NEVER
    threshold = 0.0 if settings.uncalibrated and not calibrated else accurate
    if threshold < NEVER and not (calibrated and settings.closed):
        stranger = stranger_threshold(voting.hidden, settings.accuracy)
        threshold = max(threshold, math.nextafter(stranger, math.inf))
    sure = left_out.confidences >= threshold
    right, of = int(left_out.right[sure].sum()), int(sure.sum())
    measured = right / of if of else None
    return Decision(threshold, calibrated, measured, wilson(right, of), of)


def best_offer(
    voting: Voting, candidates: NDArray[np.float64], settings: SpreadSettings
) -> Offer | None:
    """The highest lower accuracy at which votes are vouched for, and pass; None for none."""
    for accuracy in _LESS:
        if accuracy < settings.accuracy:
            made = decide(voting, candidates, replace(settings, accuracy=accuracy))
            passed = int((candidates >= made.threshold).sum())
            if made.calibrated and passed:
                return Offer(accuracy, passed / len(candidates))
    return None


def _check(index: Path, names: list[str]) -> None:
    if not names:
        raise InputError(
            f"The index {index} has no labels to spread.",
            mend="Give some: vr label suggest --csv FILE, fill it in, vr label import FILE.",
        )
    if len(names) == 1:
        raise InputError(
            f"All labels of the index {index} are {names[0]!r}: there is nothing to tell it from.",
            mend="Label some things as something else too, such as 'other'.",
        )


def _labellings(things: NDArray[np.int64], votes: Votes, names: list[str]) -> Iterator[Labelling]:
    rows = zip(things.tolist(), votes.classes.tolist(), votes.confidences.tolist(), strict=True)
    return (Labelling(thing, names[number], sure) for thing, number, sure in rows)


def _write(index: Path, settings: SpreadSettings, labellings: Iterator[Labelling]) -> int:
    kept = {
        "accuracy": settings.accuracy,
        "closed": settings.closed,
        "uncalibrated": settings.uncalibrated,
    }
    with changing_labels(index, settings.wait_s) as connection:
        batch, _ = add_batch(connection, SPREAD, kept, labellings)
    return batch
