"""The judge of benchmarks/quality.py, against loops over its definition."""

import numpy as np
import pytest
import quality_people
import quality_protocol
from quality_protocol import (
    Gallery,
    Ranks,
    Sightings,
    rank,
    ratio_interval,
    recall_interval,
    recall_of_a_judge,
)

# Who is seen in each of twelve tracks; in the fifth, two.
PEOPLE = ["A", "B", "A", "C", "AB", "D", "D", "C", "E", "B", "A", "F"]


@pytest.fixture
def sightings(monkeypatch):
    monkeypatch.setattr(quality_protocol, "people_of", lambda name: frozenset(PEOPLE[int(name)]))
    rng = np.random.default_rng(0)
    tracks, times = [], []
    for track in range(12):
        start, count = rng.uniform(51.5, 70), int(rng.integers(1, 40))
        times += [round(start + 0.3 * i, 3) for i in range(count)]
        tracks += [track] * count
    names = tuple(str(track) for track in range(12))
    return Sightings(tuple(None for _ in times), np.array(times), np.array(tracks, np.int64), names)


def naive_pairs(s):
    found = []
    for i, (time, track) in enumerate(zip(s.time_s, s.track, strict=True)):
        later = [(abs(t - time - 1.5), j) for j, t in enumerate(s.time_s) if s.track[j] == track]
        miss, j = min(later)
        if miss <= 0.11:
            found.append((i, j))
    return found


def test_a_query_is_paired_with_the_sighting_a_second_and_a_half_later(sightings):
    pairs = sightings.pairs()
    assert [tuple(pair) for pair in pairs.tolist()] == naive_pairs(sightings)
    assert len(pairs) > 20


@pytest.mark.parametrize("gallery", list(Gallery))
def test_ranks_equal_a_loop_over_the_gallery(sightings, gallery):
    features = np.random.default_rng(1).normal(size=(len(sightings.time_s), 8)).astype(np.float32)
    pairs = naive_pairs(sightings)
    used = {i for pair in pairs for i in pair}
    expected = []
    for query, positive in pairs:
        own = features[query] @ features[positive]
        expected.append(0)
        for other in used:
            away = abs(sightings.time_s[other] - sightings.time_s[query]) >= 5
            both = sightings.track[other], sightings.track[query]
            one_track = both[0] == both[1]
            one_person = bool(set(PEOPLE[both[0]]) & set(PEOPLE[both[1]]))
            left_out = {Gallery.OTHER_TRACKS: one_track, Gallery.OTHER_PEOPLE: one_person}
            if away and not left_out.get(gallery, False):
                expected[-1] += bool(features[query] @ features[other] >= own - 1e-6)
    found = rank(sightings, features, gallery)
    assert found.ahead.tolist() == expected


def test_a_judge_of_people_draws_among_those_of_the_same_person(sightings):
    pairs = naive_pairs(sightings)
    used = {i for pair in pairs for i in pair}
    chances = []
    for query, _ in pairs:
        same = 0
        for other in used:
            away = abs(sightings.time_s[other] - sightings.time_s[query]) >= 5
            people = PEOPLE[sightings.track[other]], PEOPLE[sightings.track[query]]
            same += away and any(letter in people[1] for letter in people[0])
        chances.append(1 / (1 + same))
    assert recall_of_a_judge(sightings) == pytest.approx(np.mean(chances))
    assert 0 < recall_of_a_judge(sightings) < 1


def test_a_track_that_nobody_judged_is_refused():
    with pytest.raises(ValueError, match="Nobody has judged"):
        quality_people.people_of("45cddc9490be-0000-9999")
    assert quality_people.people_of("45cddc9490be-0000-0040") == {"B", "C"}


def test_a_feature_that_is_the_same_for_everything_finds_nothing(sightings):
    same = np.ones((len(sightings.time_s), 4), np.float32)
    ranks = rank(sightings, same, Gallery.ALL)
    has_rivals = [
        any(abs(sightings.time_s - sightings.time_s[query]) >= 5) for query, _ in sightings.pairs()
    ]
    assert (ranks.ahead[has_rivals] > 0).all()


def test_no_sightings_give_no_pairs():
    assert Sightings((), np.zeros(0), np.zeros(0, np.int64), ()).pairs().shape == (0, 2)


def test_intervals_draw_whole_tracks():
    # Two tracks, one always right and one never: a draw holds 0, 1 or 2 of the right one.
    ranks = Ranks(np.repeat([0, 1], 50), np.repeat([0, 9], 50))
    interval = recall_interval([ranks], 1)
    assert (interval.mean, interval.low, interval.high) == (0.5, 0.0, 1.0)
    sure = Ranks(np.repeat([0, 1], 50), np.zeros(100, np.int64))
    assert recall_interval([sure], 1).low == 1.0
    assert ratio_interval([sure], ranks, 1).mean == 2.0
