"""Exact vectors on the disk: FAISS's own format, whole or not there at all."""

import hashlib
import os
import subprocess
import sys

import faiss
import numpy as np
import pytest

from indexes.vectors.files import FLAT, ROWS, flat_header
from indexes.vectors.flat import FlatWriter
from indexes.vectors.segment import open_segment
from indexes.vectors.verify import verify_segment
from toolkit.errors import InputError, MismatchError, StorageError


def test_the_files_are_what_faiss_and_numpy_write(tmp_path, make_vectors, make_ids):
    vectors, rows = make_vectors(300), make_ids(300)
    with FlatWriter(tmp_path / "segments", 24) as writer:
        for start in range(0, 300, 70):
            writer.append(vectors[start : start + 70])
        segment = writer.finish(rows)
    flat = tmp_path / "segments" / (segment.stem + FLAT)
    written = tmp_path / "segments" / (segment.stem + ROWS)
    expected = faiss.IndexFlatIP(24)
    expected.add(vectors)
    assert flat.read_bytes() == faiss.serialize_index(expected).tobytes()
    np.testing.assert_array_equal(np.load(written), rows)
    both = hashlib.sha256(flat.read_bytes() + written.read_bytes()).hexdigest()
    assert segment.stem == both[:16]
    assert (segment.vectors, segment.kind, segment.key) == (300, "flat", "Flat")
    assert sorted(path.name for path in flat.parent.iterdir()) == sorted(segment.names)
    for path in (flat, written):
        mark = segment.files[path.name.removeprefix(segment.stem)]
        assert mark.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert mark.size_bytes == path.stat().st_size
        assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("dim", [1, 2, 7, 4096])
def test_one_vector_of_any_dimension(tmp_path, make_vectors, make_ids, dim):
    vector = make_vectors(1, dim)
    with FlatWriter(tmp_path, dim) as writer:
        writer.append(vector)
        segment = writer.finish(make_ids(1))
    opened = open_segment(tmp_path, segment, dim)
    np.testing.assert_array_equal(opened.vectors, vector)
    scores, rows = opened.search(vector, 3)
    assert rows.tolist() == [[0, -1, -1]]
    assert scores[0, 0] == pytest.approx(1.0, abs=1e-6)
    assert scores[0, 1:].tolist() == [-np.inf, -np.inf]


def test_what_was_taken_back_is_not_there(tmp_path, make_vectors, make_ids, write_flat):
    vectors = make_vectors(50)
    with FlatWriter(tmp_path / "a", 24) as writer:
        writer.append(vectors[:20])
        writer.append(make_vectors(30, seed=5))
        writer.truncate(20)
        writer.append(vectors[20:])
        assert writer.rows == 50
        segment = writer.finish(make_ids(50))
    assert segment == write_flat(vectors, tmp_path / "b")


def test_all_can_be_taken_back_but_no_empty_segment_made(tmp_path, make_vectors, make_ids):
    with FlatWriter(tmp_path, 24) as writer:
        writer.append(make_vectors(3))
        writer.truncate(0)
        with pytest.raises(ValueError, match="rows of a segment"):
            writer.finish(make_ids(0))
    assert list(tmp_path.iterdir()) == []


def test_wrong_counts_are_mistakes_of_the_program(tmp_path, make_vectors, make_ids):
    with FlatWriter(tmp_path, 24) as writer:
        writer.append(make_vectors(3))
        with pytest.raises(ValueError, match="cannot be cut"):
            writer.truncate(4)
        with pytest.raises(ValueError, match="for 3 rows"):
            writer.finish(make_ids(4))


def test_no_rows_change_nothing(tmp_path, make_vectors):
    with FlatWriter(tmp_path, 24) as writer:
        writer.append(make_vectors(0))
        assert writer.rows == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38, 0.5])
def test_a_row_that_is_no_unit_vector_is_named_and_nothing_kept(tmp_path, make_vectors, bad):
    vectors = make_vectors(9)
    vectors[[4, 7], 3] = bad
    with FlatWriter(tmp_path, 24) as writer:
        writer.append(make_vectors(10))
        with pytest.raises(InputError, match=r"Rows 14, 17 are not of length 1, or not finite"):
            writer.append(vectors)
        assert writer.rows == 10


