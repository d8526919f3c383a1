"""What a classifier takes for what, on pictures that it has not seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.intervals import Accuracy, accuracy_of, class_mean
from toolkit.transfer.head import Probabilities


@dataclass(frozen=True, slots=True)
class Measured:
    """A classifier on held-out pictures, T of them.

    probabilities: float32 (T, classes); labels, groups: (T,); loss: the mean cross entropy.
    """

    probabilities: Probabilities
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]

    @property
    def found(self) -> NDArray[np.int64]:
        """The class of the highest probability, the first of equals, (T,)."""
        return np.asarray(self.probabilities.argmax(1), np.int64)

    @property
    def accuracy(self) -> Accuracy:
        """The share of right answers, with its interval over the pictures."""
        return accuracy_of((self.found == self.labels)[None], self.groups)

    @property
    def right(self) -> float:
        """The share of right answers, 0 to 1."""
        return float((self.found == self.labels).mean())

    @property
    def class_mean(self) -> float:
        """The mean over the classes of their share of right answers."""
        return class_mean((self.found == self.labels)[None], self.labels)

    @property
    def loss(self) -> float:
        """The mean cross entropy, in nats."""
        given = self.probabilities[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.maximum(given, 1e-30)).mean())


def most_confused(measured: Measured, most: int) -> list[tuple[int, int, int]]:
    """(class, taken for, how many) of the commonest mistakes, the commonest first."""
    wrong = measured.found != measured.labels
    pairs = np.stack([measured.labels[wrong], measured.found[wrong]], 1)
    kinds, times = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-times, kind="stable")[:most]
    return [(*map(int, kinds[place]), int(times[place])) for place in order]  # type: ignore[misc]


def worth_showing(measured: Measured, most: int) -> NDArray[np.int64]:
    """The classes that most mistakes have to do with, `most` of them, ascending."""
    wrong = measured.found != measured.labels
    classes = measured.probabilities.shape[1]
    mistakes = np.bincount(measured.labels[wrong], minlength=classes) + np.bincount(
        measured.found[wrong], minlength=classes
    )
    return np.sort(np.argsort(-mistakes, kind="stable")[:most])


def confusion_among(measured: Measured, classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of each class (row) are taken for each (column); classes: ascending, (C,)."""
    both = np.isin(measured.labels, classes) & np.isin(measured.found, classes)
    rows = np.searchsorted(classes, measured.labels[both])
    columns = np.searchsorted(classes, measured.found[both])
    table = np.bincount(rows * len(classes) + columns, minlength=len(classes) ** 2)
    return table.reshape(len(classes), len(classes)).astype(np.int64)
