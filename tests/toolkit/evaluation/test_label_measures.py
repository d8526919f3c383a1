"""The k-NN vote, the linear probe and their intervals, against what a reader can check."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.errors import UsageError
from toolkit.evaluation.intervals import accuracy_of, class_mean
from toolkit.evaluation.knn import KnnSettings, knn_classes
from toolkit.evaluation.probe import STRENGTHS, UNCHOSEN, _folds, choose_strength, fit_probe

Rows = NDArray[np.float32]


def unit(rows: NDArray[np.float64]) -> Rows:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clusters(
    classes: int, each: int, spread: float, seed: int = 0
) -> tuple[Rows, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    return unit(np.eye(classes, 16)[labels] + spread * rng.normal(size=(len(labels), 16))), labels


def vote(query: Rows, known: Rows, labels: NDArray[np.int64], settings: KnnSettings) -> int:
    """One query, one neighbour at a time."""
    order = sorted(range(len(known)), key=lambda row: -float(query @ known[row]))
    votes: dict[int, float] = {}
    for row in order[: settings.neighbors]:
        weight = math.exp(float(query @ known[row]) / settings.temperature)
        votes[int(labels[row])] = votes.get(int(labels[row]), 0.0) + weight
    return max(votes, key=lambda label: (votes[label], -label))


@pytest.mark.parametrize("neighbors", [1, 5, 20, 500], ids=lambda n: f"{n} neighbours")
@pytest.mark.parametrize("temperature", [0.01, 0.07, 10.0], ids=str)
def test_knn_is_the_plain_loop(neighbors: int, temperature: float) -> None:
    rng = np.random.default_rng(5)
    known, queries = unit(rng.normal(size=(60, 8))), unit(rng.normal(size=(40, 8)))
    labels = rng.integers(0, 7, 60)
    settings = KnnSettings(neighbors, temperature)
    wanted = [vote(query, known, labels, settings) for query in queries]
    assert knn_classes(queries, known, labels, 7, settings).tolist() == wanted


def test_knn_of_no_queries_and_of_one_label() -> None:
    one = np.ones((1, 4), np.float32) / 2
    assert knn_classes(one[:0], one, np.array([0]), 1).shape == (0,)
    assert knn_classes(one, one, np.array([3]), 4).tolist() == [3]


@pytest.mark.parametrize("wrong", [(0, 0.07), (5, 0.0), (5, math.nan)], ids=str)
def test_knn_settings_that_cannot_be(wrong: tuple[int, float]) -> None:
    with pytest.raises(UsageError, match="cannot vote"):
        KnnSettings(*wrong)


# scikit-learn 1.8, LogisticRegression(C, tol=1e-10) on the float64 of `scattered`.
SKLEARN = {
    1.0: (
        [
            [1.30881, -0.85781, -0.28015, -0.09829],
            [-0.68454, 1.55088, -0.85252, 0.03875],
            [-0.62427, -0.69307, 1.13267, 0.05954],
        ],
        [-0.06367, -0.03202, 0.09569],
    ),
    100.0: (
        [
            [1.87304, -1.37151, -0.24056, -0.12541],
            [-0.99225, 2.44497, -1.29741, 0.00673],
            [-0.88079, -1.07346, 1.53796, 0.11868],
        ],
        [-0.09386, -0.17149, 0.26535],
    ),
}


def scattered() -> tuple[Rows, NDArray[np.int64]]:
    rng = np.random.default_rng(11)
    rows, labels = rng.normal(size=(60, 4)), np.repeat([0, 1, 2], 20)
    rows[np.arange(60), labels] += 1.5
    return unit(rows), labels


@pytest.mark.parametrize("strength", SKLEARN)
def test_the_probe_is_that_of_scikit_learn(strength: float) -> None:
    probe = fit_probe(*scattered(), 3, strength)
    weights, biases = SKLEARN[strength]
    assert np.abs(probe.weights - weights).max() < 1e-3
    assert np.abs(probe.biases - probe.biases.mean() - biases).max() < 1e-3  # free but for a shift


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_slope_of_the_loss_is_nought_at_the_probe(strength: float) -> None:
    features, labels = clusters(5, 30, 0.4)
    probe = fit_probe(features, labels, 5, strength)
    scores = features.astype(np.float64) @ probe.weights.T + probe.biases
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    error = (shares - np.eye(5)[labels]) / len(labels)
    slope = error.T @ features + probe.weights / (strength * len(labels))
    assert np.abs(slope).max() < 1e-4
    assert np.abs(error.sum(0)).max() < 1e-4


def test_classes_that_can_be_parted_are_parted() -> None:
    features, labels = clusters(6, 20, 0.05)
    assert (fit_probe(features, labels, 6).classes(features) == labels).all()
    others, wanted = clusters(6, 20, 0.05, seed=1)
    assert (fit_probe(features, labels, 6).classes(others) == wanted).all()


def test_shuffled_labels_are_worth_no_more_than_chance() -> None:
    features, labels = clusters(4, 100, 0.05)
    shuffled = np.random.default_rng(0).permutation(labels)
    others, wanted = clusters(4, 250, 0.05, seed=1)
    right = (fit_probe(features, shuffled, 4).classes(others) == wanted).mean()
    found = (knn_classes(others, features, shuffled, 4) == wanted).mean()
    # Whole clusters are named alike, so few of the answers are independent.
    assert right <= 0.5
    assert found <= 0.5


def test_one_label_of_each_class_leaves_nothing_to_choose_by() -> None:
    features, labels = clusters(5, 1, 0.1)
    assert choose_strength(features, labels, 5, np.arange(5)) == UNCHOSEN
    assert (fit_probe(features, labels, 5).classes(features) == labels).all()


def test_the_strength_is_that_of_most_right_answers() -> None:
    """Where noise drowns the classes a strong penalty wins; where they are clear, a weak one."""
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 3
    noisy = unit(rng.normal(size=(240, 60)) + 0.35 * np.eye(3, 60)[labels])
    assert choose_strength(noisy, labels, 3, np.arange(240)) < 100
    fine = rng.normal(size=(240, 2))
    angles = (np.arctan2(fine[:, 1], fine[:, 0]) // 0.35).astype(np.int64)
    sectors = angles - angles.min()
    assert choose_strength(unit(fine), sectors, sectors.max() + 1, np.arange(240)) >= 100


def test_copies_do_not_vouch_for_each_other() -> None:
    """A group lies in one fold, and a class has as many groups in each fold, but for one."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 80, 400)
    labels = rng.integers(0, 4, 80)[groups]
    folds = _folds(labels, groups)
    assert all(len(set(folds[groups == group].tolist())) == 1 for group in range(80))
    for label in range(4):
        times = [len(set(groups[(labels == label) & (folds == fold)])) for fold in range(3)]
        assert sum(times) == len(set(groups[labels == label].tolist()))
        assert max(times) - min(times) <= 1
    assert not _folds(np.zeros(5, np.int64), np.full(5, 7)).any()


