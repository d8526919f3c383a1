"""A graph in int8: ranges from the user's own patches, by the method that keeps retrieval best."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy.precision.calibration import Calibration, check_enough
from deploy.precision.graph import GraphView
from deploy.precision.qdq import QuantizationPlan, insert_qdq, plan_int8, pool_first
from deploy.precision.ranges import Probe, Progress, measure_histograms
from deploy.precision.thresholds import METHODS, Histogram
from toolkit.errors import MismatchError

if TYPE_CHECKING:
    from onnx import ModelProto

_JUDGE_EVERY = 4  # each fourth patch is kept from the ranges, to judge the methods on
_NEAREST = 10


@dataclass(frozen=True, slots=True)
class Score:
    """How near 8 bits come to float32.

    cosine_*: of the two embeddings of one patch, -1 to 1; topk_overlap: the share of its ten
    nearest patches that are the same, 0 to 1.
    """

    cosine_min: float
    cosine_mean: float
    topk_overlap: float

    def as_json(self) -> dict[str, float]:
        """As it stands in model.json."""
        return {
            "cosine_min": self.cosine_min,
            "cosine_mean": self.cosine_mean,
            "topk_overlap": self.topk_overlap,
        }


def to_int8(
    model: "ModelProto", calibration: Calibration, progress: Progress | None = None
) -> "tuple[ModelProto, dict[str, Any]]":
    """The model with its layers in int8, and how that came about.

    model: in float32, with its shapes inferred. Three quarters of the patches give the
    ranges; on the others the methods are compared. Raises InputError where the patches are too
    few or the network's own numbers are not finite, MismatchError where it has no layer
    that could run in int8.
    """
    check_enough(len(calibration.images))
    model = pool_first(model)
    plan = plan_int8(model)
    if not plan.layers:
        raise MismatchError("The network has no layer that could run in int8.")
    for_judging = np.arange(len(calibration.images)) % _JUDGE_EVERY == _JUDGE_EVERY - 1
    histograms = measure_histograms(
        model, plan.measured, calibration.images[~for_judging], progress
    )
    judged = calibration.images[for_judging]
    scores, best = _compare(model, plan, histograms, judged)
    made = insert_qdq(model, plan, _peaks(histograms, best))
    return made, _describe(model, plan, calibration, scores, best)


def _compare(
    model: "ModelProto",
    plan: QuantizationPlan,
    histograms: Mapping[str, Histogram],
    images: NDArray[np.uint8],
) -> tuple[dict[str, Score], str]:
    """The score of each method, and the name of the best."""
    wanted = Probe(model).embed(images)
    scores = {}
    for method in METHODS:
        candidate = insert_qdq(model, plan, _peaks(histograms, method))
        scores[method] = compare_embeddings(wanted, Probe(candidate).embed(images))
    return scores, max(scores, key=lambda method: _rank(scores[method]))


def _rank(score: Score) -> tuple[float, float]:
    """What is higher for the better: what is found counts first, but for chance."""
    return round(score.topk_overlap, 2), score.cosine_mean


def _peaks(histograms: Mapping[str, Histogram], method: str) -> dict[str, float]:
    return {value: METHODS[method](histogram) for value, histogram in histograms.items()}


def compare_embeddings(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> Score:
    """Two sets of embeddings (N, dim) of the same N patches, N at least 2."""
    cosines = (wanted.astype(np.float64) * found).sum(axis=1)
    k = min(_NEAREST, len(wanted) - 1)
    old, new = (_nearest(rows, k) for rows in (wanted, found))
    shared = [len(np.intersect1d(a, b)) / k for a, b in zip(old, new, strict=True)]
    return Score(float(cosines.min()), float(cosines.mean()), float(np.mean(shared)))


def _nearest(embeddings: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """The k nearest others of each row, (N, k)."""
    scores = embeddings @ embeddings.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def _describe(
    model: "ModelProto",
    plan: QuantizationPlan,
    calibration: Calibration,
    scores: Mapping[str, Score],
    best: str,
) -> dict[str, Any]:
    view = GraphView.of(model)
    return {
        "method": best,
        "candidates": {name: score.as_json() for name, score in scores.items()},
        "calibration": {"sha256": calibration.sha256, "patches": len(calibration.images)},
        "int8": [view.nodes[i].name or view.nodes[i].output[0] for i in sorted(plan.layers)],
    }
