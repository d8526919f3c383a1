"""Vectors in a .npy, with what each row is beside it."""

import hashlib
import json
import os

import numpy as np
import pytest

from indexes.sources import Reading, Watch, find_sources, read_patches
from indexes.sources.table_rows import CHUNK_ROWS
from toolkit.embedding_files import embed_files
from toolkit.errors import InputError, MismatchError

DIM = 16


def vectors_of(count, dtype=np.float32, seed=1):
    return (3 * np.random.default_rng(seed).standard_normal((count, DIM))).astype(dtype)


def unit_of(vectors):
    """One row after the other, in Python's own numbers."""
    rows = []
    for row in vectors:
        length = sum(float(value) ** 2 for value in row) ** 0.5
        rows.append([float(value) / length for value in row])
    return np.array(rows, np.float32)


@pytest.fixture
def table(tmp_path):
    """table(vectors, csv) writes v.npy and v.csv."""

    def make(vectors, text=None, name="v"):
        np.save(tmp_path / f"{name}.npy", vectors)
        if text is not None:
            content = text if isinstance(text, bytes) else text.encode()
            (tmp_path / f"{name}.csv").write_bytes(content)
        return tmp_path / f"{name}.npy"

    return make


def stream(path, embedder, watch=None):
    (source,) = find_sources([path])
    told = {} if watch is None else {"watch": watch}
    return list(read_patches(source, source.sha256(), Reading(), embedder, **told))


def names(count):
    return "source\n" + "".join(f"p{i}.jpg\n" for i in range(count))


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_the_vectors_made_of_length_one(table, embedder, dtype, order):
    vectors = np.asarray(vectors_of(5, dtype), order=order)
    patches = stream(table(vectors, names(5)), embedder)
    found = np.stack([patch.vector for patch in patches])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, unit_of(vectors), atol=1e-7)
    assert [patch.origin.path for patch in patches] == [f"p{i}.jpg" for i in range(5)]
    assert {(p.image, p.track, p.time_s, p.label, p.box) for p in patches} == {
        (None, None, None, None, (0.0, 0.0, 0.0, 0.0))
    }
    assert {(p.origin.kind, p.origin.sha256, p.origin.camera) for p in patches} == {
        ("image", None, None)
    }


