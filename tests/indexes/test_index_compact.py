"""Merging and compacting: the same answers from other segments, and space given back."""

import json
from dataclasses import replace

import numpy as np
import pytest

from indexes.build.budget import Wish, this_machine
from indexes.build.build import build
from indexes.build.compact import CompactSettings, compact
from indexes.build.merge import MOST_FLAT, Merging, unlike, what_to_merge, whole
from indexes.build.planning import plan_build
from indexes.build.remove import remove
from indexes.build.settings import BuildSettings
from indexes.build.verify import verify
from indexes.info import info
from indexes.plan.budget import Budget
from indexes.plan.choose import IndexPlan
from indexes.records import Segment
from indexes.search.index import open_index
from indexes.search.settings import SearchSettings
from toolkit.errors import InputError, MismatchError, UsageError

ALL = SearchSettings(group_tracks=False)
QUERY = np.linspace(-1, 1, 16).astype(np.float32)
INVERTED = Wish(key="IVF4,Flat")


def plan(kind="flat", key="Flat", recall=0.95):
    return IndexPlan(kind, key, 0, 0, 0, 0.0, 0.0, recall)


def segment(vectors, kind="flat", key="Flat", number=0, **settings):
    return Segment(f"{number:016x}", vectors, kind, key, settings)


NOTHING = np.empty(0, np.int64)


def answers(index):
    """Everything, best first, as a user sees it; verified whole."""
    assert verify(index).problems == ()
    with open_index(index) as opened:
        hits = opened.search(QUERY, 10_000, ALL)
        assert len(hits) == len(opened)
        return [(hit.place, pytest.approx(hit.score, abs=1e-6)) for hit in hits]


@pytest.fixture
def make(tmp_path, pictures, embedder):
    """make(sizes): an index of one build, and so one segment, for each size."""

    def build_in_steps(sizes, **settings):
        index, done = tmp_path / "index", 0
        for size in sizes:
            paths = pictures(range(done, done + size))
            build(index, paths, embedder, BuildSettings(**settings))
            done += size
        return index

    return build_in_steps


def test_a_compaction_leaves_the_answers_and_takes_the_removed_rows_away(make, rows):
    index = make([5, 7, 4])
    remove(index, ["*/0003.png", "*/0008.png"])
    before = answers(index)
    report = compact(index)
    assert (report.removed, report.segments_before) == (2, 3)
    assert answers(index) == before
    assert rows(index, "SELECT vectors, kind FROM segments") == [(14, "flat")]
    assert rows(index, "SELECT * FROM tombstones") == []
    assert len(list((index / "segments").iterdir())) == 2
    assert compact(index).removed == 0


def test_a_flat_index_sheds_what_was_removed_once_it_is_a_fifth(make, pictures, embedder, rows):
    index = make([6, 4])
    remove(index, ["*/000[02].png"])
    build(index, pictures(10)[1:2], embedder)  # nothing new
    assert rows(index, "SELECT count(*) FROM tombstones") == [(2,)]
    remove(index, ["*/0007.png"])
    before = answers(index)
    files = {path.name: path.stat().st_size for path in (index / "segments").iterdir()}
    build(index, pictures(10)[1:2], embedder)
    assert rows(index, "SELECT count(*) FROM tombstones") == [(0,)]
    assert rows(index, "SELECT vectors, kind FROM segments") == [(7, "flat")]
    assert answers(index) == before
    after = [path.stat().st_size for path in (index / "segments").iterdir()]
    assert sum(after) < sum(files.values())


def test_a_compaction_gives_the_space_back(make):
    index = make([40])
    remove(index, ["*/00[0-3]*.png"])
    size = (index / "catalog.sqlite").stat().st_size
    report = compact(index)
    assert (index / "catalog.sqlite").stat().st_size < size
    assert report.bytes_after < report.bytes_before
    jpegs = (index / "catalog.sqlite").read_bytes().count(b"\xff\xd8\xff")
    assert jpegs == info(index).vectors == 0


