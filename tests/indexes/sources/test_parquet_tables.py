"""Vectors in a .parquet, of any list type, with columns of what each row is."""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexes.sources import Reading, Watch, find_sources, read_patches
from indexes.sources.table_rows import CHUNK_ROWS
from toolkit.errors import InputError, MismatchError, MissingError

DIM = 16


def vectors_of(count, seed=1):
    return (3 * np.random.default_rng(seed).standard_normal((count, DIM))).astype(np.float32)


def unit_of(vectors):
    wide = vectors.astype(np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


def lists(vectors, kind=pa.float32()):  # noqa: B008 - a constant
    return pa.array([[float(v) for v in row] for row in vectors], pa.list_(kind))


@pytest.fixture
def table(tmp_path):
    """table(columns, **options of pyarrow) writes v.parquet."""

    def make(columns, **options):
        pq.write_table(pa.table(columns), tmp_path / "v.parquet", **options)
        return tmp_path / "v.parquet"

    return make


def stream(path, embedder, watch=None):
    (source,) = find_sources([path])
    told = {} if watch is None else {"watch": watch}
    return list(read_patches(source, source.sha256(), Reading(), embedder, **told))


def names(count):
    return [f"p{i}.jpg" for i in range(count)]


def check(patches, vectors):
    found = np.stack([patch.vector for patch in patches])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, unit_of(vectors), atol=1e-6)
    assert [patch.origin.path for patch in patches] == names(len(vectors))


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.large_list(pa.float32()),
     pa.list_(pa.float32(), DIM), pa.list_(pa.float64(), DIM)],
    ids=str,
)  # fmt: skip
def test_any_kind_of_list_is_read(table, embedder, kind):
    vectors = vectors_of(7)
    columns = {"source": names(7), "vector": lists(vectors).cast(kind)}
    check(stream(table(columns), embedder), vectors)


def test_half_floats_are_read(table, embedder):
    vectors = vectors_of(5).astype(np.float16)
    values = pa.array(vectors.reshape(-1))
    columns = {"source": names(5), "vector": pa.FixedSizeListArray.from_arrays(values, DIM)}
    check(stream(table(columns), embedder), vectors)


@pytest.mark.parametrize("group", [1000, CHUNK_ROWS, 100_000])
@pytest.mark.parametrize("fixed", [False, True], ids=["lists", "fixed"])
def test_row_groups_and_batches_keep_rows_and_names_together(table, embedder, group, fixed):
    count = 2 * CHUNK_ROWS + 7
    vectors = vectors_of(count)
    flat = pa.array(vectors.reshape(-1))
    offsets = pa.array(np.arange(0, flat.__len__() + 1, DIM, dtype=np.int32))
    column = (
        pa.FixedSizeListArray.from_arrays(flat, DIM)
        if fixed
        else pa.ListArray.from_arrays(offsets, flat)
    )
    shares = []
    path = table({"vector": column, "source": names(count)}, row_group_size=group)
    patches = stream(path, embedder, Watch(shares.append, lambda note: None))
    check(patches, vectors)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_every_column_reaches_its_patch(table, embedder):
    digest = "0123456789abcdef" * 4
    notes = []
    columns = {
        "vector": lists(vectors_of(3)),
        "source": pa.array(["a.mp4", "a.mp4", "p.jpg"]).dictionary_encode(),
        "sha256": [digest, digest, None],
        "time_s": pa.array([1.5, float("nan"), None], pa.float32()),
        "x0": pa.array([1, 2, None], pa.int64()),
        "y0": [2.0, 3.0, None],
        "x1": [30.06, 9.0, None],
        "y1": [40.0, 9.0, float("nan")],
        "track": pa.array([7, None, 8], pa.int32()),
        "camera": pa.array(["gate", "", None], pa.large_string()),
        "label": pa.array([None, None, None], pa.null()),
        "weather": ["a", "b", "c"],
    }
    patches = stream(table(columns), embedder, Watch(lambda share: None, notes.append))
    rows = [
        (p.origin.path, p.origin.kind, p.origin.sha256, p.origin.camera, p.time_s, p.box, p.track,
         p.label)
        for p in patches
    ]  # fmt: skip
    assert rows == [
        ("a.mp4", "video", digest, "gate", 1.5, (1, 2, 30.1, 40), f"{digest}:7", None),
        ("a.mp4", "image", digest, None, None, (2, 3, 9, 9), None, None),
        ("p.jpg", "image", None, None, None, (0, 0, 0, 0), "p.jpg:8", None),
    ]
    assert "nothing is done with weather" in notes[1]


