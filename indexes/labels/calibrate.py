"""How sure a vote has to be: thresholds that labelled things, each left out once, vouch for.

Two rules, each a conformal one (Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random
World", 2005); the stricter counts.

- Accuracy: selection by conformal p-values with Benjamini and Hochberg's procedure (Jin and
  Candes, "Selection by Prediction with Conformal p-values", JMLR 2023). Among what is
  selected the expected share of wrong labels is at most what was asked for, if the labelled
  things are drawn like the others. Leaving one out stands for a set of its own to calibrate
  on, which few labels cannot spare.
- Strangers: a thing of a class that has no label yet must stay without one. Each class is
  hidden in turn, and the votes on its things show how sure a vote on a stranger becomes.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959964  # two-sided, of a normal distribution
NEVER = math.inf


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Votes on N labelled things, each without itself.

    confidences: float64 (N,); right: bool (N,), whether the vote named the class.
    """

    confidences: NDArray[np.float64]
    right: NDArray[np.bool_]


def accuracy_threshold(
    left_out: LeftOut, candidates: NDArray[np.float64], accuracy: float
) -> float:
    """The least confidence that keeps the expected share of wrong labels at 1 - accuracy.

    candidates: float64 (M,), the confidences of the votes to select from. `NEVER` where the
    labelled things are too few, or too often wrong, to vouch for any selection.
    """
    if not len(candidates):
        return NEVER
    falling = np.sort(candidates)[::-1]
    wrong = np.sort(left_out.confidences[~left_out.right])
    as_sure = len(wrong) - np.searchsorted(wrong, falling, side="left")
    selected = np.searchsorted(-falling, -falling, side="right")
    share = (1 + as_sure) / (len(left_out.right) + 1) * len(candidates) / selected
    allowed = np.flatnonzero(share <= 1 - accuracy)
    return float(falling[allowed[-1]]) if len(allowed) else NEVER


def stranger_threshold(confidences: NDArray[np.float64], accuracy: float) -> float:
    """The confidence that a vote on a stranger passes with a chance of at most 1 - accuracy.

    confidences: float64 (N,), of votes on labelled things whose class was hidden. With fewer
    than 1 / (1 - accuracy) of them no more can be promised than 1 / (N + 1), and it is their
    largest. `NEVER` for none.
    """
    if not len(confidences):
        return NEVER
    rank = math.ceil(accuracy * (len(confidences) + 1) - 1e-9)
    return float(np.sort(confidences)[min(rank, len(confidences)) - 1])


def stranger_p_values(
    hidden: NDArray[np.float64], confidences: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How likely a stranger gets a vote at least as sure, for each of (M,) confidences.

    hidden: float64 (N,), of votes on labelled things whose class was hidden.
    """
    as_sure = len(hidden) - np.searchsorted(np.sort(hidden), confidences, side="left")
    return np.asarray((1 + as_sure) / (len(hidden) + 1))


def fewest_labels(accuracy: float) -> int:
    """Labelled things that it takes to vouch for an accuracy where all votes are sure and right.

    With a share of the votes less sure it takes that many times more.
    """
    return math.ceil(1 / (1 - accuracy) - 1 - 1e-9)


def wilson(right: int, of: int) -> tuple[float, float]:
    """The interval for a share of 95 % confidence (Wilson, JASA 1927); (0, 1) for none."""
    if not of:
        return 0.0, 1.0
    share, spread = right / of, Z_95**2 / of
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)
