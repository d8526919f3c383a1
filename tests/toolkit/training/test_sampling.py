"""Which patches a step sees: against sets and counts made by hand."""

import zlib
from collections import Counter, defaultdict

import numpy as np
import pytest

from toolkit.errors import InputError
from toolkit.patches.relations import TrackSpans, different
from toolkit.records import Box, PatchPair, Sighting, TrackQuality
from toolkit.training.sampling import BatchPlan
from toolkit.training.settings import TrainSettings


def pair(number, track, times=(0.0, 1.0), camera="c", place=0.0):
    boxes = [Box(place + 3 * t, 0, place + 3 * t + 20, 40) for t in times]
    return PatchPair(
        f"k{number}", camera * 64, f"{camera}.mp4", camera, f"{camera}-{track}",
        Sighting(times[0], boxes[0]), Sighting(times[1], boxes[1]), TrackQuality(1, 0, 1),
        *(zlib.crc32(f"{number} {end}".encode()) * 0x9E3779B97F4A7C15 % 2**64 for end in "qp"),
    )  # fmt: skip


def pairs_of_tracks(sizes, camera="c"):
    """Tracks with so many pairs each; a track's pairs follow each other, sharing patches."""
    return [
        pair(f"{camera}{track}-{i}", track, (10.0 * track + i, 10.0 * track + i + 1), camera)
        for track, size in enumerate(sizes)
        for i in range(size)
    ]


def plan_of(pairs, batch_pairs=8, **changes):
    return BatchPlan(pairs, TrainSettings(batch_pairs=batch_pairs, **changes))


