"""What a Milvus answers is what a folder of the same rows answers."""

import numpy as np
import pytest

from indexes.records import Filter
from indexes.search.index import PatchIndex
from indexes.search.settings import SearchSettings

PATHS = [
    "stills/a[1].png",
    "clips/street.mp4",
    'clips/it\'s 100%_"odd"\\.mp4',
    "clips/] or id > 0 or source in [.mp4",
    "ünïcode/日本.mp4",
    "clips/gate.mp4",
]
PATTERNS = [
    *PATHS,
    "clips/*",
    "*.mp4",
    "street.mp4",
    "*[0-9]*",
    "stills/a[1].png",
    "%",
    "clips/_treet.mp4",
    "nothing*",
    '*"odd"*',
    "?nïcode/*",
]


def random_filter(generator: np.random.Generator) -> Filter:
    def some(values: list[str], share: float) -> tuple[str, ...]:
        if generator.random() > share:
            return ()
        return tuple(generator.choice(values, int(generator.integers(1, 3))).tolist())

    times = sorted(generator.uniform(-10, 70, 2).tolist()) if generator.random() < 0.4 else None
    return Filter(
        some(PATTERNS, 0.6),
        some(["camera 0", "camera 1", "camera '"], 0.3),
        None if times is None else (times[0], times[1]),
        some(["label '1\"", "label '2\"", "none"], 0.3),
    )


def same(left, right) -> None:
    assert left.patches.shape == right.patches.shape
    assert left.patches.tolist() == right.patches.tolist()
    there = right.patches >= 0
    np.testing.assert_allclose(left.scores[there], right.scores[there], atol=1e-6)
    assert (left.things[there] > 0).tolist() == (right.things[there] > 0).tolist()


def test_every_filter_finds_the_same(filled, units) -> None:
    generator = np.random.default_rng(2)
    passed = 0
    with filled() as (milvus, folder):
        for _ in range(120):
            only = random_filter(generator)
            found = milvus.nearest(queries := units(generator, 2), 12, only)
            same(found, folder.nearest(queries, 12, only))
            passed += bool((found.patches >= 0).any())
    assert passed > 40


@pytest.mark.parametrize(
    "only",
    [
        Filter(times_s=(float("-inf"), float("inf"))),
        Filter(times_s=(0.0, 1e308)),
        Filter(times_s=(5.0, 4.0)),
        Filter(times_s=(float("nan"), 4.0)),
        Filter(times_s=(1e-12, 20.0)),
    ],
    ids=["any time", "huge", "backwards", "not a number", "tiny"],
)
def test_times_at_the_edges(only: Filter, filled, units) -> None:
    queries = units(np.random.default_rng(3), 2)
    with filled() as (milvus, folder):
        same(milvus.nearest(queries, 300, only), folder.nearest(queries, 300, only))


def test_places_thumbnails_vectors_and_sightings(filled) -> None:
    ids = [*range(1, 241, 7), 240, 241, 10**12, -3, 0]
    with filled() as (milvus, folder):
        assert len(milvus) == len(folder) == 240
        assert milvus.places(ids) == folder.places(ids)
        assert milvus.thumbnails(ids) == folder.thumbnails(ids)
        known = [key for key in ids if 0 < key <= 240]
        np.testing.assert_array_equal(milvus.vectors_of(known), folder.vectors_of(known))
        for key in known[::5]:
            assert milvus.sightings(key) == folder.sightings(key)


def test_groups_and_hits(filled, units) -> None:
    generator = np.random.default_rng(4)
    with filled() as (milvus, folder):
        left, right = PatchIndex(milvus), PatchIndex(folder)
        for grouped in (True, False):
            settings = SearchSettings(group_tracks=grouped, min_score=-0.2)
            for query in units(generator, 3):
                ours = [hit.as_json() for hit in left.search(query, 7, settings)]
                theirs = [hit.as_json() for hit in right.search(query, 7, settings)]
                assert len(ours) == 7
                scores = [[hit.pop("score") for hit in hits] for hits in (ours, theirs)]
                assert ours == theirs
                assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_more_than_the_index_has(filled, units) -> None:
    with filled() as (milvus, folder):
        queries = units(np.random.default_rng(5), 1)
        found = milvus.nearest(queries, 100_000)
        same(found, folder.nearest(queries, 100_000))
        assert sorted(found.patches[0].tolist()) == list(range(1, 241))


def test_deeper_than_one_answer_of_milvus(filled, units, monkeypatch) -> None:
    monkeypatch.setattr("indexes.milvus.store.MOST_HITS", 16)
    with filled() as (milvus, folder):
        queries = units(np.random.default_rng(6), 2)
        same(milvus.nearest(queries, 100), folder.nearest(queries, 100))
        only = Filter(sources=("clips/*",))
        same(milvus.nearest(queries, 240, only), folder.nearest(queries, 240, only))


def test_deeper_with_equal_scores(twins, both_open, units, random_patches, monkeypatch) -> None:
    monkeypatch.setattr("indexes.milvus.store.MOST_HITS", 8)
    generator = np.random.default_rng(7)
    patches = random_patches(generator, 20, PATHS)
    with twins() as both:
        for number in range(3):
            both.take(f"again {number}", patches)
        both.commit()
    with both_open() as (milvus, _):
        (found,) = milvus.nearest(units(generator, 1), 60).patches.tolist()
        assert sorted(found) == list(range(1, 61))


def test_what_was_dropped_is_not_there(twins, both_open, random_patches, units) -> None:
    generator = np.random.default_rng(8)
    with twins() as both:
        both.take("kept", random_patches(generator, 30, PATHS[:3]))
        both.take("dropped", random_patches(generator, 30, PATHS[2:]))
        both.milvus._send()  # some of it is on the server already
        for sink in (both.milvus, both.folder):
            sink.drop_inputs_after(1)
            assert sink.uncommitted == 30
        both.commit()
    with both_open() as (milvus, folder):
        queries = units(generator, 3)
        same(milvus.nearest(queries, 40), folder.nearest(queries, 40))
        ids = list(range(1, 61))
        assert milvus.places(ids) == folder.places(ids)


def test_a_source_that_only_the_kept_input_named(twins, both_open, random_patches) -> None:
    generator = np.random.default_rng(9)
    with twins() as both:
        both.take("first", random_patches(generator, 20, PATHS[1:2]))
        both.milvus._send()
        both.take("dropped", random_patches(generator, 20, PATHS[1:3]))
        both.milvus._send()
        for sink in (both.milvus, both.folder):
            sink.drop_inputs_after(1)
        both.take("third", random_patches(generator, 20, PATHS[1:3]))
        both.commit()
    with both_open() as (milvus, folder):
        ours, theirs = milvus.places(range(1, 90)), folder.places(range(1, 90))
        assert len(ours) == 40
        assert sorted(p.source for p in ours.values()) == sorted(p.source for p in theirs.values())
