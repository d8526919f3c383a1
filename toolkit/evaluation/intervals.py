"""Accuracy with its 95 % interval, over test pictures and over draws of the labels at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REPLICATES = 1000
_BLOCK = 50  # replicates at a time


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of right answers, 0 to 1, and between what it lies in 95 % of the replicates."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | list[float]]:
        """The keys of the JSON contracts."""
        return {"accuracy": self.value, "interval": [self.low, self.high]}


def accuracy_of(right: NDArray[np.bool_], groups: NDArray[np.int64]) -> Accuracy:
    """The mean of right answers (draws, T), T at least 1, with a percentile bootstrap.

    A replicate draws as many groups of test pictures as there are, and as many draws of the
    labels, both with replacement. groups: (T,); pictures of one are drawn together, because
    they are no independent evidence. The same input gives the same interval.
    """
    which = np.unique(groups, return_inverse=True)[1]
    count = int(which.max()) + 1
    sizes = np.bincount(which, minlength=count).astype(np.float64)
    sums = np.stack([np.bincount(which, row, count) for row in right.astype(np.float64)])
    rng = np.random.default_rng(0)
    means: list[NDArray[np.float64]] = []
    for _ in range(REPLICATES // _BLOCK):
        times = rng.multinomial(count, np.full(count, 1 / count), _BLOCK).astype(np.float64)
        each = (times @ sums.T) / (times @ sizes)[:, None]
        draws = rng.integers(0, len(right), (_BLOCK, len(right)))
        means.append(np.take_along_axis(each, draws, axis=1).mean(1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5]).tolist()
    return Accuracy(float(right.mean()), low, high)


def class_mean(right: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """The mean over the classes of their share of right answers (draws, T); labels: (T,)."""
    which = np.unique(labels, return_inverse=True)[1]
    shares = np.bincount(which, right.mean(0)) / np.bincount(which)
    return float(shares.mean())
