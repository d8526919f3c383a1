"""A damaged, newer, foreign or missing index is named; nothing is guessed."""

import sqlite3

import numpy as np
import pytest

from indexes.build.build import build
from indexes.build.compact import compact
from indexes.build.remove import remove
from indexes.build.settings import BuildSettings
from indexes.build.verify import verify
from indexes.info import info
from indexes.search.index import open_index
from toolkit.errors import InputError, MismatchError, StorageError

READERS = [open_index, info]


@pytest.fixture
def index(tmp_path, pictures, embedder):
    build(tmp_path / "index", pictures(40), embedder)
    return tmp_path / "index"


@pytest.mark.parametrize("read", READERS)
def test_no_index_is_an_input_error_that_says_how_to_make_one(tmp_path, read):
    for folder in (tmp_path / "gone", tmp_path):
        with pytest.raises(InputError, match="no index") as caught:
            read(folder)
        assert "vr index build" in caught.value.mend
        assert not (folder / "catalog.sqlite").exists()


@pytest.mark.parametrize("read", READERS)
def test_an_empty_catalog_file_is_no_index(tmp_path, read):
    (tmp_path / "catalog.sqlite").touch()
    with pytest.raises(InputError, match="no index"):
        read(tmp_path)


def test_an_empty_catalog_file_is_filled_by_a_build(tmp_path, pictures, embedder):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "catalog.sqlite").touch()
    build(tmp_path / "index", pictures(2), embedder)
    assert info(tmp_path / "index").vectors == 2