def test_an_index_whose_all_was_removed_is_compacted_to_nothing(make, pictures, embedder):
    index = make([3])
    remove(index, ["*"])
    compact(index)
    assert (info(index).vectors, info(index).segments, info(index).recall_at_10) == (0, 0, None)
    assert list((index / "segments").iterdir()) == []
    assert answers(index) == []
    build(index, pictures(3), embedder)
    assert len(answers(index)) == 3


def test_many_small_builds_become_one_segment_again(make):
    index = make([1] * (MOST_FLAT + 1))
    assert info(index).segments == 1
    found = answers(index)
    assert len(found) == MOST_FLAT + 1
    assert sorted(place.id for place, _ in found) == list(range(1, MOST_FLAT + 2))


def test_a_key_that_was_asked_for_is_made_kept_and_followed_by_later_builds(
    make, pictures, embedder, rows
):
    index = make([20], wish=INVERTED)
    assert (info(index).kind, info(index).key, info(index).segments) == (
        "ivf-flat",
        "IVF4,Flat",
        1,
    )
    assert info(index).recall_at_10 is not None
    before = answers(index)
    build(index, pictures(range(20, 21)), embedder)  # a small tail stays flat
    assert [kind for (kind,) in rows(index, "SELECT kind FROM segments ORDER BY id")] == [
        "ivf-flat",
        "flat",
    ]
    assert len(answers(index)) == 21
    build(index, pictures(range(20, 30)), embedder)  # a large one does not
    assert rows(index, "SELECT kind, key, vectors FROM segments") == [("ivf-flat", "IVF4,Flat", 30)]
    kept = [place for place, _ in answers(index) if place.id <= 20]
    assert kept == [place for place, _ in before]
    assert info(index).wish == INVERTED
    compact(index, CompactSettings(wish=Wish()))
    assert (info(index).kind, info(index).wish) == ("flat", Wish())
    assert len(answers(index)) == 30


def test_an_index_of_a_kind_is_compacted_without_what_was_removed(make, rows):
    index = make([20], wish=INVERTED)
    remove(index, ["*/0007.png"])
    before = answers(index)
    compact(index)
    assert answers(index) == before
    assert rows(index, "SELECT kind, vectors FROM segments") == [("ivf-flat", 19)]


def test_a_build_with_another_key_makes_the_index_anew(make, pictures, embedder):
    index = make([20], wish=INVERTED)
    report = build(index, pictures(20), embedder, BuildSettings(wish=Wish(key="HNSW8")))
    assert (report.vectors, info(index).kind) == (0, "hnsw")
    assert len(answers(index)) == 20


def test_what_cannot_fit_is_refused_before_anything_is_embedded(make, pictures, embedder):
    index = make([4])
    small = Wish(Budget(memory_bytes=100))
    embedder.seen = 0
    with pytest.raises(InputError, match="No index fits"):
        build(index, pictures(20), embedder, BuildSettings(wish=small))
    assert embedder.seen == 0
    assert (info(index).vectors, info(index).wish) == (4, Wish())
    with pytest.raises(InputError, match="No index fits"):
        compact(index, CompactSettings(wish=small))


def test_what_turns_out_not_to_fit_stops_at_a_commit(tmp_path, pictures, embedder, monkeypatch):
    """Grids are not counted before; 1,500 bytes hold 23 vectors of 16 numbers."""
    from indexes.sources import Cut, Reading

    settings = BuildSettings(
        wish=Wish(Budget(memory_bytes=1500)),
        reading=Reading(cut=Cut(grids=((2, 2),))),
        commit_vectors=4,
    )
    with pytest.raises(InputError, match="No index fits"):
        build(tmp_path / "index", pictures(30), embedder, settings)
    assert info(tmp_path / "index").vectors == 24
    assert verify(tmp_path / "index").problems == ()


