"""Verifying: damage of every sort is found and named, and what is whole is called so."""

import hashlib
import json
import shutil
import sqlite3
import struct
import zlib

import numpy as np
import pytest

from indexes.build.build import build
from indexes.build.compact import compact
from indexes.build.remove import remove
from indexes.build.settings import BuildSettings
from indexes.build.verify import verify
from indexes.search.index import open_index
from indexes.search.settings import SearchSettings
from toolkit.errors import InputError, MismatchError

EVERYTHING = SearchSettings(group_tracks=False)


@pytest.fixture
def index(two_segments, tmp_path):
    """Two segments, one with a removed row; pictures and tracks."""
    return shutil.copytree(two_segments, tmp_path / "index")


def change(index, *statements):
    connection = sqlite3.connect(index / "catalog.sqlite", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def whats(index):
    return [problem.what for problem in verify(index).problems]


def test_a_whole_index_is_called_so(index):
    found = verify(index)
    assert (found.problems, found.leftovers, found.foreign) == ((), (), ())
    assert (found.vectors, found.segments) == (17, 2)
    files = [index / "catalog.sqlite", *(index / "segments").iterdir()]
    assert found.bytes == sum(path.stat().st_size for path in files)
    assert found.as_json()["sound"] is True


def test_no_index_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no index"):
        verify(tmp_path)


def test_every_flipped_bit_of_a_segment_is_found(index):
    random = np.random.default_rng(0)
    for path in sorted((index / "segments").iterdir()):
        whole = path.read_bytes()
        for place in random.integers(len(whole), size=12):
            content = bytearray(whole)
            content[place] ^= 1 << int(random.integers(8))
            path.write_bytes(content)
            (what,) = whats(index)
            assert path.name in what
        path.unlink()
        (what,) = whats(index)
        assert path.name in what
        path.write_bytes(whole)
    assert whats(index) == []


def test_flipped_bytes_of_the_catalog_never_pass_as_another_index(index):
    """SQLite keeps no sums, so a byte of a text may change unseen; the halves must still agree."""
    path = index / "catalog.sqlite"
    whole = path.read_bytes()
    random = np.random.default_rng(1)
    found = 0
    for _ in range(60):
        content = bytearray(whole)
        start = int(random.integers(len(content) - 64))
        content[start : start + 64] = random.bytes(64)
        path.write_bytes(content)
        try:
            found += bool(verify(index).problems)
        except InputError:  # it looks as if nothing had ever been committed
            found += 1
    assert found > 5


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (("INSERT INTO patches SELECT 99, input, source, track, time_s, x0, y0, x1, y1 "
          "FROM patches WHERE id = 1",), "1 patches have no vector: 99"),
        (("DELETE FROM thumbnails WHERE patch = 5", "DELETE FROM patches WHERE id = 5",
          "DELETE FROM sources WHERE id = 5"), "the catalog does not know them: 5"),
        (("INSERT INTO tombstones VALUES (6)",), "are noted as removed: 6"),
        (("INSERT INTO tombstones VALUES (1000)",), "in no segment: 1000"),
        (("UPDATE patches SET track = NULL WHERE id = 13",), "of another track"),
        (("INSERT INTO sources (path, identity, kind) VALUES ('x', 'x', 'image')",),
         "1 rows of sources have no patch"),
        (("INSERT INTO tracks (name) VALUES ('x')",), "1 rows of tracks have no patch"),
        (("DELETE FROM sources WHERE id = 1",), "names nothing in sources"),
        (("DELETE FROM inputs WHERE id = 2",), "names nothing in inputs"),
        (("INSERT INTO thumbnails VALUES (500, x'00')",), "names nothing in patches"),
        (("DELETE FROM segments WHERE id = 1",), "have no vector"),
    ],
)  # fmt: skip
def test_halves_that_do_not_agree_are_told(index, statements, said):
    change(index, *statements)
    assert any(said in what for what in whats(index)), whats(index)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE thumbnails SET jpeg = CAST(substr(jpeg, 1, 200) || x'55' || substr(jpeg, 202) "
     "AS BLOB) WHERE patch = 5",
     "DELETE FROM thumbnails WHERE patch = 5",
     "UPDATE patches SET x0 = x0 + 1 WHERE id = 5",
     "UPDATE patches SET y1 = 1e300 WHERE id = 5",
     "UPDATE patches SET time_s = 0.0 WHERE id = 5",
     "UPDATE patches SET source = 6 WHERE id = 5",
     "UPDATE sums SET sum = sum + 1 WHERE patch = 5"],
)  # fmt: skip
def test_a_patch_that_was_changed_is_told(index, statement):
    """SQLite itself finds all of these in order."""
    change(index, statement)
    assert any(
        "1 patches have not the place or picture that was written: 5" in what
        for what in whats(index)
    )