def test_many_bad_rows_are_counted(tmp_path):
    with FlatWriter(tmp_path, 24) as writer, pytest.raises(InputError) as caught:
        writer.append(np.zeros((9, 24), np.float32))
    assert "Rows 0, 1, 2, 3, 4 and 4 more are" in caught.value.problem


@pytest.mark.parametrize("shape", [(3, 23), (3, 25), (24,), (1, 3, 24)])
def test_another_dimension_is_refused(tmp_path, shape):
    with FlatWriter(tmp_path, 24) as writer, pytest.raises(MismatchError, match=r"\(N, 24\)"):
        writer.append(np.ones(shape, np.float32))


def test_a_discarded_writer_leaves_nothing(tmp_path, make_vectors):
    writer = FlatWriter(tmp_path, 24)
    writer.append(make_vectors(10))
    assert len(list(tmp_path.iterdir())) == 1
    writer.discard()
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_file_size_limit_keeps_what_was_there(tmp_path, make_vectors, make_ids, largest_file):
    """The system really refuses: what fitted before stays usable."""
    vectors = make_vectors(100)
    with FlatWriter(tmp_path, 24) as writer:
        writer.append(vectors)
        with largest_file(45 + 150 * 96 + 40), pytest.raises(StorageError, match="ulimit -f"):
            writer.append(make_vectors(100, seed=1))
        assert writer.rows == 100
        segment = writer.finish(make_ids(100))
    assert verify_segment(tmp_path, segment, 24) == []
    np.testing.assert_array_equal(open_segment(tmp_path, segment, 24).vectors, vectors)


def test_a_disk_that_fills_at_the_end_leaves_no_segment(
    tmp_path, make_vectors, make_ids, monkeypatch
):
    def full(*args):
        raise OSError(28, "No space left on device")

    with FlatWriter(tmp_path, 24) as writer:
        writer.append(make_vectors(5))
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(StorageError, match="disk is full"):
            writer.finish(make_ids(5))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a file is in the way"):
        FlatWriter(tmp_path / "file" / "segments", 24)


def test_odd_bytes_in_the_path(tmp_path, make_vectors, write_flat):
    folder = tmp_path / os.fsdecode(b"\xff \xe4 \n'\"")
    segment = write_flat(make_vectors(20), folder)
    opened = open_segment(folder, segment, 24)
    assert opened.search(make_vectors(20)[3:4], 1)[1].tolist() == [[3]]
    assert verify_segment(folder, segment, 24) == []


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from indexes.vectors.flat import FlatWriter

left = int(sys.argv[2])

def dying(real):
    def call(*args, **kw):
        global left
        left -= 1
        if not left:
            os._exit(9)
        return real(*args, **kw)
    return call

os.fsync, os.truncate = dying(os.fsync), dying(os.truncate)
Path.replace, Path.chmod = dying(Path.replace), dying(Path.chmod)
FlatWriter._write = dying(FlatWriter._write)
vectors = np.eye(8, dtype=np.float32)
with FlatWriter(Path(sys.argv[1]), 8) as writer:
    writer.append(vectors)
    writer.append(vectors[:4])
    writer.truncate(8)
    writer.finish(np.stack([np.arange(8), np.arange(8)], axis=1))
"""


def test_a_kill_at_any_step_leaves_whole_files_and_drafts_that_are_swept(tmp_path):
    eye = np.eye(8, dtype=np.float32)
    whole = flat_header(8, 8) + eye.tobytes()
    step, code = 0, 9
    while code == 9:
        step += 1
        folder = tmp_path / str(step)
        code = subprocess.run([sys.executable, "-c", KILLED, folder, str(step)]).returncode
        for path in folder.glob("[0-9a-f]*"):
            if path.name.endswith(FLAT):
                assert path.read_bytes() == whole
            else:
                assert np.load(path).shape == (8, 2)
        drafts = list(folder.glob(".*"))
        FlatWriter(folder, 8).discard()
        assert not any(path.exists() for path in drafts if path.name.startswith(".new"))
    assert code == 0
    assert step > 10
