"""Removing: everything of a source goes and nothing else, and a later build brings it back."""

import csv
import shutil

import numpy as np
import pytest

from indexes.build.build import build
from indexes.build.remove import remove
from indexes.build.verify import verify
from indexes.info import info
from indexes.records import Filter
from indexes.search.index import open_index
from indexes.search.settings import SearchSettings
from toolkit.errors import InputError, UsageError

ALL = SearchSettings(group_tracks=False)
COUNTS = """SELECT (SELECT count(*) FROM inputs), (SELECT count(*) FROM sources),
            (SELECT count(*) FROM tracks), (SELECT count(*) FROM patches),
            (SELECT count(*) FROM thumbnails), (SELECT count(*) FROM tombstones),
            (SELECT count(*) FROM labels)"""


def sources_found(index):
    """By a search for everything, and verified whole."""
    assert verify(index).problems == ()
    with open_index(index) as opened:
        hits = opened.search(np.ones(16, np.float32), 10_000, ALL)
        assert len(hits) == len(opened)
    return sorted((hit.place.source, hit.place.time_s) for hit in hits)


def make_table(folder, lines, name="table"):
    """A table of random vectors; a line is (source, time_s, track, label)."""
    folder.mkdir(exist_ok=True)
    vectors = np.random.default_rng(len(lines)).standard_normal((len(lines), 16))
    np.save(folder / f"{name}.npy", vectors.astype(np.float32))
    with (folder / f"{name}.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["source", "time_s", "track", "label"])
        writer.writerows(lines)
    return folder / f"{name}.npy"


def test_a_removed_picture_is_gone_from_every_table_and_found_no_more(
    tmp_path, pictures, embedder, rows
):
    paths = pictures(5)
    build(tmp_path / "index", paths, embedder)
    removal = remove(tmp_path / "index", [str(paths[1]), str(paths[3])])
    assert (removal.vectors, removal.thumbnails, removal.waiting) == (2, 2, 2)
    assert removal.sources == (str(paths[1]), str(paths[3]))
    assert removal.read_again == ()
    assert rows(tmp_path / "index", COUNTS) == [(3, 3, 0, 3, 3, 2, 0)]
    left = [(str(path), None) for path in (paths[0], paths[2], paths[4])]
    assert sources_found(tmp_path / "index") == left
    with open_index(tmp_path / "index") as opened:
        (gone,) = rows(tmp_path / "index", "SELECT patch FROM tombstones LIMIT 1")
        with pytest.raises(InputError, match=f"no patch {gone[0]}"):
            opened.vectors_of(gone)


def test_what_was_removed_can_be_added_again_under_a_new_id(tmp_path, pictures, embedder, rows):
    paths = pictures(4)
    build(tmp_path / "index", paths, embedder)
    remove(tmp_path / "index", [str(paths[2])])
    embedder.seen = 0
    report = build(tmp_path / "index", paths, embedder)
    assert (report.added, report.skipped, report.vectors, embedder.seen) == (1, 3, 1, 1)
    assert sources_found(tmp_path / "index") == [(str(path), None) for path in paths]
    assert rows(tmp_path / "index", "SELECT id FROM patches") == [(1,), (2,), (4,), (5,)]


def test_everything_can_be_removed_and_the_empty_index_is_whole(tmp_path, pictures, embedder):
    paths = pictures(3)
    build(tmp_path / "index", paths, embedder)
    assert remove(tmp_path / "index", ["*"]).vectors == 3
    assert sources_found(tmp_path / "index") == []
    assert info(tmp_path / "index").vectors == 0
    assert build(tmp_path / "index", paths, embedder).added == 3


def test_a_dry_run_counts_and_changes_nothing(tmp_path, pictures, embedder, rows):
    paths = pictures(3)
    build(tmp_path / "index", paths, embedder)
    before = rows(tmp_path / "index", COUNTS)
    planned = remove(tmp_path / "index", [str(paths[0])], dry_run=True)
    assert rows(tmp_path / "index", COUNTS) == before
    assert remove(tmp_path / "index", [str(paths[0])]) == planned


@pytest.mark.parametrize("spelling", ["relative", "dotted", "glob", "content"])
def test_a_source_is_named_in_many_ways(tmp_path, pictures, embedder, monkeypatch, spelling):
    paths = pictures(3)
    build(tmp_path / "index", paths, embedder)
    monkeypatch.chdir(tmp_path)
    shutil.copy(paths[1], tmp_path / "copy.png")
    name = {
        "relative": f"pictures/{paths[1].name}",
        "dotted": f"./index/../pictures/{paths[1].name}",
        "glob": "*/pictures/*1.png",
        "content": "copy.png",
    }[spelling]
    assert remove(tmp_path / "index", [name]).sources == (str(paths[1]),)


def test_a_path_that_looks_like_a_pattern_is_a_path_first(tmp_path, pictures, embedder):
    plain, odd = pictures(2)
    plain = plain.rename(plain.with_name("a1.png"))
    odd = odd.rename(odd.with_name("a[1].png"))
    build(tmp_path / "index", [plain, odd], embedder)
    assert remove(tmp_path / "index", [str(odd)]).sources == (str(odd),)
    assert sources_found(tmp_path / "index") == [(str(plain), None)]


@pytest.mark.parametrize("name", ["gone.mp4", "*.gone", "", "it's; DROP TABLE patches --"])
def test_a_name_of_nothing_is_told_and_nothing_is_removed(tmp_path, pictures, embedder, name):
    paths = pictures(2)
    build(tmp_path / "index", paths, embedder)
    with pytest.raises(InputError, match="has no source"):
        remove(tmp_path / "index", [str(paths[0]), name])
    assert info(tmp_path / "index").vectors == 2


def test_naming_nothing_and_no_index_are_told(tmp_path, pictures, embedder):
    with pytest.raises(InputError, match="no index"):
        remove(tmp_path / "index", ["x"])
    assert not (tmp_path / "index").exists()
    build(tmp_path / "index", pictures(1), embedder)
    with pytest.raises(UsageError, match="Nothing was named"):
        remove(tmp_path / "index", [])


def test_a_camera_goes_with_all_it_filmed(tmp_path, pair, shard, embedder):
    pairs = [pair(t, (0.0, 1.0), video) for t, video in enumerate(("gate", "yard", "gate"))]
    source = shard(tmp_path / "a.tar", pairs)
    build(tmp_path / "index", [source], embedder)
    removal = remove(tmp_path / "index", [], ["gate"])
    assert (removal.vectors, removal.sources) == (4, ("clips/gate.mp4",))
    assert removal.read_again == (str(source),)
    assert {path for path, _ in sources_found(tmp_path / "index")} == {"clips/yard.mp4"}
    with pytest.raises(InputError, match="no camera gate") as caught:
        remove(tmp_path / "index", [], ["gate"])
    assert "yard" in caught.value.mend


def test_a_shard_names_the_videos_in_it(tmp_path, pair, shard, embedder):
    first = shard(tmp_path / "a.tar", [pair(1, (0.0, 1.0), "gate")])
    shard(tmp_path / "b.tar", [pair(2, (0.0, 1.0), "yard")])
    build(tmp_path / "index", [tmp_path], embedder)
    assert remove(tmp_path / "index", [str(first)]).sources == ("clips/gate.mp4",)


def test_a_video_in_two_shards_comes_back_from_either(tmp_path, pair, shard, embedder, rows):
    """The sighting at 1 s is in both; removing forgets the shard that only shared it too."""
    first = shard(tmp_path / "a.tar", [pair(1, (0.0, 1.0)), pair(1, (1.0, 2.0))])
    second = shard(tmp_path / "b.tar", [pair(1, (1.0, 2.0))])
    other = shard(tmp_path / "c.tar", [pair(3, (0.0, 1.0), "yard")])
    build(tmp_path / "index", [first, second, other], embedder)
    before = sources_found(tmp_path / "index")
    remove(tmp_path / "index", ["clips/street.mp4"])
    assert rows(tmp_path / "index", "SELECT path FROM inputs") == [(str(other),)]
    report = build(tmp_path / "index", [second], embedder)
    assert (report.added, report.vectors) == (1, 2)
    report = build(tmp_path / "index", [first, second, other], embedder)
    assert (report.added, report.skipped, report.vectors) == (1, 2, 1)
    assert sources_found(tmp_path / "index") == before


def test_one_video_of_a_shard_comes_back_and_the_rest_is_left_alone(
    tmp_path, pair, shard, embedder, rows
):
    pairs = [pair(t, (0.0, 1.0), video) for t, video in enumerate(("gate", "yard", "gate"))]
    source = shard(tmp_path / "a.tar", pairs)
    build(tmp_path / "index", [source], embedder)
    kept = rows(tmp_path / "index", "SELECT id FROM patches WHERE source = 1")
    remove(tmp_path / "index", ["clips/yard.mp4"])
    report = build(tmp_path / "index", [source], embedder)
    assert (report.added, report.vectors) == (1, 2)
    assert rows(tmp_path / "index", "SELECT id FROM patches WHERE source = 1") == kept
    assert build(tmp_path / "index", [source], embedder).skipped == 1
    # The two rows that were removed made a fourth of the index, and went with the build.
    assert rows(tmp_path / "index", COUNTS) == [(2, 2, 3, 6, 6, 0, 0)]


def test_one_source_of_a_table_without_tracks_comes_back_once(tmp_path, embedder, rows):
    """Its rows of one source cannot be told apart; those of the others must not come twice."""
    lines = [(f"{'abc'[i % 3]}.mp4", 1.0, "", "") for i in range(9)]
    table = make_table(tmp_path / "t", lines)
    build(tmp_path / "index", [table], embedder)
    before = sources_found(tmp_path / "index")
    remove(tmp_path / "index", ["b.mp4"])
    assert len(sources_found(tmp_path / "index")) == 6
    report = build(tmp_path / "index", [table], embedder)
    assert (report.added, report.vectors) == (1, 3)
    assert sources_found(tmp_path / "index") == before
    assert build(tmp_path / "index", [table], embedder).vectors == 0
    # The source that came back is an input's of its own; taking out another one works as well.
    remove(tmp_path / "index", ["b.mp4", "c.mp4"])
    assert build(tmp_path / "index", [table], embedder).vectors == 6
    assert sources_found(tmp_path / "index") == before


def test_labels_of_a_table_are_kept_once_a_track_and_go_with_their_source(tmp_path, embedder, rows):
    lines = [("a.mp4", float(i), "one", "cat") for i in range(3)]
    lines += [("a.mp4", 9.0, "", "dog"), ("b.mp4", 0.0, "", "dog"), ("b.mp4", 1.0, "two", "")]
    build(tmp_path / "index", [make_table(tmp_path / "t", lines)], embedder)
    listed = "SELECT track, patch, label, origin, confidence FROM labels ORDER BY id"
    assert rows(tmp_path / "index", listed) == [
        (1, None, "cat", "given", 1.0),
        (None, 4, "dog", "given", 1.0),
        (None, 5, "dog", "given", 1.0),
    ]
    assert rows(tmp_path / "index", "SELECT id, kind FROM label_batches") == [(1, "source")]
    with open_index(tmp_path / "index") as opened:
        wanted = SearchSettings(group_tracks=False, only=Filter(labels=("cat",)))
        hits = opened.search(np.ones(16, np.float32), 10, wanted)
        assert {(hit.place.track, hit.place.label) for hit in hits} == {("a.mp4:one", "cat")}
    assert remove(tmp_path / "index", ["a.mp4"]).labels == 2
    assert rows(tmp_path / "index", listed) == [(None, 5, "dog", "given", 1.0)]


def test_labels_of_a_table_that_breaks_off_are_dropped_with_it(tmp_path, embedder, rows):
    """Its first 4,096 rows had been taken in when row 4,999 turned out to be none."""
    good = make_table(tmp_path / "t", [("a.mp4", 0.0, "one", "cat")], "good")
    lines = [("a.mp4", 1.0 + i, "one", "dog") for i in range(5000)]
    bad = make_table(tmp_path / "t", lines, "bad")
    vectors = np.load(bad)
    vectors[-1] = np.nan
    np.save(bad, vectors)
    report = build(tmp_path / "index", [good, bad], embedder)
    assert [report.vectors, *(q.path for q in report.quarantined)] == [1, str(bad)]
    assert rows(tmp_path / "index", "SELECT track, label FROM labels") == [(1, "cat")]
    assert rows(tmp_path / "index", COUNTS) == [(1, 1, 1, 1, 0, 0, 1)]
    assert verify(tmp_path / "index").problems == ()


def test_odd_paths_are_removed_too(tmp_path, pictures, embedder):
    (path,) = pictures(1)
    odd = path.rename(path.with_name("ü'\";--\n*?.png"))
    build(tmp_path / "index", [odd, *pictures([3])], embedder)
    assert remove(tmp_path / "index", [str(odd)]).vectors == 1
