"""The thresholds, against their definitions and, many times drawn, against what they promise."""

import math

import numpy as np
import pytest

from indexes.labels.calibrate import (
    NEVER,
    LeftOut,
    accuracy_threshold,
    fewest_labels,
    stranger_p_values,
    stranger_threshold,
    wilson,
)
from indexes.labels.spread import SpreadSettings, decide
from indexes.labels.vote import VoteSettings
from indexes.labels.voting import Voting


def by_p_values(left_out, candidates, accuracy):
    """Benjamini and Hochberg's procedure, step by step: how many are selected."""
    wrong = [c for c, right in zip(left_out.confidences, left_out.right, strict=True) if not right]
    count = len(left_out.right)
    p_values = sorted(
        (1 + sum(one >= candidate for one in wrong)) / (count + 1) for candidate in candidates
    )
    passing = [
        rank
        for rank, p in enumerate(p_values, start=1)
        if p <= (1 - accuracy) * rank / len(candidates)
    ]
    return max(passing, default=0)


@pytest.mark.parametrize("seed", range(20))
def test_the_selection_is_that_of_the_procedure(seed):
    random = np.random.default_rng(seed)
    confidences = random.integers(0, 20, 60) / 20  # with ties
    left_out = LeftOut(confidences, random.random(60) < confidences**0.3)
    candidates = random.integers(0, 20, 80) / 20
    threshold = accuracy_threshold(left_out, candidates, 0.8)
    assert (candidates >= threshold).sum() == by_p_values(left_out, candidates, 0.8)


def draw(random, count):
    """Votes whose chance to be right is what they claim, more or less."""
    confidences = random.beta(2, 1, count)
    return confidences, random.random(count) < confidences**0.5


@pytest.mark.parametrize("labelled", [20, 50, 200])
@pytest.mark.parametrize("accuracy", [0.8, 0.9, 0.95])
def test_on_average_no_more_is_wrong_than_was_asked_for(labelled, accuracy):
    random = np.random.default_rng(labelled)
    wrong = []
    for _ in range(1500):
        left_out = LeftOut(*draw(random, labelled))
        candidates, right = draw(random, 300)
        chosen = candidates >= accuracy_threshold(left_out, candidates, accuracy)
        wrong.append((~right[chosen]).mean() if chosen.any() else 0.0)
    error = np.std(wrong) / math.sqrt(len(wrong))
    assert np.mean(wrong) <= 1 - accuracy + 3 * error


def test_many_good_labels_do_select():
    random = np.random.default_rng(0)
    left_out, candidates = LeftOut(*draw(random, 2000)), draw(random, 2000)[0]
    assert (candidates >= accuracy_threshold(left_out, candidates, 0.9)).mean() > 0.3


def test_labels_that_are_too_few_vouch_for_nothing():
    sure = LeftOut(np.ones(18), np.ones(18, np.bool_))
    assert accuracy_threshold(sure, np.ones(50), 0.95) == NEVER
    enough = LeftOut(np.ones(19), np.ones(19, np.bool_))
    assert accuracy_threshold(enough, np.ones(50), 0.95) == 1.0
    assert fewest_labels(0.95) == 19
    assert fewest_labels(0.5) == 1


def test_labels_that_are_always_wrong_vouch_for_nothing():
    wrong = LeftOut(np.ones(500), np.zeros(500, np.bool_))
    assert accuracy_threshold(wrong, np.ones(50), 0.5) == NEVER


def test_without_candidates_or_labels_nothing_is_selected():
    nothing = LeftOut(np.empty(0), np.empty(0, np.bool_))
    assert accuracy_threshold(nothing, np.ones(3), 0.9) == NEVER
    assert accuracy_threshold(LeftOut(np.ones(99), np.ones(99, bool)), np.empty(0), 0.9) == NEVER
    assert stranger_threshold(np.empty(0), 0.9) == NEVER


@pytest.mark.parametrize("hidden", [19, 20, 99])
def test_a_stranger_passes_no_more_often_than_promised(hidden):
    random = np.random.default_rng(hidden)
    passed = [
        random.random() > stranger_threshold(random.random(hidden), 0.95) for _ in range(20_000)
    ]
    assert np.mean(passed) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 20_000)
    assert np.mean(passed) > 0.03  # and no rarer than it must be


def test_the_p_values_are_those_of_the_definition():
    hidden, votes = np.array([0.2, 0.5, 0.5, 0.9]), np.array([0.0, 0.5, 0.6, 1.0])
    expected = [(1 + sum(one >= sure for one in hidden)) / 5 for sure in votes]
    assert stranger_p_values(hidden, votes).tolist() == expected


def test_few_hidden_things_give_their_largest_confidence():
    assert stranger_threshold(np.array([0.2, 0.9, 0.4]), 0.95) == 0.9


def test_the_interval_is_wilsons():
    # The figures of Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    for right, of, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(right, of) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def hard_vote(wrong):
    """Twelve labelled things, as sure as can be, of which the last `wrong` are voted wrong."""
    right = np.arange(12) < 12 - wrong
    left_out = LeftOut(np.full(12, 0.9), right)
    return Voting(VoteSettings(5, 0.1, stranger=0.0), left_out, np.full(12, 0.1))


def test_labels_that_were_judged_and_failed_label_nothing():
    sure, wish = np.full(50, 0.9), SpreadSettings(accuracy=0.8)
    assert decide(hard_vote(0), sure, wish).threshold <= 0.9
    failed = decide(hard_vote(6), sure, wish)
    assert (failed.threshold, failed.calibrated) == (NEVER, False)


def test_without_a_promise_the_rule_for_strangers_decides_alone():
    sure, wish = np.full(50, 0.9), SpreadSettings(accuracy=0.8, uncalibrated=True)
    untold = decide(hard_vote(12), sure, wish)
    assert not untold.calibrated
    assert 0.1 < untold.threshold < 0.9