def test_threads_are_as_before() -> None:
    import torch

    before = torch.get_num_threads()
    fit_probe(*clusters(3, 5, 0.1), 3, 1.0)
    assert torch.get_num_threads() == before


def test_the_interval_is_that_of_a_binomial() -> None:
    right = np.random.default_rng(0).random(400) < 0.8
    found = accuracy_of(right[None], np.arange(400))
    error = math.sqrt(found.value * (1 - found.value) / 400)
    assert found.value == pytest.approx(right.mean())
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.01)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.01)


def test_pictures_of_one_group_are_one_piece_of_evidence() -> None:
    right = np.repeat(np.random.default_rng(0).random(40) < 0.7, 10)
    apart = accuracy_of(right[None], np.arange(400))
    together = accuracy_of(right[None], np.repeat(np.arange(40), 10))
    assert together.high - together.low > 2.5 * (apart.high - apart.low)


def test_draws_that_differ_widen_the_interval() -> None:
    draws = np.stack([np.arange(400) % 10 < hits for hits in (3, 5, 7, 9)])
    alike = np.stack([np.arange(400) % 10 < 6] * 4)
    wide, narrow = (accuracy_of(right, np.arange(400)) for right in (draws, alike))
    assert wide.value == narrow.value == pytest.approx(0.6)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


@pytest.mark.parametrize("answer", [False, True])
@pytest.mark.parametrize("count", [1, 10, 100])
def test_without_a_mistake_the_interval_is_wilsons(answer: bool, count: int) -> None:
    """Wilson 1927: the shares that a share of 1 lies within 1.96 standard errors of."""
    found = accuracy_of(np.full((1, count), answer), np.arange(count))
    least = count / (count + 1.96**2)
    ends = (least, 1.0) if answer else (0.0, 1 - least)
    wanted = (float(answer), *ends)
    assert (found.value, found.low, found.high) == pytest.approx(wanted, abs=1e-6)


def test_copies_add_nothing_where_all_is_right() -> None:
    once = accuracy_of(np.ones((1, 12), np.bool_), np.arange(12))
    copied = accuracy_of(np.ones((5, 60), np.bool_), np.repeat(np.arange(12), 5))
    assert (once.low, once.high) == pytest.approx((copied.low, copied.high))


def test_one_group_says_as_little_as_one_picture() -> None:
    found = accuracy_of(np.array([[True, True, False, True]]), np.zeros(4, np.int64))
    assert found.value == 0.75
    assert found.high - found.low > 0.8


# How hard the pictures are, how many groups of how many pictures, how many draws of the labels.
# The old fault of all: an interval without width, 25 % of which held the truth.
TRIALS = [(0.7, 40, 1, 1), (0.97, 10, 1, 1), (0.97, 60, 1, 1), (0.8, 40, 8, 1), (0.8, 60, 1, 5)]


@pytest.mark.parametrize(("mean", "groups", "each", "draws"), TRIALS)
def test_the_interval_holds_the_truth_as_often_as_it_says(
    mean: float, groups: int, each: int, draws: int
) -> None:
    """Groups of pictures, and draws of labels, that are better or worse as a whole."""
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(600):
        of_group = rng.beta(4 * mean, 4 * (1 - mean), groups).repeat(each)
        of_draw = rng.uniform(0.7, 1.0, draws)[:, None] if draws > 1 else 1.0
        right = rng.random((draws, groups * each)) < of_group * of_draw
        found = accuracy_of(right, np.arange(groups).repeat(each))
        held += found.low <= mean * (0.85 if draws > 1 else 1.0) <= found.high
    assert held / 600 >= 0.925


def test_the_mean_over_classes_counts_small_ones_as_much() -> None:
    labels = np.array([0] * 90 + [4] * 10)
    right = labels == 0
    assert class_mean(right[None], labels) == pytest.approx(0.5)
    assert class_mean(np.stack([right, ~right]), labels) == pytest.approx(0.5)