def test_a_thumbnail_that_is_a_text_is_told(index):
    change(index, "UPDATE thumbnails SET jpeg = CAST(jpeg AS TEXT) WHERE patch = 5")
    assert any("1 rows of thumbnails hold what is none" in what for what in whats(index))


def test_each_patch_has_the_sum_that_the_format_says(index, rows):
    patches = rows(index, "SELECT id, input, source, track, time_s, x0, y0, x1, y1 FROM patches")
    pictures = dict(rows(index, "SELECT patch, jpeg FROM thumbnails"))
    sums = dict(rows(index, "SELECT patch, sum FROM sums"))
    assert len(sums) == len(patches) == 17
    for key, number, source, track, time_s, *box in patches:
        packed = struct.pack("<qqqq", key, number, source, -1 if track is None else track)
        packed += struct.pack("<ddddd", float("nan") if time_s is None else time_s, *box)
        assert sums[key] == zlib.crc32(packed + pictures[key])


def test_an_index_without_sums_is_whole_and_gets_them_for_what_is_new(
    index, pictures, embedder, rows
):
    change(index, "DROP TABLE sums")
    assert whats(index) == []
    build(index, pictures(range(50, 52)), embedder)
    assert rows(index, "SELECT count(*) FROM sums") == [(2,)]
    assert whats(index) == []
    change(
        index,
        "UPDATE thumbnails SET jpeg = substr(jpeg, 1, 60) WHERE patch IN (1, 2)",
        "UPDATE thumbnails SET jpeg = x'' WHERE patch = 19",
    )
    changed, unreadable = whats(index)
    assert "have not the place or picture that was written: 19." in changed
    assert "2 patches have a thumbnail that cannot be read: 1, 2." in unreadable


def test_a_removal_leaves_no_sum_behind(index, rows):
    remove(index, ["*/0001.png"])
    ((patches, sums),) = rows(
        index, "SELECT (SELECT count(*) FROM patches), (SELECT count(*) FROM sums)"
    )
    assert patches == sums == 16


@pytest.mark.parametrize(
    "statement",
    ["UPDATE sources SET path = CAST(x'66ff2e706e67' AS TEXT) WHERE id = 2",
     "UPDATE sources SET camera = CAST(x'ff' AS TEXT) WHERE id = 2",
     "UPDATE inputs SET path = CAST(x'c3' AS TEXT)",
     "UPDATE tracks SET name = CAST(x'eda080' AS TEXT) WHERE id = 1"],
)  # fmt: skip
def test_a_text_that_is_none_is_told(index, statement):
    change(index, statement)
    (what,) = whats(index)
    assert "UTF-8" in what


@pytest.mark.parametrize("version", [-1, -(2**31)])
def test_a_version_below_nothing_is_damage(index, version):
    change(index, f"PRAGMA user_version = {version}")
    (what,) = whats(index)
    assert f"version is {version}" in what
    for work in (lambda: open_index(index), lambda: compact(index)):
        with pytest.raises(MismatchError, match=f"version is {version}"):
            work()


