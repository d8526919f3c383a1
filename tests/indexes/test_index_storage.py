"""A build against the disk: two writers, things in the way, no space, what a kill left."""

import errno

import pytest

from indexes.build.build import build
from indexes.info import info
from toolkit.errors import StorageError
from toolkit.lock import writing

COUNTS = """SELECT (SELECT count(*) FROM inputs), (SELECT count(*) FROM sources),
            (SELECT count(*) FROM segments), (SELECT count(*) FROM patches),
            (SELECT count(*) FROM thumbnails)"""


def test_the_second_writer_is_told(tmp_path, pictures, embedder):
    paths = pictures(2)
    build(tmp_path / "index", paths[:1], embedder)
    with (
        writing(tmp_path / "index", "x"),
        pytest.raises(StorageError, match="Another vr is writing"),
    ):
        build(tmp_path / "index", paths, embedder)
    build(tmp_path / "index", paths, embedder)
    assert info(tmp_path / "index").vectors == 2


def test_a_file_in_the_way_of_the_index_is_a_storage_error(tmp_path, pictures, embedder):
    (tmp_path / "index").write_text("in the way")
    with pytest.raises(StorageError, match="a file is in the way"):
        build(tmp_path / "index", pictures(1), embedder)


def test_a_disk_that_fills_up_under_the_catalog_keeps_the_old_index(
    tmp_path, pictures, embedder, monkeypatch
):
    build(tmp_path / "index", pictures(2), embedder)
    from indexes.catalog import writer as module

    def small_disk(index):
        connection = original(index)
        connection.execute("PRAGMA max_page_count = 20")
        return connection

    original = module.connect_to_write
    monkeypatch.setattr(module, "connect_to_write", small_disk)
    with pytest.raises(StorageError, match="disk is full"):
        build(tmp_path / "index", pictures(range(10, 60)), embedder)
    monkeypatch.undo()
    assert info(tmp_path / "index").vectors == 2


def test_a_disk_that_fills_up_under_a_segment_keeps_the_old_index(
    tmp_path, pictures, embedder, monkeypatch, rows
):
    build(tmp_path / "index", pictures(2), embedder)

    def full(writer, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("indexes.vectors.flat.FlatWriter._write", full)
    with pytest.raises(StorageError, match="disk is full"):
        build(tmp_path / "index", pictures([9]), embedder)
    monkeypatch.undo()
    assert info(tmp_path / "index").vectors == 2
    assert rows(tmp_path / "index", COUNTS) == [(2, 2, 1, 2, 2)]


@pytest.mark.parametrize("kilobytes", [1, 40])
def test_files_that_may_not_grow_keep_the_old_index(
    tmp_path, pictures, embedder, rows, largest_file, kilobytes
):
    """The real writers: at 1 kB the segment finds no room, at 40 kB the catalog's log.

    A segment whose commit failed stays for the next build to sweep: a failed flush does not
    tell whether the commit is on the disk.
    """
    index = tmp_path / "index"
    build(index, pictures(2), embedder)
    many = pictures(range(10, 60 if kilobytes > 1 else 30))
    with largest_file(kilobytes * 1024), pytest.raises(StorageError, match="Cannot"):
        build(index, many, embedder)
    assert not [path for path in (index / "segments").iterdir() if path.name[0] == "."]
    assert info(index).vectors == 2
    assert rows(index, COUNTS) == [(2, 2, 1, 2, 2)]
    assert build(index, many, embedder).vectors == len(many)
    left = {path.name.split(".")[0] for path in (index / "segments").iterdir()}
    assert left == {stem for (stem,) in rows(index, "SELECT stem FROM segments")}


def test_orphan_segments_whole_and_half_are_swept_and_nothing_else(tmp_path, pictures, embedder):
    build(tmp_path / "index", pictures(2), embedder)
    segments = tmp_path / "index" / "segments"
    kept = set(segments.iterdir())
    orphans = ("0123456789abcdef.flat.faiss", "0123456789abcdef.0a1b2c3d.index.faiss")
    for name in (*orphans, ".new.flat.faiss.0a1b2c3d-7.x1y2"):
        (segments / name).write_bytes(b"left over")
    (segments / "README").write_text("mine")
    (segments / "0123456789abcdef").mkdir()
    build(tmp_path / "index", pictures([5]), embedder)
    paths = set(segments.iterdir())
    assert kept < paths
    assert {"README", "0123456789abcdef"} < {path.name for path in paths}
    assert len(paths) == 2 * len(kept) + 2
