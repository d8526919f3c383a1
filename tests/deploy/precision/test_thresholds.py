"""The cuts against loops and against the numbers themselves."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.precision.thresholds import (
    BINS,
    METHODS,
    Histogram,
    entropy,
    percentile,
    whole_range,
)


def histogram(numbers: NDArray[np.float64]) -> Histogram:
    peak = float(np.abs(numbers).max())
    counts, _ = np.histogram(np.abs(numbers), BINS, (0, peak))
    return Histogram(counts.astype(np.int64), peak)


def naive_entropy(counts: list[int], peak: float) -> float:
    """The loops of Migacz's slides, with the bins that hold something shared out evenly."""
    counts = [0, *counts[1:]]
    best, found = math.inf, 0
    for cut in range(128, len(counts) + 1, 16):
        reference = counts[:cut]
        reference[-1] += sum(counts[cut:])
        levels: list[list[int]] = [[] for _ in range(128)]
        for place in range(cut):
            levels[place * 128 // cut].append(place)
        candidate = [0.0] * cut
        for level in levels:
            filled = [place for place in level if counts[place]]
            for place in filled:
                candidate[place] = sum(counts[p] for p in level) / len(filled)
        if sum(candidate) == 0 or any(
            r and not c for r, c in zip(reference, candidate, strict=True)
        ):
            continue
        p, q = sum(reference), sum(candidate)
        loss = sum(
            r / p * math.log((r / p) / (c / q))
            for r, c in zip(reference, candidate, strict=True)
            if r
        )
        if loss < best - 1e-12:
            best, found = loss, cut
    return peak * found / len(counts)


@pytest.mark.parametrize("shape", ["normal", "exponential", "outlier", "few"])
def test_entropy_is_its_definition(shape: str) -> None:
    random = np.random.default_rng(2)
    numbers = {
        "normal": random.normal(0, 1, 4000),
        "exponential": random.exponential(1, 4000),
        "outlier": np.append(random.normal(0, 1, 4000), 60.0),
        "few": np.array([0.1, 0.5, 1.0]),
    }[shape]
    made = histogram(numbers)
    assert entropy(made) == pytest.approx(naive_entropy(made.counts.tolist(), made.peak))


def test_entropy_cuts_off_one_number_far_out() -> None:
    numbers = np.append(np.random.default_rng(3).normal(0, 1, 100_000), 50.0)
    assert 2.5 < entropy(histogram(numbers)) < 10


@pytest.mark.parametrize("percent", [50, 99.9, 99.99])
def test_percentile_is_that_of_the_numbers(percent: float) -> None:
    numbers = np.random.default_rng(4).exponential(1, 50_000)
    made = histogram(numbers)
    wanted = np.percentile(numbers, percent)
    assert wanted <= percentile(made, percent) * (1 + 1e-9) + 1e-9
    assert percentile(made, percent) <= wanted + 2 * made.peak / BINS + np.diff(
        np.sort(numbers)[-20:]
    ).max(initial=0)


def test_all_of_the_numbers_are_the_whole_range() -> None:
    made = histogram(np.array([0.25, -3.0, 1.0]))
    assert whole_range(made) == percentile(made, 100) == 3.0


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("counts", ["empty", "zeros", "one number"])
def test_a_histogram_of_next_to_nothing(method: str, counts: str) -> None:
    bins = np.zeros(BINS, np.int64)
    peak = 0.0
    if counts == "zeros":
        bins[0] = 1000
    if counts == "one number":
        bins[-1], peak = 1, 2.0
    assert METHODS[method](Histogram(bins, peak)) == peak


@pytest.mark.parametrize("peak", [math.nan, math.inf, -1.0])
def test_a_histogram_that_is_none_is_refused(peak: float) -> None:
    with pytest.raises(ValueError, match="no histogram"):
        Histogram(np.zeros(BINS, np.int64), peak)