def test_a_segment_that_is_there_twice_is_told(index, rows):
    change(
        index,
        "INSERT INTO segments (stem, vectors, kind, key, settings, files) SELECT "
        "'00000000000000aa', vectors, kind, key, settings, files FROM segments WHERE id = 1",
    )
    ((stem,),) = rows(index, "SELECT stem FROM segments WHERE id = 1")
    for path in list((index / "segments").glob(f"{stem}.*")):
        shutil.copy(path, path.with_name(path.name.replace(stem, "00000000000000aa")))
    assert any("in segments more than once" in what for what in whats(index))


def test_a_newer_or_damaged_catalog_is_a_problem_with_a_remedy(index):
    change(index, "PRAGMA user_version = 9")
    (problem,) = verify(index).problems
    assert "version 9" in problem.what
    assert problem.mend


def test_leftovers_are_no_damage_and_are_named(index):
    folder = index / "segments"
    (folder / "0123456789abcdef.flat.faiss").write_bytes(b"left")
    (folder / ".new.flat.faiss.0a-1.2").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    found = verify(index)
    assert found.problems == ()
    assert [path.rpartition("/")[2] for path in found.leftovers] == [
        ".new.flat.faiss.0a-1.2",
        "0123456789abcdef.flat.faiss",
    ]
    assert [path.rpartition("/")[2] for path in found.foreign] == ["notes.txt"]


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_the_rest_of_a_damaged_index_is_searched_where_that_is_allowed(index, rows, harm):
    ((stem,),) = rows(index, "SELECT stem FROM segments ORDER BY id LIMIT 1")
    path = index / "segments" / f"{stem}.flat.faiss"
    content = path.read_bytes()
    path.unlink()
    if harm == "cut":
        path.write_bytes(content[:-1])
    with pytest.raises(MismatchError, match=path.name):
        open_index(index)
    with open_index(index, allow_partial=True) as opened:
        hits = opened.search(np.ones(16, np.float32), 100, EVERYTHING)
        assert {hit.place.source for hit in hits} == {"clips/street.mp4"}
        assert len(hits) == 6
        (left_out,) = opened.store.left_out
        assert path.name in left_out


def test_vectors_that_are_no_directions_are_told(index):
    """As from a program of somebody else, hashes and all."""
    from indexes.vectors.flat import FlatWriter

    rows = np.array([[100, -100]], np.int64)
    vector = np.full((1, 16), 0.25, np.float32)
    with FlatWriter(index / "segments", 16) as writer:
        writer.append(vector)
        made = writer.finish(rows)
    path = index / "segments" / f"{made.stem}.flat.faiss"
    content = bytearray(path.read_bytes())
    content[45:49] = np.float32(np.nan).tobytes()
    path.write_bytes(content)
    files = {k: {"sha256": v.sha256, "size_bytes": v.size_bytes} for k, v in made.files.items()}
    files[".flat.faiss"]["sha256"] = hashlib.sha256(content).hexdigest()
    connection = sqlite3.connect(index / "catalog.sqlite")
    connection.execute(
        "INSERT INTO segments (stem, vectors, kind, key, settings, files) VALUES (?,1,?,?,?,?)",
        (made.stem, "flat", "Flat", "{}", json.dumps(files)),
    )
    connection.commit()
    connection.close()
    assert any("not finite" in what for what in whats(index))


def test_a_compaction_of_a_damaged_index_is_refused_and_changes_nothing(index):
    path = sorted((index / "segments").glob("*.flat.faiss"))[0]
    path.write_bytes(path.read_bytes()[:-5])
    before = sorted(p.name for p in (index / "segments").iterdir())
    with pytest.raises(MismatchError, match=path.name):
        compact(index)
    assert sorted(p.name for p in (index / "segments").iterdir()) == before


def test_overwriting_mends_all(index, pictures, embedder):
    for path in (index / "segments").iterdir():
        path.write_bytes(b"harm")
    build(index, pictures(2), embedder, BuildSettings(overwrite=True))
    assert verify(index).problems == ()