@pytest.mark.parametrize("count", [1, CHUNK_ROWS, CHUNK_ROWS + 1, 2 * CHUNK_ROWS + 7])
def test_a_table_of_several_chunks_keeps_rows_and_names_together(table, embedder, count):
    vectors = vectors_of(count)
    shares, notes = [], []
    patches = stream(table(vectors, names(count)), embedder, Watch(shares.append, notes.append))
    assert [p.origin.path for p in patches] == [f"p{i}.jpg" for i in range(count)]
    wanted = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(np.stack([p.vector for p in patches]), wanted, atol=1e-6)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) == -(-count // CHUNK_ROWS)
    assert len(notes) == 1
    assert "does not say which model" in notes[0]


LINES = """\
label,source,time_s,x0,y0,x1,y1,track,camera,sha256,weather
car,a/v.mp4,1.5,10,20,30.04,40,7,gate,{digest},sunny
,a/v.mp4,2.5,10.26,20,30,40,7,gate,{digest},
,"b, 2.mp4",0,,,,,45cddc9490be-0000-0012r1,,,
x,p.jpg,,0,0,5,5,3,,,

"""


def test_every_column_reaches_its_patch(table, embedder):
    digest = "0123456789abcdef" * 4
    notes = []
    watch = Watch(lambda share: None, notes.append)
    path = table(vectors_of(4), "\ufeff" + LINES.format(digest=digest))
    rows = [
        (p.origin.path, p.origin.kind, p.origin.sha256, p.origin.camera, p.time_s, p.box, p.track,
         p.label)
        for p in stream(path, embedder, watch)
    ]  # fmt: skip
    assert rows == [
        ("a/v.mp4", "video", digest, "gate", 1.5, (10, 20, 30, 40), f"{digest}:7", "car"),
        ("a/v.mp4", "video", digest, "gate", 2.5, (10.3, 20, 30, 40), f"{digest}:7", None),
        ("b, 2.mp4", "video", None, None, 0, (0, 0, 0, 0), "45cddc9490be-0000-0012r1", None),
        ("p.jpg", "image", None, None, None, (0, 0, 5, 5), "p.jpg:3", "x"),
    ]
    assert "nothing is done with weather" in notes[1]


def test_patches_of_one_source_share_its_origin(table, embedder):
    first, second, third = stream(table(vectors_of(3), "source\na\na\nb\n"), embedder)
    assert first.origin is second.origin
    assert third.origin.path == "b"


def test_what_vr_embed_writes_is_read_with_its_names_and_model(
    tmp_path, pictures, embedder, other_embedder
):
    paths = pictures(3)
    embed_files(embedder, paths, tmp_path / "v.npy")
    notes = []
    patches = stream(tmp_path / "v.npy", embedder, Watch(lambda share: None, notes.append))
    assert [p.origin.path for p in patches] == [str(path) for path in paths]
    np.testing.assert_allclose(
        np.stack([p.vector for p in patches]), np.load(tmp_path / "v.npy"), atol=1e-7
    )
    assert notes == []
    with pytest.raises(MismatchError, match=r"are from the model .* not from"):
        stream(tmp_path / "v.npy", other_embedder)


def test_a_csv_goes_before_the_names_of_vr_embed_and_its_model_still_counts(
    tmp_path, pictures, embedder, other_embedder
):
    embed_files(embedder, pictures(2), tmp_path / "v.npy")
    (tmp_path / "v.npy.csv").write_text("source,time_s\na.mp4,1\na.mp4,2\n")
    assert [p.time_s for p in stream(tmp_path / "v.npy", embedder)] == [1, 2]
    with pytest.raises(MismatchError, match="are from the model"):
        stream(tmp_path / "v.npy", other_embedder)


def test_what_lies_beside_a_table_is_part_of_its_identity(table, embedder):
    path = table(vectors_of(2), "source\na\nb\n")
    (before,) = find_sources([path])
    digest = before.sha256()
    path.with_suffix(".csv").write_text("source\na\nc\n")
    (after,) = find_sources([path])
    assert after.sha256() != digest
    assert after == before


def test_names_of_any_bytes_become_printable(table, embedder):
    patches = stream(table(vectors_of(2), b'source\ncaf\xe9.jpg\n"a\nb.jpg"\n'), embedder)
    assert [p.origin.path for p in patches] == ["caf\\xe9.jpg", "a\nb.jpg"]


def test_lone_surrogates_of_a_json_become_printable(tmp_path, pictures, embedder):
    embed_files(embedder, pictures(1), tmp_path / "v.npy")
    beside = tmp_path / "v.npy.json"
    content = json.loads(beside.read_text()) | {"pictures": ["\ud800.jpg"]}
    beside.write_text(json.dumps(content))
    (patch,) = stream(tmp_path / "v.npy", embedder)
    assert patch.origin.path == "\\ud800.jpg"


BAD_VECTORS = {
    "NaN": (np.nan, "holds NaN"),
    "inf": (-np.inf, "holds an infinite number"),
    "zero": (None, "its vector is zero"),
}


@pytest.mark.parametrize("kind", BAD_VECTORS)
@pytest.mark.parametrize("row", [0, CHUNK_ROWS + 3])
def test_a_vector_that_is_no_direction_is_refused_by_its_row(table, embedder, kind, row):
    value, words = BAD_VECTORS[kind]
    vectors = vectors_of(CHUNK_ROWS + 5)
    if value is None:
        vectors[row] = 0
    else:
        vectors[row, 3] = value
    with pytest.raises(InputError, match=rf"Row {row} of .*v\.npy .*{words}"):
        stream(table(vectors, names(len(vectors))), embedder)


@pytest.mark.parametrize("scale", [1e-140, 1e-30, 1e30, 1e150])
def test_very_long_and_very_short_vectors_keep_their_direction(table, embedder, scale):
    vectors = vectors_of(3, np.float64)
    patches = stream(table(vectors * scale, names(3)), embedder)
    found = np.stack([p.vector for p in patches])
    np.testing.assert_allclose(found, unit_of(vectors), atol=1e-6)


@pytest.mark.parametrize("number", [1e-160, 1e200])
def test_numbers_beyond_what_has_a_length_are_refused(table, embedder, number):
    with pytest.raises(InputError, match=r"Row 1 .*too large or too small"):
        stream(table(np.array([[1.0] * DIM, [number] * DIM]), names(2)), embedder)


BAD_LINES = {
    "no lines": ("source\n", "0 lines below its header, and there are 2 vectors"),
    "too few": ("source\na\n", "1 lines below its header, and there are 2 vectors"),
    "too many": ("source\na\nb\nc\n", "more lines below its header"),
    "no header": ("a\nb\n", "does not name the columns"),
    "empty": ("", "does not name the columns"),
    "twice": ("source,track,track\na,1,1\nb,1,1\n", "each once"),
    "utf-16": ("source\na\nb\n".encode("utf-16"), "does not name the columns"),
    "a cell too many": ("source\na\nb,c\n", "Row 1 .*2 cells, not 1"),
    "a cell too few": ("source,track\na,1\nb\n", "Row 1 .*1 cells, not 2"),
    "no source": ('source,track\na,1\n"",2\n', "Row 1 .*what its source is"),
    "no time": ("source,time_s\na,1\nb,soon\n", "Row 1 .*'soon' is no number"),
    "endless time": ("source,time_s\na,1\nb,inf\n", "Row 1 .*time is infinite"),
    "half a box": ("source,x0,y0,x1,y1\na,1,2,3,4\nb,1,2,,4\n", "Row 1 .*is no box"),
    "three columns": ("source,x0,y0,x1\na,1,2,3\nb,,,\n", "Row 0 .*is no box"),
    "box turned": ("source,x0,y0,x1,y1\na,1,2,3,4\nb,3,2,1,4\n", "Row 1 .*is no box"),
    "box of no size": ("source,x0,y0,x1,y1\na,1,2,3,4\nb,1,2,1.01,4\n", "Row 1 .*is no box"),
    "endless box": ("source,x0,y0,x1,y1\na,1,2,3,4\nb,1,2,inf,4\n", "Row 1 .*is no box"),
    "no digest": ("source,sha256\na,\nb,12ab\n", "Row 1 .*'12ab' is no SHA-256"),
    "a long cell": (f"source\na\n{'b' * 200_000}\n", "Cannot read .*field larger"),
    "a long line": (f"source\na\n{'b,' * 600_000}\n", "Row 1 .*cells, not 1"),
    "an open quote": ('source\na\n"b\n' + "x\n" * 100_000, "Cannot read .*field larger"),
}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_lines_that_do_not_fit_are_refused(table, embedder, kind):
    text, words = BAD_LINES[kind]
    with pytest.raises(InputError, match=words):
        stream(table(vectors_of(2), text), embedder)


def test_a_table_that_nothing_names_says_how_to(table, embedder):
    with pytest.raises(InputError, match="Nothing says what the rows") as raised:
        stream(table(vectors_of(2)), embedder)
    assert "there is no v.csv beside it" in raised.value.problem
    assert "a line for each row" in raised.value.mend


BAD_FILES = {
    "empty": b"",
    "text": b"no numbers",
    "cut header": b"\x93NUMPY\x01\x00",
    "zip": b"PK\x03\x04" + bytes(100),
    "wild shape": b"\x93NUMPY\x01\x00v\x00"
    + b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999, 16), }".ljust(117)
    + b"\n",
    "no literal": b"\x93NUMPY\x01\x00v\x00" + b"{'descr': __import__('os')}".ljust(117) + b"\n",
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_what_is_no_npy_is_refused(table, embedder, kind):
    path = table(vectors_of(2), names(2))
    path.write_bytes(BAD_FILES[kind])
    with pytest.raises(InputError, match=r"v\.npy is no table of vectors"):
        stream(path, embedder)


