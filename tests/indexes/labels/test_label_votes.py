"""The vote, against loops that do it one thing and one neighbour at a time."""

import math

import numpy as np
import pytest

from indexes.labels.vote import Neighbours, VoteSettings, brier, tune, vote


def shares_of(scores, things, classes, settings):
    """The share of each class, from the definition; scores may be large, so in logarithms."""
    shares = dict.fromkeys(range(max(classes) + 1), 0.0)
    total = math.exp(settings.stranger / settings.temperature)
    for score, thing in list(zip(scores, things, strict=True))[: settings.k]:
        if thing >= 0:
            weight = math.exp(float(score) / settings.temperature)
            shares[int(classes[thing])] += weight
            total += weight
    return [shares[number] / total for number in sorted(shares)]


def some(seed, things=30, neighbours=7, labelled=12, classes=4):
    random = np.random.default_rng(seed)
    scores = -np.sort(-random.uniform(-1, 1, (things, neighbours)), axis=1).astype(np.float32)
    numbers = np.stack([random.permutation(labelled)[:neighbours] for _ in range(things)])
    owners = np.concatenate([np.arange(classes), random.integers(classes, size=labelled - classes)])
    near = Neighbours(scores, numbers.astype(np.int32))
    return near, owners.astype(np.int32), random.integers(classes, size=things).astype(np.int32)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 3, 20])
def test_the_vote_is_that_of_the_definition(seed, k):
    near, classes, _ = some(seed)
    settings = VoteSettings(k, 0.1, 0.3)
    votes = vote(near, classes, settings)
    for row in range(len(near)):
        expected = shares_of(near.scores[row], near.things[row], classes, settings)
        assert votes.classes[row] == int(np.argmax(expected))
        assert votes.confidences[row] == pytest.approx(max(expected), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_brier_score_is_that_of_the_definition(seed):
    near, classes, truth = some(seed)
    settings = VoteSettings(3, 0.2, 0.1)
    expected = np.mean(
        [
            sum(
                (share - (number == wanted)) ** 2
                for number, share in enumerate(
                    shares_of(near.scores[row], near.things[row], classes, settings)
                )
            )
            for row, wanted in enumerate(truth)
        ]
    )
    assert brier(near, truth, classes, settings) == pytest.approx(expected, rel=1e-6)


def test_a_table_of_shares_in_parts_gives_the_same(monkeypatch):
    near, classes, truth = some(1, things=50)
    settings = VoteSettings(5, 0.05, 0.0)
    whole, score = vote(near, classes, settings), brier(near, truth, classes, settings)
    monkeypatch.setattr("indexes.labels.vote._AT_ONCE", 12)  # three rows of four classes
    parts = vote(near, classes, settings)
    np.testing.assert_array_equal(parts.classes, whole.classes)
    np.testing.assert_array_equal(parts.confidences, whole.confidences)
    assert brier(near, truth, classes, settings) == pytest.approx(score)


def test_nothing_overflows_at_a_tiny_temperature():
    near = Neighbours(np.array([[1.0, -1.0]], np.float32), np.array([[1, 0]], np.int32))
    votes = vote(near, np.array([0, 1], np.int32), VoteSettings(2, 1e-5, -1.0))
    assert (votes.classes[0], votes.confidences[0]) == (1, 1.0)


def test_what_is_far_from_everything_is_sure_of_nothing():
    near = Neighbours(np.array([[0.3, 0.1]], np.float32), np.array([[1, 0]], np.int32))
    classes = np.array([0, 1], np.int32)
    assert vote(near, classes, VoteSettings(2, 0.04, 0.8)).confidences[0] < 1e-4
    assert vote(near, classes, VoteSettings(2, 0.04, -1.0)).confidences[0] > 0.99


def test_without_things_there_are_no_votes():
    near = Neighbours(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32))
    votes = vote(near, np.array([0, 1], np.int32), VoteSettings(3, 0.1, 0.0))
    assert len(votes.classes) == len(votes.confidences) == 0


def test_a_thing_without_neighbours_has_confidence_zero():
    near = Neighbours(np.full((1, 2), -np.inf, np.float32), np.full((1, 2), -1, np.int32))
    votes = vote(near, np.array([0, 1], np.int32), VoteSettings(2, 0.1, 0.0))
    assert (votes.classes[0], votes.confidences[0]) == (0, 0.0)


def test_tuning_takes_the_least_brier_score_of_the_grid():
    near, classes, truth = some(3, things=60, neighbours=12)
    start = VoteSettings(10, 0.04, 0.2)
    chosen = tune(near, truth, classes, start)
    scores = {
        (k, temperature): brier(near, truth, classes, VoteSettings(k, temperature, 0.2))
        for k in (1, 2, 3, 5, 10, 20)
        for temperature in (0.01, 0.02, 0.04, 0.07, 0.1, 0.2)
    }
    assert scores[chosen.k, chosen.temperature] == min(scores.values())
    assert chosen.stranger == 0.2


def test_with_nothing_to_learn_from_the_settings_stay():
    start = VoteSettings(10, 0.04, 0.2)
    near = Neighbours(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32))
    assert tune(near, np.empty(0, np.int32), np.array([0, 1], np.int32), start) == start
