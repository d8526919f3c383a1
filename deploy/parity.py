"""Does the exported network still retrieve the same things? Measured, and judged.

Retrieval here is plain: each query looks for its own positive among all the positives, by
cosine. How good the network is at it is for toolkit.evaluation to say; what counts here is
that the export is as good.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from toolkit.embedding import Embedder, Embeddings
from toolkit.errors import InputError

Precision = Literal["fp32", "fp16", "int8"]

TOP_K = 10
BLOCK_ROWS = 1024  # rows of the similarity matrix at a time: memory stays linear in N
TIE = 1e-5  # cosines closer than this are the same: which of them comes first is chance


@dataclass(frozen=True, slots=True)
class Gate:
    """What an export has to keep: the least cosine, and the greatest change of R@1 (0 to 1)."""

    cosine_min: float
    delta_recall: float


GATES: dict[Precision, Gate] = {
    "fp32": Gate(cosine_min=0.9999, delta_recall=0.002),
    "fp16": Gate(cosine_min=0.999, delta_recall=0.005),
    "int8": Gate(cosine_min=0.9, delta_recall=0.010),
}


@dataclass(frozen=True, slots=True)
class Parity:
    """How near a candidate comes to its reference over `patches` patches.

    cosine_*: of the two embeddings of one patch (p1: 1st percentile); topk_overlap: the
    share of the candidate's ten nearest that are the reference's, 0 to 1; recall: R@1 of
    the reference, 0 to 1; delta_recall: R@1 of the candidate minus that.
    """

    patches: int
    cosine_min: float
    cosine_p1: float
    cosine_mean: float
    topk_overlap: float
    recall: float
    delta_recall: float

    def passes(self, gate: Gate) -> bool:
        """Whether the export may be used; NaN never passes."""
        near = self.cosine_min >= gate.cosine_min
        return near and abs(self.delta_recall) <= gate.delta_recall

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
            "gate": {"cosine_min": gate.cosine_min, "delta_recall@1": gate.delta_recall},
            "passed": self.passes(gate),
        }


def measure_parity(
    reference: Embedder,
    candidate: Embedder,
    queries: NDArray[np.uint8],
    positives: NDArray[np.uint8],
) -> Parity:
    """Compare two embedders on pairs of patches, both uint8 RGB (N, height, width, 3).

    N is at least 1. Raises InputError.
    """
    if len(queries) == 0 or queries.shape != positives.shape:
        raise InputError(
            f"Parity needs as many queries as positives, and one pair at least; there are "
            f"{len(queries)} and {len(positives)}.",
            mend="Mine more video, so that some pairs can be held out of training.",
        )
    old = reference.embed(queries), reference.embed(positives)
    new = candidate.embed(queries), candidate.embed(positives)
    cosines = np.concatenate([_row_cosines(a, b) for a, b in zip(old, new, strict=True)])
    overlap, recall, new_recall = _compare_rankings(old, new)
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


Pairs = tuple[Embeddings, Embeddings]  # of the queries, of the positives


def _compare_rankings(old: Pairs, new: Pairs) -> tuple[float, float, float]:
    """Top-k overlap, R@1 of the old, R@1 of the new; each a mean over the queries."""
    sums = np.zeros(3)
    for rows in _blocks(len(old[0])):
        a, b = old[0][rows] @ old[1].T, new[0][rows] @ new[1].T
        own = np.arange(rows.start, rows.start + len(a))
        sums += _overlap(a, b).sum(), _found(a, own).sum(), _found(b, own).sum()
    overlap, recall, new_recall = (sums / len(old[0])).tolist()
    return overlap, recall, new_recall


def _blocks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, rows))


def _found(scores: NDArray[np.float32], own: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Per row of (B, N): whether no column beats the row's own."""
    return np.asarray(scores[np.arange(len(own)), own] >= scores.max(axis=1) - TIE)


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Per row of (B, N): the share of b's top k that is as near in a as a's k-th."""
    k = min(TOP_K, a.shape[1])
    picks = np.argpartition(-b, k - 1, axis=1)[:, :k]
    kth = -np.partition(-a, k - 1, axis=1)[:, k - 1 : k]
    return np.asarray((np.take_along_axis(a, picks, axis=1) >= kth - TIE).mean(axis=1))
