"""Where to cut the range of a value before 8 bits are shared out over it.

A wide range wastes steps on numbers that hardly come; a narrow one cuts off those that matter.
Every method here takes a histogram of absolute numbers and gives the greatest that is kept.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

BINS = 2048
_LEVELS = 128  # steps of a signed 8-bit number on one side
_STRIDE = 16  # bins between two candidates for the cut


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of absolute numbers in equal bins from 0 to `peak`, int64 (BINS,)."""

    counts: NDArray[np.int64]
    peak: float

    def __post_init__(self) -> None:
        if self.counts.shape != (BINS,) or not np.isfinite(self.peak) or self.peak < 0:
            raise ValueError(f"no histogram: {self.counts.shape} bins up to {self.peak}")


def whole_range(histogram: Histogram) -> float:
    """The greatest number that was seen."""
    return histogram.peak


def percentile(histogram: Histogram, percent: float) -> float:
    """The end of the first bin with which `percent` of the numbers are kept."""
    total = histogram.counts.sum()
    if total == 0:
        return histogram.peak
    reached = np.searchsorted(histogram.counts.cumsum(), total * percent / 100)
    return histogram.peak * (int(min(reached, BINS - 1)) + 1) / BINS


def entropy(histogram: Histogram) -> float:
    """The cut after which 128 levels tell most of what the numbers told.

    The divergence of Kullback and Leibler between the histogram, its tail laid on its last
    bin, and what is left of it in 128 levels. Zeros are left out: quantisation keeps them as
    they are. Source: S. Migacz, "8-bit inference with TensorRT", GTC 2017.
    """
    counts = histogram.counts.astype(np.float64)
    counts[0] = 0
    if not counts.any():
        return histogram.peak
    cuts = range(_LEVELS, BINS + 1, _STRIDE)
    losses = [_divergence(counts, cut) for cut in cuts]
    return histogram.peak * cuts[int(np.argmin(losses))] / BINS


def _divergence(counts: NDArray[np.float64], cut: int) -> float:
    """Of the first `cut` bins, the rest laid on the last of them; infinite where one is lost."""
    kept = counts[:cut]
    told = kept.copy()
    told[-1] += counts[cut:].sum()
    level = np.arange(cut) * _LEVELS // cut
    there = kept > 0
    sums = np.bincount(level, kept, _LEVELS)
    filled = np.bincount(level, there, _LEVELS)
    spread = np.where(there, sums[level] / np.maximum(filled, 1)[level], 0)
    if not spread.any() or bool(((told > 0) & (spread == 0)).any()):
        return float("inf")
    p, q = told / told.sum(), spread / spread.sum()
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / q[seen])).sum())


METHODS: Mapping[str, Callable[[Histogram], float]] = {
    "entropy": entropy,
    "percentile 99.99": partial(percentile, percent=99.99),
    "percentile 99.999": partial(percentile, percent=99.999),
    "whole range": whole_range,
}