def test_a_cut_npy_is_refused(table, embedder):
    path = table(vectors_of(200), names(200))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"v\.npy is no table of vectors"):
        stream(path, embedder)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, DIM), np.int32), np.zeros(DIM, np.float32), np.zeros((2, 2, DIM), np.float32),
        np.zeros((0, DIM), np.float32), np.zeros((2, 0), np.float32),
        np.zeros((2, DIM), np.complex64), np.array([["a"]]), np.zeros(2, [("x", "f4")]),
        np.zeros((2, DIM), np.longdouble), np.array([{"a": 1}, None]),
    ],
    ids=["int", "1d", "3d", "no rows", "no numbers", "complex", "text", "fields", "long", "object"],
)  # fmt: skip
def test_what_is_no_rows_of_floats_is_refused(table, embedder, array):
    with pytest.raises(InputError, match=r"v\.npy is no table of vectors"):
        stream(table(array, names(2)), embedder)


def test_a_pickle_is_not_opened(tmp_path, embedder):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    np.save(tmp_path / "v.npy", np.array([Trap()], object), allow_pickle=True)
    (tmp_path / "v.csv").write_text(names(1))
    with pytest.raises(InputError, match="no table"):
        stream(tmp_path / "v.npy", embedder)
    assert not (tmp_path / "sprung").exists()


def test_vectors_of_another_dimension_are_a_mismatch(table, embedder):
    with pytest.raises(MismatchError, match="have 15 numbers"):
        stream(table(vectors_of(2)[:, :15], names(2)), embedder)


def damaged_json(change):
    def apply(path):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return apply


BAD_JSON = {
    "of another file": damaged_json(lambda c: c.update(sha256=hashlib.sha256().hexdigest())),
    "of another version": damaged_json(lambda c: c.update(version=2)),
    "a name short": damaged_json(lambda c: c["pictures"].pop()),
    "no list": damaged_json(lambda c: c.update(pictures="abc")),
    "no names": damaged_json(lambda c: c.update(pictures=[1, 2])),
    "nothing named": damaged_json(lambda c: c.pop("pictures")),
    "no JSON": lambda path: path.write_text("{"),
    "a list": lambda path: path.write_text("[]"),
    "nested": lambda path: path.write_text("[" * 100_000),
}


@pytest.mark.parametrize("kind", BAD_JSON)
def test_a_json_that_does_not_belong_is_a_mismatch(tmp_path, pictures, embedder, kind):
    embed_files(embedder, pictures(2), tmp_path / "v.npy")
    BAD_JSON[kind](tmp_path / "v.npy.json")
    with pytest.raises(MismatchError, match=r"v\.npy\.json"):
        stream(tmp_path / "v.npy", embedder)


def test_a_file_that_shrinks_while_it_is_read_is_told(table, embedder):
    path = table(vectors_of(3 * CHUNK_ROWS), names(3 * CHUNK_ROWS))
    (source,) = find_sources([path])
    patches = read_patches(source, source.sha256(), Reading(), embedder)
    next(patches)
    os.truncate(path, 1000)
    with pytest.raises(InputError, match="became shorter"):
        list(patches)