def harm_catalog(path, harm):
    content = path.read_bytes()
    if harm == "text":
        path.write_text("no database\n" * 200)
    elif harm == "cut":
        path.write_bytes(content[: len(content) // 2 - 100])
    elif harm == "scribbled":
        path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    else:
        connection = sqlite3.connect(path)
        connection.execute({"tables": "DROP TABLE segments", "model": "DELETE FROM meta"}[harm])
        connection.commit()
        connection.close()


HARMS = ["text", "cut", "scribbled", "tables", "model"]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("read", READERS)
def test_a_damaged_catalog_is_named(index, read, harm):
    harm_catalog(index / "catalog.sqlite", harm)
    with pytest.raises(MismatchError, match=r"catalog\.sqlite is damaged"):
        read(index)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("harm", ["text", "scribbled"])
def test_a_build_does_not_touch_a_damaged_catalog(index, pictures, embedder, harm, overwrite):
    path = index / "catalog.sqlite"
    harm_catalog(path, harm)
    before = path.read_bytes()
    with pytest.raises(MismatchError, match=r"catalog\.sqlite is damaged") as caught:
        build(index, pictures([50]), embedder, BuildSettings(overwrite=overwrite))
    assert "delete its folder" in caught.value.mend
    assert path.read_bytes() == before


def test_a_model_card_that_is_no_card_is_named(index):
    for value, reason in (("{", "no JSON"), ("{}", "version")):
        connection = sqlite3.connect(index / "catalog.sqlite")
        connection.execute("UPDATE meta SET value = ? WHERE key = 'card'", (value,))
        connection.commit()
        connection.close()
        with pytest.raises(MismatchError, match=reason):
            open_index(index)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_newer_catalog_is_refused_and_kept(index, pictures, embedder, overwrite):
    connection = sqlite3.connect(index / "catalog.sqlite")
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    before = (index / "catalog.sqlite").read_bytes()
    for read in READERS:
        with pytest.raises(MismatchError, match="version 3; this vr reads version 2"):
            read(index)
    with pytest.raises(MismatchError, match="version 3"):
        build(index, pictures([50]), embedder, BuildSettings(overwrite=overwrite))
    assert (index / "catalog.sqlite").read_bytes() == before


def file_of(index, suffix):
    (path,) = (index / "segments").glob(f"*{suffix}")
    return path


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("suffix", [".flat.faiss", ".rows.npy"])
@pytest.mark.parametrize("harm", ["cut", "header", "gone"])
def test_a_damaged_segment_is_named(index, read, suffix, harm):
    path = file_of(index, suffix)
    content = path.read_bytes()
    path.unlink()
    if harm != "gone":
        path.write_bytes(content[:-9] if harm == "cut" else b"\xff" * 9 + content[9:])
    with pytest.raises(MismatchError, match=rf"{path.name} is damaged"):
        read(index)


def test_overwrite_mends_an_index_with_a_damaged_segment(index, pictures, embedder):
    file_of(index, ".flat.faiss").write_bytes(b"harm")
    build(index, pictures(3), embedder, BuildSettings(overwrite=True))
    assert info(index).vectors == 3


def test_a_catalog_that_another_program_locks_is_told(index, pictures, embedder, monkeypatch):
    monkeypatch.setattr("indexes.catalog.schema._BUSY_S", 0.05)
    other = sqlite3.connect(index / "catalog.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="Another vr is writing"):
        build(index, pictures([50]), embedder)
    other.close()


def test_a_mistake_of_the_program_is_no_user_error(tmp_path):
    from indexes.catalog.schema import catalog_errors

    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError, match="syntax"), catalog_errors(tmp_path):
        connection.execute("SELEC 1")
    with pytest.raises(sqlite3.IntegrityError), catalog_errors(tmp_path):
        connection.executescript("CREATE TABLE t (x UNIQUE); INSERT INTO t VALUES (1), (1)")
    connection.close()


@pytest.mark.parametrize("card", ["[" * 60_000, "{", "[]", "7"])
@pytest.mark.parametrize("read", READERS)
def test_a_card_in_the_catalog_that_is_none_is_named(index, read, card):
    connection = sqlite3.connect(index / "catalog.sqlite")
    connection.execute("UPDATE meta SET value = ? WHERE key = 'card'", (card,))
    connection.commit()
    connection.close()
    with pytest.raises(
        MismatchError, match=r"catalog\.sqlite is damaged: its model card is no JSON"
    ):
        read(index)


FORGED = {
    "bytes for a path": "UPDATE sources SET path = x'ff00'",
    "a nul in a path": "UPDATE sources SET path = CAST(x'610062' AS TEXT)",
    "a time that is text": "UPDATE patches SET time_s = 'soon'",
    "a corner that is text": "UPDATE patches SET x0 = 'left'",
    "a corner that is infinite": "UPDATE patches SET x1 = 9e999",
    "a corner that is bytes": "UPDATE patches SET y1 = x'00'",
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_place_that_is_none_is_named(index, forged):
    with sqlite3.connect(index / "catalog.sqlite") as connection:
        connection.execute(FORGED[forged])
    connection.close()
    assert [problem for problem in verify(index).problems if "hold what is none" in problem.what]
    with (
        open_index(index) as opened,
        pytest.raises(MismatchError, match=r"catalog\.sqlite is damaged"),
    ):
        opened.search(np.ones(16, np.float32))


@pytest.mark.parametrize("forged", ["'text'", "40000000000", "NULL"])
def test_a_thumbnail_that_is_none_is_named_and_takes_no_memory(index, forged):
    with sqlite3.connect(index / "catalog.sqlite") as connection:
        connection.execute("DROP TABLE thumbnails")
        connection.execute("CREATE TABLE thumbnails (patch INTEGER PRIMARY KEY, jpeg BLOB)")
        connection.execute(f"INSERT INTO thumbnails VALUES (1, {forged})")
    connection.close()
    assert [problem for problem in verify(index).problems if "thumbnails hold" in problem.what]
    with open_index(index) as opened, pytest.raises(MismatchError, match="no picture"):
        opened.thumbnail(1)


def test_a_source_without_a_path_cannot_be_removed(index):
    with sqlite3.connect(index / "catalog.sqlite") as connection:
        connection.execute("UPDATE sources SET path = x'ff00'")
    connection.close()
    with pytest.raises(MismatchError, match="no path"):
        remove(index, ["*"])


@pytest.mark.parametrize("vectors", ["9000000000000000000", "9e999", "-3", "0", "'many'", "x'00'"])
@pytest.mark.parametrize("read", READERS)
def test_a_number_of_vectors_that_is_none_is_named(index, read, vectors):
    with sqlite3.connect(index / "catalog.sqlite") as connection:
        connection.execute(f"UPDATE segments SET vectors = {vectors}")
    connection.close()
    with pytest.raises(MismatchError, match="is no number of vectors"):
        read(index)


@pytest.mark.parametrize("read", READERS)
def test_a_size_that_is_infinite_is_named(index, read):
    with sqlite3.connect(index / "catalog.sqlite") as connection:
        connection.execute(
            "UPDATE segments SET files = "
            """replace(files, '"size_bytes": ', '"size_bytes": 1e999, "was": ')"""
        )
    connection.close()
    with pytest.raises(MismatchError, match="describes a segment wrongly"):
        read(index)


def test_damage_is_not_written_anew_as_if_it_were_whole(index):
    (flat,) = (index / "segments").glob("*.flat.faiss")
    content = bytearray(flat.read_bytes())
    content[-1] ^= 1
    flat.write_bytes(content)
    remove(index, ["*0003.png"])
    before = flat.read_bytes()
    with pytest.raises(MismatchError, match="does not hold the bytes"):
        compact(index)
    assert flat.read_bytes() == before
    assert verify(index).problems
