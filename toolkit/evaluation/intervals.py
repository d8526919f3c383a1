"""Accuracy with its 95 % interval, over test pictures and over draws of the labels at once."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

# Student's t: what 95 % lie within, for so many degrees of freedom. Between them it is taken as
# linear in their inverse: never too small, and from two on no more than 2 % too large.
_FREEDOM = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 24.0, np.inf)
_WITHIN = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.306, 2.179, 2.064, 1.960)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of right answers, 0 to 1, and the ends of its interval of 95 %."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | list[float]]:
        """The keys of the JSON contracts."""
        return {"accuracy": self.value, "interval": [self.low, self.high]}


def accuracy_of(right: NDArray[np.bool_], groups: NDArray[np.int64]) -> Accuracy:
    """The mean of right answers (draws, T), T at least 1, with its interval.

    The interval is about the mean over all such pictures and draws of labels. groups: (T,);
    pictures of one are no independent evidence, and their errors are added before they are
    squared. The draws add the variance of their mean. What share of as many independent
    pictures would vary so gives the size for Wilson's interval (JASA 1927; for samples in
    groups: Korn and Graubard, Survey Methodology 1998), with Student's t of the degrees of
    freedom that Satterthwaite gives (Biometrics 1946). Where no answer or every one is right,
    the groups are the size.
    """
    value = float(right.mean())
    which, counts = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    sizes = counts.astype(np.float64)
    if value in (0.0, 1.0) or len(sizes) == 1:
        return Accuracy(value, *_wilson(value, sizes.sum() ** 2 / np.square(sizes).sum(), np.inf))
    parts = [(_variance_of_groups(right.mean(0), which, sizes), len(sizes) - 1)]
    if len(right) > 1:
        parts.append((float(right.mean(1).var(ddof=1)) / len(right), len(right) - 1))
    variance = sum(part for part, _ in parts)
    # No more evidence than answers: groups may fall on one share by chance.
    size = min(right.size, value * (1 - value) / variance) if variance else right.size
    freedom = variance**2 / sum(p**2 / f for p, f in parts) if variance else len(sizes) - 1
    return Accuracy(value, *_wilson(value, size, freedom))


def _variance_of_groups(
    shares: NDArray[np.float64], which: NDArray[np.int64], sizes: NDArray[np.float64]
) -> float:
    """Of the mean of shares (T,), whose groups are drawn; which: (T,), sizes: (groups,)."""
    errors = np.bincount(which, shares - shares.mean())
    free = len(sizes) / (len(sizes) - 1)
    return float(np.square(errors).sum() * free / sizes.sum() ** 2)


def _wilson(value: float, size: float, freedom: float) -> tuple[float, float]:
    inverse = [1 / number for number in reversed(_FREEDOM)]
    square = float(np.interp(1 / freedom, inverse, _WITHIN[::-1])) ** 2
    middle = value + square / (2 * size)
    half = sqrt(square * value * (1 - value) / size + (square / (2 * size)) ** 2)
    scale = 1 + square / size
    # Rounding must not part an end from a share of 0 or 1.
    low, high = (middle - half) / scale, (middle + half) / scale
    return max(0.0, min(value, low)), min(1.0, max(value, high))


def class_mean(right: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """The mean over the classes of their share of right answers (draws, T); labels: (T,)."""
    which = np.unique(labels, return_inverse=True)[1]
    shares = np.bincount(which, right.mean(0)) / np.bincount(which)
    return float(shares.mean())
