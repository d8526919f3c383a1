"""Search against brute force: every filter with every grouping, exclusion, floor and k."""

import fnmatch
import itertools

import numpy as np
import pytest

from indexes.records import Filter
from indexes.search.index import open_index
from indexes.search.settings import SearchSettings
from toolkit.errors import UsageError

DIM = 8
FILTERS = {
    "any": Filter(),
    "name": Filter(sources=("v1.mp4",)),
    "glob": Filter(sources=("clips/*", "album/[0].png")),
    "brackets": Filter(sources=("album/[1].png",)),
    "camera": Filter(cameras=("north", "cam2")),
    "time": Filter(times_s=(10.0, 30.0)),
    "from": Filter(times_s=(45.0, float("inf"))),
    "label": Filter(labels=("cat",)),
    "labels": Filter(labels=("dog", "mouse")),
    "all at once": Filter(("clips/*",), ("cam0", "cam1"), (0.0, 40.0), ("cat", "dog")),
    "nothing": Filter(cameras=("nowhere",)),
}


def passes(only: Filter, patch) -> bool:
    """A filter in plain Python."""
    if only.sources and not any(matches(pattern, patch.source) for pattern in only.sources):
        return False
    if only.cameras and patch.camera not in only.cameras:
        return False
    if only.times_s and (
        patch.time_s is None or not only.times_s[0] <= patch.time_s <= only.times_s[1]
    ):
        return False
    return not only.labels or patch.label in only.labels


def matches(pattern: str, path: str) -> bool:
    tried = [path] if "/" in pattern else [path, path.rpartition("/")[2]]
    return path == pattern or any(fnmatch.fnmatchcase(name, pattern) for name in tried)


def brute_force(patches, queries, k, settings):
    """Sort everything by its best score, then walk down: [(score, thing)]."""
    scored = []
    for patch in patches:
        if passes(settings.only, patch) and patch.id not in settings.without:
            scored.append((max(float(patch.vector @ query) for query in queries), patch))
    scored.sort(key=lambda item: -item[0])
    kept, seen = [], set()
    for score, patch in scored:
        if score < settings.min_score or (settings.group_tracks and patch.thing in seen):
            continue
        seen.add(patch.thing)
        kept.append((score, patch))
    return kept[:k]


def check(hits, expected, known, query_rows):
    """Scores are the oracle's; where several have the same score, any of them may stand."""
    np.testing.assert_allclose([h.score for h in hits], [s for s, _ in expected], atol=2e-6)
    assert [hit.rank for hit in hits] == list(range(1, len(expected) + 1))
    assert len({hit.id for hit in hits}) == len(hits)
    for hit, (score, _) in zip(hits, expected, strict=True):
        mine = known[hit.id]
        assert max(float(mine.vector @ q) for q in query_rows) == pytest.approx(score, abs=2e-6)
        place = hit.place
        assert (place.source, place.track, place.label) == (mine.source, mine.track, mine.label)
        assert (place.camera, place.time_s) == (mine.camera, mine.time_s)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("segments", [1, 3])
def test_every_combination_is_brute_force(store_of, name, segments):
    store = store_of(1, 180, segments)
    known = {patch.id: patch for patch in store.patches}
    draw = np.random.default_rng(7)
    with open_index(store.path) as index:
        for group, floor, exclude, k in itertools.product(
            [True, False], [-1.0, 0.3], [False, True], [1, 4, 25, 1000]
        ):
            query = draw.standard_normal((1, DIM)).astype(np.float32)
            query /= np.linalg.norm(query)
            own = draw.choice(180, 60, replace=False) + 1 if exclude else ()
            settings = SearchSettings(
                group_tracks=group,
                min_score=floor,
                only=FILTERS[name],
                without=frozenset(map(int, own)),
            )
            expected = brute_force(store.patches, query, k, settings)
            for hits in (
                index.search(query[0], k, settings),
                index.search_each(query, k, settings)[0],
            ):
                check(hits, expected, known, query)
                for hit in hits:
                    assert passes(settings.only, known[hit.id])
                    assert hit.id not in settings.without
                if group:
                    assert len({known[hit.id].thing for hit in hits}) == len(hits)


@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("k", [1, 3, 30, 500])
def test_of_several_queries_each_patch_counts_by_its_nearest(store_of, group, k):
    store = store_of(2, 120, 2)
    known = {patch.id: patch for patch in store.patches}
    draw = np.random.default_rng(3)
    settings = SearchSettings(group_tracks=group)
    with open_index(store.path) as index:
        for count in (2, 3, 9):
            queries = draw.standard_normal((count, DIM)).astype(np.float32)
            queries /= np.linalg.norm(queries, axis=1, keepdims=True)
            queries[1] = queries[0]
            expected = brute_force(store.patches, queries, k, settings)
            check(index.search(queries, k, settings), expected, known, queries)


@pytest.mark.parametrize("filter_name", ["any", "camera", "label"])
def test_many_queries_at_once_are_each_by_itself(store_of, filter_name):
    store = store_of(3, 150, 3)
    queries = np.random.default_rng(4).standard_normal((70, DIM)).astype(np.float32)
    settings = SearchSettings(only=FILTERS[filter_name], min_score=0.1)
    with open_index(store.path) as index:
        together = index.search_each(queries, 6, settings)
        alone = [index.search(query, 6, settings) for query in queries]
    assert len(together) == 70
    for some, one in zip(together, alone, strict=True):
        np.testing.assert_allclose([h.score for h in some], [h.score for h in one], atol=1e-6)


def test_no_queries_give_no_answers(store_of):
    with open_index(store_of(1, 180, 1).path) as index:
        assert index.search_each(np.empty((0, DIM), np.float32), 3) == []


def test_fewer_hits_are_the_first_of_more_even_among_equal_scores(store_of):
    """Every seventh patch is a copy: ties are in the same order whatever k is."""
    store = store_of(5, 160, 3)
    settings = SearchSettings(group_tracks=False)
    with open_index(store.path) as index:
        for patch in store.patches[:30]:
            longest = [hit.id for hit in index.search(patch.vector, 160, settings)]
            assert sorted(longest) == list(range(1, 161))
            for k in (1, 2, 3, 10):
                assert [hit.id for hit in index.search(patch.vector, k, settings)] == longest[:k]


def test_one_long_track_does_not_hide_the_rest(store_of):
    """All sightings of the tracks are nearer than the last thing: it is found all the same."""
    store = store_of(1, 180, 1)
    things = {patch.thing for patch in store.patches}
    with open_index(store.path) as index:
        for patch in store.patches[:20]:
            assert len(index.search(patch.vector, len(things))) == len(things)
            assert len(index.search(patch.vector, len(things) + 1)) == len(things)


def test_a_score_of_one_is_found_with_that_floor(store_of):
    store = store_of(1, 180, 1)
    with open_index(store.path) as index:
        for patch in store.patches[:20]:
            hits = index.search(patch.vector, 3, SearchSettings(min_score=1.0))
            assert hits
            assert all(hit.score == pytest.approx(1.0, abs=1e-6) for hit in hits)


def test_an_index_of_one_patch_gives_it_for_any_k(store_of):
    store = store_of(8, 1, 1)
    with open_index(store.path) as index:
        for k in (1, 2, 10**9):
            (hit,) = index.search(-store.patches[0].vector, k)
            assert hit.score == pytest.approx(-1.0)


@pytest.mark.parametrize("score", [float("nan"), 1.1, -2.0])
def test_an_impossible_floor_is_a_usage_error(score):
    with pytest.raises(UsageError, match="score"):
        SearchSettings(min_score=score)
