"""Does the exported network still retrieve the same things? Measured, and judged.

Retrieval here is plain: each query looks for a positive of its own track among all the
positives, and each positive for a query of its track among all the queries, by cosine. How
good the network is at it is for toolkit.evaluation to say; what counts here is that the export
is as good. Looking both ways asks twice as many questions of the same patches, so that one
answer weighs half. That another patch of the same track comes first is no change: which of
two pictures of one thing is nearer is chance, for the network as for its export.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deploy.proof.classes import ClassAgreement
from toolkit.embedding import Embeddings
from toolkit.errors import InputError

Precision = Literal["fp32", "fp16", "int8"]

TOP_K = 10
BLOCK_ROWS = 1024  # rows of the similarity matrix at a time: memory stays linear in N
_ROUNDING = 1e-9  # a difference of two fractions is not exact: 2 of 1000 is within 0.002
TIE = 1e-5  # cosines closer than this are the same: float32 rounds about so much


Tracks = NDArray[np.int64]  # (N,): pairs of the same number show the same thing
Pairs = tuple[Embeddings, Embeddings]  # of the queries, of the positives; each (N, dim)


@dataclass(frozen=True, slots=True)
class Gate:
    """What an export has to keep: the least cosine, and the greatest change of R@1 (0 to 1).

    Of a classifier also the least share of patches with the same class, and the greatest
    change of its accuracy.
    """

    cosine_min: float
    delta_recall: float
    top1_agreement: float
    delta_accuracy: float

    def as_json(self, *, classes: bool) -> dict[str, float]:
        """As it stands in parity.json; classes: whether it is that of a classifier."""
        more = {"top1_agreement": self.top1_agreement, "delta_accuracy": self.delta_accuracy}
        return {
            "cosine_min": self.cosine_min,
            "delta_recall@1": self.delta_recall,
            **(more if classes else {}),
        }


GATES: dict[Precision, Gate] = {
    "fp32": Gate(0.9999, 0.002, top1_agreement=0.998, delta_accuracy=0.002),
    "fp16": Gate(0.999, 0.005, top1_agreement=0.99, delta_accuracy=0.005),
    "int8": Gate(0.9, 0.010, top1_agreement=0.95, delta_accuracy=0.010),
}


@dataclass(frozen=True, slots=True)
class Parity:
    """How near a candidate comes to its reference over `patches` patches.

    cosine_*: of the two embeddings of one patch (p1: 1st percentile); topk_overlap: the
    share of the candidate's ten nearest that are the reference's, 0 to 1; recall: R@1 of
    the reference, 0 to 1; delta_recall: R@1 of the candidate minus that. Each patch is a
    query once, so one answer is 1 / patches of R@1. classes: of a classifier.
    """

    patches: int
    cosine_min: float
    cosine_p1: float
    cosine_mean: float
    topk_overlap: float
    recall: float
    delta_recall: float
    classes: ClassAgreement | None = None

    def passes(self, gate: Gate) -> bool:
        """Whether the export may be used; NaN never passes."""
        near = self.cosine_min >= gate.cosine_min
        return (
            near
            and abs(self.delta_recall) <= gate.delta_recall + _ROUNDING
            and self.names_the_same(gate)
        )

    def names_the_same(self, gate: Gate) -> bool:
        """Whether a classifier still names the same; true of what is none."""
        if self.classes is None:
            return True
        alike = self.classes.top1_agreement >= gate.top1_agreement - _ROUNDING
        return alike and abs(self.classes.delta_accuracy) <= gate.delta_accuracy + _ROUNDING

    def as_json(self, precision: Precision) -> dict[str, Any]:
        """As it stands in parity.json and in the report of `vr export --json`."""
        gate = GATES[precision]
        return {
            "precision": precision,
            "patches": self.patches,
            "cosine_min": self.cosine_min,
            "cosine_p1": self.cosine_p1,
            "cosine_mean": self.cosine_mean,
            "topk_overlap": self.topk_overlap,
            "recall@1": self.recall,
            "delta_recall@1": self.delta_recall,
            **({} if self.classes is None else {"classes": self.classes.as_json()}),
            "gate": gate.as_json(classes=self.classes is not None),
            "passed": self.passes(gate),
        }


def check_pairs(queries: NDArray[np.uint8], positives: NDArray[np.uint8]) -> None:
    """Raises InputError unless there are as many of both, and one at least."""
    if len(queries) == 0 or queries.shape != positives.shape:
        raise InputError(
            f"Parity needs as many queries as positives, and one pair at least; there are "
            f"{len(queries)} and {len(positives)}.",
            mend="Mine more video, so that some pairs can be held out of training.",
        )


def compare_embeddings(old: Pairs, new: Pairs, tracks: Tracks | None = None) -> Parity:
    """Compare what a reference and a candidate made of the same pairs, N at least 1."""
    cosines = np.concatenate([_row_cosines(a, b) for a, b in zip(old, new, strict=True)])
    own = np.arange(len(old[0])) if tracks is None else tracks
    ways = [_compare_rankings(a, b, own) for a, b in ((old, new), (old[::-1], new[::-1]))]
    overlap, recall, new_recall = np.mean(ways, axis=0).tolist()
    return Parity(
        patches=len(cosines),
        cosine_min=float(cosines.min()),
        cosine_p1=float(np.percentile(cosines, 1)),
        cosine_mean=float(cosines.mean()),
        topk_overlap=overlap,
        recall=recall,
        delta_recall=new_recall - recall,
    )


def _row_cosines(a: Embeddings, b: Embeddings) -> NDArray[np.float64]:
    x, y = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    # Two vectors of length 0 (a dead network) are as equal as they can be; one alone is not.
    both_zero = ~x.any(axis=1) & ~y.any(axis=1)
    return np.where(both_zero, 1.0, (x * y).sum(axis=1) / np.where(lengths > 0, lengths, np.inf))


def _compare_rankings(old: Pairs, new: Pairs, tracks: Tracks) -> tuple[float, float, float]:
    """Top-k overlap, R@1 of the old, R@1 of the new; each a mean over the queries."""
    sums = np.zeros(3)
    for rows in _blocks(len(old[0])):
        a, b = old[0][rows] @ old[1].T, new[0][rows] @ new[1].T
        own = tracks[rows, None] == tracks[None]
        found, new_found = _found(_margins(a, own), _margins(b, own))
        sums += _overlap(a, b).sum(), found.sum(), new_found.sum()
    overlap, recall, new_recall = (sums / len(old[0])).tolist()
    return overlap, recall, new_recall


def _blocks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, rows))


def _margins(scores: NDArray[np.float32], own: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Per row of (B, N): by how much the best of its own beats the best of the others."""
    below = np.float32(-2)  # less than any cosine
    return np.asarray(
        np.where(own, scores, below).max(axis=1) - np.where(own, below, scores).max(axis=1)
    )


def _found(
    old: NDArray[np.float32], new: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Per margin (B,): whether each of the two has found its own.

    Where a margin hardly moved, the answer has not changed: that it lies so near 0 is no
    fault of the export. NaN has moved, and finds nothing.
    """
    found = old >= 0
    moved = ~(np.abs(new - old) <= TIE)
    return found, np.where(moved, new >= 0, found)


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Per row of (B, N): the share of b's top k that is as near in a as a's k-th."""
    k = min(TOP_K, a.shape[1])
    picks = np.argpartition(-b, k - 1, axis=1)[:, :k]
    kth = -np.partition(-a, k - 1, axis=1)[:, k - 1 : k]
    return np.asarray((np.take_along_axis(a, picks, axis=1) >= kth - TIE).mean(axis=1))