def time_of(pairs, patch):
    return (pairs[patch // 2].positive if patch % 2 else pairs[patch // 2].query).time_s


def drawn(pairs, steps=300, **changes):
    """(pair, patch) as often as the patch came as the positive of the pair."""
    plan = plan_of(pairs, **changes)
    found = Counter()
    for step in range(steps):
        found.update((anchor // 2, positive) for anchor, positive in plan.picks_of(step).tolist())
    return found


@pytest.mark.parametrize(("count", "batch"), [(20, 4), (22, 4)])
def test_no_pair_comes_twice_an_epoch(count, batch):
    plan = plan_of(pairs_of_tracks([1] * count), batch, seed=1)
    left_out = set()
    for epoch in range(12):
        seen = np.concatenate([plan.pairs_of(epoch * 5 + step) for step in range(5)])
        assert len(set(seen.tolist())) == 20
        left_out |= set(range(count)) - set(seen.tolist())
    assert len(left_out) == (0 if count == 20 else pytest.approx(22, abs=16))


def test_fewer_pairs_than_a_batch_make_a_smaller_batch():
    plan = plan_of(pairs_of_tracks([1, 1, 1]), 64)
    assert sorted(plan.pairs_of(7).tolist()) == [0, 1, 2]
    assert plan.batch_pairs == 3


def test_the_order_is_one_permutation_an_epoch_from_the_seed():
    plan = plan_of(pairs_of_tracks([2] * 10), 5, seed=3)
    for epoch in (0, 4):
        expected = np.random.default_rng((3, epoch)).permutation(20)
        found = np.concatenate([plan.pairs_of(4 * epoch + step) for step in range(4)])
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"positives": "track"},
        {"positives": "augmentation", "pairs_per_track": 2},
        {"cameras": "one", "positives": "track", "pairs_per_track": 2},
    ],
    ids=["pair", "track", "augmentation", "one camera"],
)
def test_a_step_is_the_same_whatever_was_asked_before(changes):
    pairs = pairs_of_tracks([3, 4, 2, 5], "a") + pairs_of_tracks([6, 1, 2], "b")
    plan = plan_of(pairs, 4, seed=2, **changes)
    forward = [plan.picks_of(step) for step in range(40)]
    for step in (39, 0, 17, 18, 5):
        np.testing.assert_array_equal(plan.picks_of(step), forward[step])
        np.testing.assert_array_equal(
            plan_of(pairs, 4, seed=2, **changes).picks_of(step), forward[step]
        )
    other = plan_of(pairs, 4, seed=3, **changes)
    assert any(not np.array_equal(other.picks_of(step), forward[step]) for step in range(4))


def test_pair_shows_the_mined_positive_and_augmentation_the_query_twice():
    pairs = pairs_of_tracks([3, 4])
    assert set(drawn(pairs, 20, batch_pairs=7)) == {(i, 2 * i + 1) for i in range(7)}
    assert set(drawn(pairs, 20, batch_pairs=7, positives="augmentation")) == {
        (i, 2 * i) for i in range(7)
    }


def test_track_draws_every_other_moment_of_the_track_as_often():
    # Track 0 has the moments 0..4: 5 pairs would share 3 of them; track 1 has two.
    pairs = [*pairs_of_tracks([4, 1]), pair("far", 0, (0.0, 7.0))]
    steps = 3000
    found = drawn(pairs, steps, batch_pairs=6, positives="track")
    moments = defaultdict(Counter)
    for (number, patch), times in found.items():
        assert pairs[patch // 2].track == pairs[number].track
        moments[number][time_of(pairs, patch)] += times
    every = {"c-0": [0.0, 1.0, 2.0, 3.0, 4.0, 7.0], "c-1": [10.0, 11.0]}
    for number, counts in moments.items():
        others = set(every[pairs[number].track]) - {pairs[number].query.time_s}
        assert set(counts) == others
        for count in counts.values():
            assert count == pytest.approx(steps / len(others), rel=0.2)


def test_a_moment_that_two_pairs_share_is_one_patch():
    pairs = pairs_of_tracks([4, 1])
    shown = {patch for _, patch in drawn(pairs, 500, batch_pairs=5, positives="track")}
    times = Counter(time_of(pairs, patch) for patch in shown)
    assert set(times.values()) == {1}


def test_a_track_of_one_moment_gives_its_own_positive():
    pairs = [pair(0, 0, (1.0, 1.0)), pair(1, 1, (2.0, 3.0))]
    found = drawn(pairs, 20, batch_pairs=2, positives="track")
    assert set(found) == {(0, 1), (1, 3)}


def test_pairs_of_a_track_come_together_and_an_epoch_shows_all_of_them():
    sizes = [9, 1, 4, 3, 6, 2, 7]
    pairs = pairs_of_tracks(sizes)
    plan = plan_of(pairs, 8, seed=5, pairs_per_track=3)
    for epoch in range(5):
        order = np.concatenate([plan.pairs_of(4 * epoch + step) for step in range(4)])
        assert sorted(order.tolist()) == list(range(32))
        tracks = [pairs[i].track for i in order]
        groups = Counter()
        for track, (begin, end) in _runs(tracks):
            groups[track] += -(-(end - begin) // 3)  # groups of one track may meet
        for track, size in enumerate(sizes):
            assert groups[f"c-{track}"] == -(-size // 3)


def _runs(values):
    edges = [i for i in range(len(values)) if i == 0 or values[i] != values[i - 1]]
    for begin, end in zip(edges, [*edges[1:], len(values)], strict=True):
        yield values[begin], (begin, end)


def test_one_pair_a_track_at_a_time_is_the_plain_order():
    pairs = pairs_of_tracks([3] * 8)
    plain, alone = plan_of(pairs, 6), plan_of(pairs, 6, pairs_per_track=1)
    assert all(np.array_equal(plain.pairs_of(s), alone.pairs_of(s)) for s in range(8))


def test_a_batch_shows_one_camera_and_each_takes_its_share_of_turns():
    pairs = pairs_of_tracks([2] * 30, "a") + pairs_of_tracks([2] * 9, "b")
    pairs += pairs_of_tracks([1] * 2, "d")
    plan = plan_of(pairs, 6, cameras="one", seed=1)
    turns, seen = Counter(), Counter()
    steps = 800
    for step in range(steps):
        chosen = plan.pairs_of(step).tolist()
        assert len(chosen) == 6
        (camera,) = {pairs[i].camera for i in chosen}
        assert len({pairs[i].track for i in chosen}) > 1
        turns[camera] += 1
        seen.update(chosen)
    for camera, share in {"a": 60 / 80, "b": 18 / 80, "d": 2 / 80}.items():
        assert turns[camera] == pytest.approx(steps * share, abs=3)
    # Every pair as often as every other, whatever camera it is from.
    assert set(seen) == set(range(80))
    assert all(count == pytest.approx(steps * 6 / 80, rel=0.2) for count in seen.values())


def test_a_camera_with_few_pairs_shows_them_again_in_the_same_batch():
    pairs = pairs_of_tracks([2] * 8, "a") + pairs_of_tracks([2, 1], "b")
    plan = plan_of(pairs, 7, cameras="one")
    batches = [plan.pairs_of(step).tolist() for step in range(60)]
    of_b = [batch for batch in batches if min(batch) >= 16]
    assert of_b
    for batch in of_b:
        assert sorted(Counter(batch).values()) == [2, 2, 3]


def test_one_camera_alone_is_like_all_mixed():
    pairs = pairs_of_tracks([2] * 10)
    mixed, one = plan_of(pairs, 5), plan_of(pairs, 5, cameras="one")
    assert all(np.array_equal(mixed.pairs_of(s), one.pairs_of(s)) for s in range(9))


def test_a_camera_of_one_track_is_refused_by_name():
    pairs = pairs_of_tracks([2, 2], "a") + pairs_of_tracks([5], "b") + pairs_of_tracks([1], "d")
    with pytest.raises(InputError, match=r"2 of 3 cameras have .* one track only.*'b'"):
        plan_of(pairs, 4, cameras="one")


def test_what_two_drawn_patches_are_to_others_follows_from_their_own_times_and_places():
    pairs = [
        pair("x", 0, (0.0, 1.0)), pair("y", 0, (30.0, 31.0)),  # the same track, much later
        pair("z", 1, (2.0, 3.0), place=500.0),
    ]  # fmt: skip
    table = plan_of(pairs, 3).table
    own = table.spans_of(np.array([[0, 1], [2, 3], [4, 5]]))
    np.testing.assert_array_equal(different(own), different(TrackSpans.of(pairs)))
    # From 0 to 30 s the first track was there while the other one was, far from it.
    wide = table.spans_of(np.array([[0, 2], [4, 5]]))
    assert (wide.start_s.tolist(), wide.end_s.tolist()) == ([0.0, 2.0], [30.0, 3.0])
    assert different(wide)[0, 1]
    # The two patches from the end of the track are met 27 s later.
    assert different(table.spans_of(np.array([[2, 2], [4, 4]])))[0, 1]
    # One second before the other is too near to tell.
    assert not different(table.spans_of(np.array([[1, 1], [4, 4]])))[0, 1]


def test_no_pairs_make_a_plan_without_steps():
    plan = plan_of([], 4, positives="track")
    assert (plan.count, plan.batch_pairs) == (0, 0)
