"""The estimated share of false pairs: against a known share, loops and closed forms."""

import math
from dataclasses import replace

import numpy as np
import pytest

from toolkit.mining.audit.false_rate import FIRST, _interval, estimate_false_rate
from toolkit.mining.audit.looks import likeness, look
from toolkit.records import Box


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.2, 0.5, 1.0])
def test_the_estimate_is_near_the_truth(things, share, gray):
    maker = things(round(100 * share))
    found = estimate_false_rate(maker.spoil(maker.pairs(30, 10, gray=gray), share))
    assert abs(found.rate - share) < 0.06
    assert found.low - 0.02 <= share <= found.high + 0.02
    assert (found.pairs, found.tracks) == (300, 30)


def test_suspects_are_the_false_pairs(things):
    maker = things(3)
    pairs = maker.pairs(30, 10)
    spoiled = maker.spoil(pairs, 0.1)
    false = {a.pair.key for a, b in zip(pairs, spoiled, strict=True) if a is not b}
    found = estimate_false_rate(spoiled)
    suspects = dict(found.suspects)
    assert len(false) == 30
    assert set(suspects) <= false
    assert len(suspects) > 15  # the others rank among the first by chance
    assert list(suspects.values()) == sorted(suspects.values(), reverse=True)
    assert all(FIRST < rank <= 1 for rank in suspects.values())


def test_the_same_pairs_give_the_same_numbers(things):
    assert estimate_false_rate(things(5).pairs(14, 4)) == estimate_false_rate(
        things(5).pairs(14, 4)
    )


def test_no_pairs_and_one_pair_tell_nothing(things):
    assert estimate_false_rate([]).rate is None
    one = estimate_false_rate(things().pairs(1, 1))
    assert (one.rate, one.low, one.high, one.pairs, one.tracks) == (None, None, None, 0, 0)


@pytest.mark.parametrize(("tracks", "each"), [(11, 20), (14, 2)])
def test_too_few_tracks_or_pairs_are_too_few_to_tell(things, tracks, each):
    found = estimate_false_rate(things().pairs(tracks, each))
    assert found.rate is None
    assert (found.pairs, found.tracks) == (tracks * each, tracks)


def test_things_alone_in_their_video_cannot_be_judged(things):
    maker = things()
    pairs = [p for n in range(40) for p in maker.pairs(1, 3, video=chr(97 + n))]
    found = estimate_false_rate(pairs)
    assert (found.rate, found.pairs) == (None, 0)


def test_surroundings_do_not_count(things):
    # The same thing before two grounds, and two things before one.
    maker, box = things(), Box(0, 0, 20, 40)
    ground = np.zeros((48, 48, 3), np.uint8)
    red, blue = (np.uint8([[200, 30, 30]]), np.uint8([[30, 30, 200]]))
    patches = [ground + color for color in (red, blue)]
    for patch in patches:
        patch[:, 12:36] = maker.patch(np.full((3, 3), 90.0))
    same, other = (look(patch, box)[None] for patch in patches)
    patches[0][:, 12:36] = maker.patch(np.full((3, 3), 200.0))
    third = look(patches[0], box)[None]
    assert likeness(same, other)[0, 0] > 10 * likeness(same, third)[0, 0]


def test_likeness_is_its_definition(things):
    maker = things(1)
    looks = np.stack([look(p.query, p.pair.query.box) for p in maker.pairs(4, 1)])
    assert looks.shape == (4, 9, 16)
    expected = [
        [
            sum(
                math.log(min(1, max(1e-3, sum(float(x * y) for x, y in zip(p, q, strict=True)))))
                for p, q in zip(a, b, strict=True)
            )
            / 9
            for b in looks
        ]
        for a in looks
    ]
    np.testing.assert_allclose(likeness(looks, looks), expected, atol=1e-12)
    np.testing.assert_allclose(np.diag(expected), 0, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (2, 90), (90, 2), (256, 256)])
def test_a_patch_of_any_size_has_a_look(shape):
    found = look(np.full((*shape, 3), 77, np.uint8), Box(0, 0, shape[1], shape[0]))
    np.testing.assert_allclose((found**2).sum(1), 1)


def clopper_pearson(events, count):
    """The interval by bisection on the binomial distribution."""

    def at_most(k, p):
        return sum(math.comb(count, i) * p**i * (1 - p) ** (count - i) for i in range(k + 1))

    def solve(k, tail):
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if at_most(k, middle) > tail else (low, middle)
        return low

    return (solve(events - 1, 0.975) if events else 0.0), solve(events, 0.025)


@pytest.mark.parametrize(("events", "count"), [(0, 20), (0, 60), (3, 40), (10, 40)])
def test_with_a_pair_a_track_the_interval_is_that_of_clopper_and_pearson(events, count):
    behind = np.arange(count) < events
    low, high = _interval(behind, np.ones(count), np.arange(count))
    np.testing.assert_allclose((low, high), clopper_pearson(events, count), atol=0.02)


def test_pairs_that_err_together_widen_the_interval():
    behind = np.arange(200) < 20
    spread = _interval(behind, np.ones(200), np.arange(200) % 20)
    together = _interval(behind, np.ones(200), np.arange(200) // 10)
    assert together[1] - together[0] > 1.5 * (spread[1] - spread[0])


def test_another_light_makes_no_decoy(things):
    # By day and by night: only pairs of one's own time are compared.
    maker = things(8)
    day = maker.spoil(maker.pairs(40, 8), 0.3)
    night = [
        replace(
            seen,
            pair=replace(
                seen.pair, key=f"n{seen.pair.key}", track=f"n{seen.pair.track}",
                query=replace(seen.pair.query, time_s=seen.pair.query.time_s + 40000),
                positive=replace(seen.pair.positive, time_s=seen.pair.positive.time_s + 40000),
            ),
            query=seen.query // 6,
            positive=seen.positive // 6,
        )
        for seen in maker.spoil(maker.pairs(40, 8), 0.3)
    ]  # fmt: skip
    assert abs(estimate_false_rate(day + night).rate - 0.3) < 0.1