@pytest.mark.parametrize("key", ["Nonsense", "PQ4,Flat,x", "IDMap,Flat", "BIVF4"])
def test_a_key_that_is_none_is_refused_at_once(tmp_path, pictures, embedder, key):
    with pytest.raises(UsageError):
        build(tmp_path / "index", pictures(3), embedder, BuildSettings(wish=Wish(key=key)))
    assert embedder.seen == 0


def test_a_budget_in_the_catalog_that_is_none_is_named(make, pictures, embedder):
    import sqlite3

    index = make([2])
    for text in ("{", "[]", '{"memory_bytes": "x"}', json.dumps({"recall": 7})):
        connection = sqlite3.connect(index / "catalog.sqlite")
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('budget', ?)", (text,))
        connection.commit()
        connection.close()
        with pytest.raises(MismatchError, match="its budget is none"):
            build(index, pictures(3), embedder)


def test_when_to_merge():
    flats = [segment(10, number=n) for n in range(MOST_FLAT)]
    big = segment(100, "ivf-pq", "K", 99, recall=0.95)
    pq = plan("ivf-pq", "K")
    assert what_to_merge([], NOTHING, plan()) is None
    assert what_to_merge(flats, NOTHING, plan()) is None
    more = [*flats, segment(1, number=50)]
    assert what_to_merge(more, NOTHING, plan()) == Merging(tuple(more), None)
    assert what_to_merge(flats, NOTHING, pq) == Merging(tuple(flats), pq)
    assert what_to_merge([big, segment(10)], NOTHING, pq) is None
    assert what_to_merge([big, segment(12)], NOTHING, pq) == Merging((big, segment(12)), pq)
    assert what_to_merge([big], np.arange(20), pq) is None
    assert what_to_merge([big], np.arange(21), pq) == Merging((big,), pq)


def test_what_is_as_it_should_be_is_left_alone():
    big = segment(100, "ivf-pq", "IVF10,PQ4", recall=0.95)
    same = plan("ivf-pq", "IVF11,PQ4")
    assert whole([], NOTHING, plan(), by_key=False) is None
    assert whole([segment(5)], NOTHING, plan(), by_key=False) is None
    assert whole([segment(5)], np.arange(1), plan(), by_key=False) is not None
    assert whole([big], NOTHING, same, by_key=False) is None
    assert whole([big], NOTHING, same, by_key=True) == Merging((big,), same)
    assert unlike([big, segment(5)], same, by_key=False) is None
    assert unlike([big], plan("ivf-pq", "IVF10,PQ4", 0.99), by_key=False) is not None
    # It would find as many as were asked for, if a query might take so long.
    slow = segment(1000, "ivf-pq", "IVF10,PQ4", recall=0.95, enough_ms=12.0)
    assert unlike([slow], replace(same, latency_ms=10.0), by_key=False) is None
    assert unlike([slow], replace(same, latency_ms=15.0), by_key=False) is not None


def test_a_plan_counts_what_is_new_and_touches_nothing(tmp_path, pictures, pair, shard, embedder):
    index = tmp_path / "index"
    paths = pictures(3)
    tar = shard(tmp_path / "a.tar", [pair(1, (0.0, 1.0)), pair(1, (1.0, 2.0))])
    (tmp_path / "clip.mp4").write_bytes(b"any")
    sources = [*paths, tar, tmp_path / "clip.mp4"]
    planned = plan_build(index, sources, embedder.card, BuildSettings())
    expected = planned.expected
    assert (planned.there, expected.sources, expected.vectors, expected.unknown) == (0, 5, 6, 1)
    assert not index.exists()
    build(index, [*paths, tar], embedder)
    planned = plan_build(index, sources, embedder.card, BuildSettings())
    expected = planned.expected
    assert (planned.there, expected.sources, expected.vectors, expected.unknown) == (6, 1, 0, 1)
    assert planned.plan.kind == "flat"
    json.dumps(planned.as_json())


def test_the_machine_is_asked(tmp_path):
    machine = this_machine(tmp_path / "not" / "there")
    assert machine.threads >= 1
    assert machine.disk_bytes > 0
