"""Whether an exported classifier still names what the trained one does."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TIE = 1e-5  # probabilities closer than this are the same: float32 rounds about so much


@dataclass(frozen=True, slots=True)
class ClassAgreement:
    """How near a candidate's probabilities come to the reference's over the same patches.

    top1_agreement: the share of patches with the same class, 0 to 1; accuracy: of the
    reference; delta_accuracy: that of the candidate minus it; difference_max: of two
    probabilities of one class, 0 to 1.
    """

    top1_agreement: float
    accuracy: float
    delta_accuracy: float
    difference_max: float

    def as_json(self) -> dict[str, Any]:
        """As it stands in parity.json."""
        return {
            "top1_agreement": self.top1_agreement,
            "accuracy": self.accuracy,
            "delta_accuracy": self.delta_accuracy,
            "difference_max": self.difference_max,
        }


def compare_classes(
    reference: NDArray[np.float32], found: NDArray[np.float32], labels: NDArray[np.int64]
) -> ClassAgreement:
    """Compare probabilities (N, classes) of patches of these classes (N,), N at least 1.

    Where the candidate's class was as probable to the reference as its own, it is the same.
    NaN agrees with nothing and is never right.
    """
    rows = np.arange(len(labels))
    given, named = reference.argmax(1), found.argmax(1)
    finite = np.isfinite(found).all(1)
    same = finite & (reference[rows, named] >= reference.max(1) - TIE)
    # A tie that falls the other way is no change of the accuracy either.
    right = given == labels
    new_right = np.where(same, right, finite & (named == labels))
    return ClassAgreement(
        float(same.mean()),
        float(right.mean()),
        float(new_right.mean() - right.mean()),
        float(np.abs(found - reference).max()),
    )
