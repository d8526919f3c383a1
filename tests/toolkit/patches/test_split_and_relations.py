"""Who may be a negative, and which pairs are held out: against loops over the definitions."""

import hashlib
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolkit.errors import UsageError
from toolkit.patches.relations import TrackSpans, different, followed_as
from toolkit.patches.shards import Span, StoredPair
from toolkit.patches.split import Split, check_disjoint, split_pairs
from toolkit.records import Box, PatchPair, Sighting, TrackQuality

QUALITY = TrackQuality(1, 0, 1)


def pair(track, start, end, x=0.0, video="v", camera=None, hashes=None):
    if hashes is None:
        hashes = 2 * [int(hashlib.sha256(f"{video}-{track}".encode()).hexdigest()[:16], 16)]
    boxes = Box(x, 0, x + 10, 10), Box(x + 2, 0, x + 12, 10)
    return PatchPair(
        f"{video}-{track}-{start}", video, f"{video}.mp4", camera or video, f"{video}-{track}",
        Sighting(start, boxes[0]), Sighting(end, boxes[1]), QUALITY, *hashes,
    )  # fmt: skip


def stored(*pairs):
    return [StoredPair(p, Path("s.tar"), Span(0, 0), Span(0, 0)) for p in pairs]


def flipped(hash_, bits, rng):
    """The hash with so many of its bits turned over."""
    for bit in rng.permutation(64)[:bits]:
        hash_ ^= 1 << int(bit)
    return hash_


def random_pairs(count, seed=0):
    rng = np.random.default_rng(seed)
    # Three looks, and patches up to 20 bits beside one: some near each other, some not.
    looks = [int(look) for look in rng.integers(0, 1 << 63, 3)]
    return [
        pair(
            int((start := rng.uniform(0, 20)) / 2.5) * 10 + int(rng.integers(0, 3)),
            float(start),
            float(start + rng.uniform(0.5, 2)),
            x=float(rng.uniform(0, 60)),
            video=f"v{rng.integers(0, 4)}",
            camera=f"c{rng.integers(0, 2)}",
            hashes=[flipped(looks[rng.integers(0, 3)], rng.integers(0, 21), rng) for _ in "qp"],
        )
        for _ in range(count)
    ]


def nearest(a, b):
    """The fewest bits that any patch of one pair differs in from any of the other."""
    return min(
        f"{p ^ q:b}".count("1")
        for p in (a.query_phash, a.positive_phash)
        for q in (b.query_phash, b.positive_phash)
    )


def literal_twins(pairs):
    return {(a.track, b.track) for a in pairs for b in pairs if nearest(a, b) <= 4}


def literal_different(a, b, guard_s, twins):
    if a.track == b.track or nearest(a, b) <= 10 or (a.track, b.track) in twins:
        return False
    if a.camera != b.camera:
        return True
    if a.video != b.video:
        return False
    pause = max(
        a.query.time_s - b.positive.time_s,
        b.query.time_s - a.positive.time_s,
    )
    if pause >= guard_s:
        return True
    touching = any(
        p.box.intersection(q.box) > 0 for p in (a.query, a.positive) for q in (b.query, b.positive)
    )
    return pause <= 0 and not touching


@pytest.mark.parametrize("guard_s", [0.5, 5.0])
def test_different_equals_the_definition_pair_by_pair(guard_s, monkeypatch):
    monkeypatch.setattr("toolkit.patches.relations._BLOCK", 7)  # the last block is a short one
    pairs = random_pairs(60)
    twins = literal_twins(pairs)
    assert any(one != other for one, other in twins)
    expected = [[literal_different(a, b, guard_s, twins) for b in pairs] for a in pairs]
    given = different(TrackSpans.of(pairs), guard_s)
    np.testing.assert_array_equal(given, expected)
    assert given.any()
    assert not given.all()
    np.testing.assert_array_equal(given, given.T)


@pytest.mark.parametrize(("bits", "sure"), [(0, False), (10, False), (11, True), (40, True)])
@pytest.mark.parametrize("far", [{"camera": "w", "video": "w"}, {"start": 90, "end": 91}, {}])
def test_near_duplicates_are_unknown_whatever_else_is_known(bits, sure, far):
    rng = np.random.default_rng(1)
    look, other = 0x0123456789ABCDEF, 0xFEDCBA9876543210
    one = pair(1, 0, 1, hashes=(look, other))
    # Another camera, much later, or beside it at the same moment; alike in one patch each.
    two = pair(**{"track": 2, "start": 0, "end": 1, "x": 50.0} | far,
               hashes=(flipped(0x00FF00FF00FF00FF, 3, rng), flipped(look, bits, rng)))  # fmt: skip
    known = different(TrackSpans.of([one, two]))
    np.testing.assert_array_equal(known, [[False, sure], [sure, False]])


def test_tracks_that_repeat_each_other_once_are_unknown_throughout():
    look, rng = 0x0123456789ABCDEF, np.random.default_rng(2)
    copy = [flipped(look, 4, rng)] * 2
    pairs = [pair(1, 0, 1), pair(1, 2, 3, hashes=[look] * 2), pair(2, 0, 1, video="w"),
             pair(2, 2, 3, video="w", hashes=copy), pair(3, 0, 1, video="u")]  # fmt: skip
    unknown = [[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 1]]
    spans = TrackSpans.of(pairs)
    np.testing.assert_array_equal(different(spans), np.equal(unknown, 0))
    # Also where the pairs that gave it away are in another batch.
    alone = different(spans.take(np.array([0, 2, 4])))
    np.testing.assert_array_equal(alone, [[0, 0, 1], [0, 0, 1], [1, 1, 0]])