def test_the_model_that_the_file_names_has_to_be_the_one_of_the_index(
    table, embedder, other_embedder
):
    notes = []
    content = pa.table({"source": names(2), "vector": lists(vectors_of(2))})
    marked = content.replace_schema_metadata({"fingerprint": embedder.card.fingerprint})
    path = table({"source": [], "vector": []})
    pq.write_table(marked, path)
    assert len(stream(path, embedder, Watch(lambda share: None, notes.append))) == 2
    assert notes == []
    with pytest.raises(MismatchError, match="are from the model"):
        stream(path, other_embedder)


def with_vector(rows):
    return {"source": names(len(rows)), "vector": pa.array(rows, pa.list_(pa.float32()))}


ONE = [1.0] * DIM
BAD_ROWS = {
    "missing": ([ONE, None], r"Row 1 .*has no vector"),
    "short": ([ONE, ONE[1:]], r"Row 1 .*has 15 numbers, those before it have 16"),
    "none": ([[], []], r"Row 0 .*has no numbers"),
    "NaN": ([ONE, [float("nan"), *ONE[1:]]], r"Row 1 .*holds NaN"),
    "a number missing": ([ONE, [None, *ONE[1:]]], r"Row 1 .*holds NaN"),
    "infinite": ([ONE, [float("inf"), *ONE[1:]]], r"Row 1 .*holds an infinite"),
    "zero": ([ONE, [0.0] * DIM], r"Row 1 .*is zero"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_row_that_is_no_vector_is_refused_by_its_number(table, embedder, kind):
    rows, words = BAD_ROWS[kind]
    with pytest.raises(InputError, match=words):
        stream(table(with_vector(rows)), embedder)


def test_a_row_of_another_length_in_a_later_batch_is_refused(table, embedder):
    rows = [ONE] * CHUNK_ROWS + [ONE[1:]] * 3
    with pytest.raises(InputError, match=rf"Row {CHUNK_ROWS} .*15 numbers"):
        stream(table(with_vector(rows)), embedder)


def test_vectors_of_another_dimension_are_a_mismatch(table, embedder):
    with pytest.raises(MismatchError, match="have 15 numbers"):
        stream(table(with_vector([ONE[1:]] * 2)), embedder)


BAD_COLUMNS = {
    "no vector": {"source": ["a"]},
    "no source": {"vector": lists(vectors_of(1))},
    "no rows": {"source": pa.array([], pa.string()), "vector": lists(vectors_of(0))},
    "whole numbers": {"source": ["a"], "vector": pa.array([[1, 2]])},
    "texts": {"source": ["a"], "vector": pa.array([["1"]])},
    "a number": {"source": ["a"], "vector": [1.0]},
    "bytes as source": {"source": [b"a"], "vector": lists(vectors_of(1))},
    "text as time": {"source": ["a"], "vector": lists(vectors_of(1)), "time_s": ["soon"]},
    "floats as track": {"source": ["a"], "vector": lists(vectors_of(1)), "track": [1.5]},
}


@pytest.mark.parametrize("kind", BAD_COLUMNS)
def test_what_is_no_table_of_vectors_is_refused(table, embedder, kind):
    with pytest.raises(InputError, match=r"v\.parquet is no table of vectors"):
        stream(table(BAD_COLUMNS[kind]), embedder)


def test_a_row_without_a_source_is_refused(table, embedder):
    columns = {"source": pa.array(["a", None]), "vector": lists(vectors_of(2))}
    with pytest.raises(InputError, match=r"Row 1 .*what its source is"):
        stream(table(columns), embedder)


def test_damaged_files_are_refused(tmp_path, table, embedder):
    path = table({"source": names(3000), "vector": lists(vectors_of(3000))})
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[1000:9000] = bytes(8000)
    for content in (b"", b"PAR1", b"text", whole[:-1], whole[: len(whole) // 2], bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"v\.parquet is no table of vectors"):
            stream(path, embedder)


def test_without_pyarrow_the_install_line_is_named(table, embedder, monkeypatch):
    path = table({"source": names(1), "vector": lists(vectors_of(1))})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingError) as raised:
        stream(path, embedder)
    assert "vr-toolkit[parquet]" in raised.value.mend