@pytest.mark.parametrize(
    ("track", "followed"),
    [
        ("0123456789ab-0000-0007", "0123456789ab-0000-0007"),
        ("0123456789ab-0000-0007r12", "0123456789ab-0000-0007"),
        ("0123456789ab-0000-12345r1", "0123456789ab-0000-12345"),
        ("somebody's-0000-0007r1", "somebody's-0000-0007r1"),
        ("car1", "car1"),
        ("", ""),
    ],
)
def test_a_run_is_part_of_what_was_followed(track, followed):
    assert followed_as(track) == followed


def test_two_runs_of_one_track_are_unknown_and_no_labels_of_each_other():
    names = ["0123456789ab-0000-0007", "0123456789ab-0000-0007r1", "0123456789ab-0000-0008"]
    far = [pair(i, 100.0 * i, 100.0 * i + 1) for i in range(3)]
    pairs = [replace(p, track=name) for p, name in zip(far, names, strict=True)]
    spans = TrackSpans.of(pairs)
    assert different(spans).tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]
    assert len(set(spans.track.tolist())) == 3


def test_a_pair_alone_differs_from_nothing():
    assert different(TrackSpans.of([pair(1, 0, 1)])).tolist() == [[False]]


def test_thousands_of_pairs_stay_small_in_memory():
    pairs = random_pairs(2000)
    spans = TrackSpans.of(pairs)
    tracemalloc.start()
    try:
        given = different(spans)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert given.shape == (2000, 2000)
    assert peak < 4e6 + 50e6  # the answer has 4 MB; all at once would take half a GB


def test_some_of_the_pairs_relate_as_among_all():
    spans = TrackSpans.of(random_pairs(40))
    chosen = np.array([30, 2, 2, 17, 39])
    np.testing.assert_array_equal(
        different(spans.take(chosen)), different(spans)[np.ix_(chosen, chosen)]
    )


def test_no_pairs_have_no_relations():
    assert different(TrackSpans.of([])).shape == (0, 0)
    assert TrackSpans.of([]).track.shape == (0,)


def test_labels_are_the_same_for_one_track_only():
    pairs = [pair(1, 0, 1), pair(2, 0, 1), pair(1, 2, 3), pair(1, 0, 1, video="w")]
    assert TrackSpans.of(pairs).track.tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("by", ["time", "video"])
@pytest.mark.parametrize("held_out", [0.25, 0.4, 0.6])
@pytest.mark.parametrize("seed", range(4))
def test_no_track_is_on_both_sides(by, held_out, seed):
    split = split_pairs(stored(*random_pairs(200, seed)), by, held_out)
    train = {s.pair.track for s in split.train}
    behind = {s.pair.track for s in split.held_out}
    assert train
    assert behind
    assert not train & behind


def test_time_holds_out_the_end_of_each_video():
    pairs = [pair(n, n, n + 1) for n in range(10)] + [
        pair(n, n, n + 1, video="w") for n in range(4)
    ]
    split = split_pairs(stored(*pairs), "time", 0.3)
    # v runs from 0 to 10 s, the boundary is at 7; w from 0 to 4 s, the boundary at 2.8.
    assert [s.pair.key for s in split.held_out] == ["v-7-7", "v-8-8", "v-9-9", "w-3-3"]
    # v-6 ends on the boundary and w-2 crosses it: they are on neither side.
    assert [s.pair.key for s in split.train] == [f"v-{n}-{n}" for n in range(6)] + [
        "w-0-0",
        "w-1-1",
    ]


def test_a_track_that_starts_before_the_boundary_is_not_held_out():
    pairs = [pair(0, 0, 1), pair(1, 5, 6), pair(1, 8, 9), pair(2, 8, 9), pair(3, 9, 10)]
    split = split_pairs(stored(*pairs), "time", 0.25)
    assert {s.pair.track for s in split.held_out} == {"v-2", "v-3"}
    assert [s.pair.key for s in split.train] == ["v-0-0", "v-1-5"]


def test_video_holds_out_whole_videos():
    split = split_pairs(stored(*random_pairs(90)), "video", 0.3)
    assert {s.pair.video for s in split.train}.isdisjoint({s.pair.video for s in split.held_out})
    assert len(split.train) + len(split.held_out) == 90


@pytest.mark.parametrize("big_first", [True, False])
def test_video_comes_as_near_to_the_wanted_part_as_it_can(big_first):
    big, small = ("a", "b") if big_first else ("b", "a")
    pairs = [pair(n, n, n + 1, video=big) for n in range(90)]
    pairs += [pair(n, n, n + 1, video=small) for n in range(10)]
    pairs += [pair(n, n, n + 1, video="c") for n in range(30)]
    split = split_pairs(stored(*pairs), "video", 0.2)
    # Hashes order the videos: a alone, or a and b, may be held out. 26 pairs are wanted.
    assert len(split.held_out) == (90 if big_first else 10)


def test_one_video_cannot_be_split_by_video():
    with pytest.raises(UsageError, match="at least 2 videos"):
        split_pairs(stored(pair(0, 0, 1)), "video", 0.3)


def test_holding_out_nothing_trains_on_everything():
    pairs = stored(*random_pairs(5))
    assert split_pairs(pairs, "time", 0) == Split(tuple(pairs), ())


def test_no_pairs_split_into_nothing():
    assert split_pairs([], "time", 0.5) == Split((), ())


@pytest.mark.parametrize("held_out", [-0.1, 1.0, 2])
def test_an_impossible_part_is_refused(held_out):
    with pytest.raises(UsageError, match="held_out"):
        split_pairs(stored(pair(0, 0, 1)), "time", held_out)


def test_a_leaking_split_is_a_bug():
    one = stored(pair(0, 0, 1))
    with pytest.raises(RuntimeError, match="both sides"):
        check_disjoint(Split(tuple(one), tuple(one)))
