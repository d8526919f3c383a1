"""Segments on the disk and the merged search, against plain NumPy."""

import hashlib

import faiss
import numpy as np
import pytest

from indexes.info import measure_recall
from indexes.vectors import Match, Segment, Vectors, write_segment
from toolkit.errors import MismatchError, StorageError

DIM = 24


def unit(count, seed=0, dim=DIM):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def stored(folder, *blocks):
    """Segments with ids 5, 6, ... from blocks of rows."""
    return [(5 + i, write_segment(folder, block)) for i, block in enumerate(blocks)]


def naive(blocks, query):
    """All (segment, row) by falling inner product."""
    scored = [
        (-float(np.dot(row.astype(np.float64), query)), 5 + i, at)
        for i, block in enumerate(blocks)
        for at, row in enumerate(block)
    ]
    return [(segment, at) for _, segment, at in sorted(scored)]


def places(matches):
    return [(match.segment, match.row) for match in matches]


def test_a_segment_is_named_by_its_bytes_and_opens_in_plain_faiss(tmp_path):
    rows = unit(7)
    segment = write_segment(tmp_path, rows)
    content = (tmp_path / segment.file).read_bytes()
    assert segment.sha256 == hashlib.sha256(content).hexdigest()
    assert segment.file == segment.sha256[:16] + ".faiss"
    assert (segment.vectors, segment.kind) == (7, "flat")
    opened = faiss.read_index(str(tmp_path / segment.file))
    assert opened.metric_type == faiss.METRIC_INNER_PRODUCT
    np.testing.assert_array_equal(opened.reconstruct_n(0, 7), rows)
    assert [path.name for path in tmp_path.iterdir()] == [segment.file]


@pytest.mark.parametrize("sizes", [(50,), (1, 30, 7), (3, 3, 3)])
def test_search_over_segments_equals_a_naive_loop(tmp_path, sizes):
    blocks = [unit(size, seed=i) for i, size in enumerate(sizes)]
    vectors = Vectors(tmp_path, stored(tmp_path, *blocks), DIM)
    for query in unit(20, seed=99):
        found = vectors.nearest(query, 8)
        assert places(found) == naive(blocks, query)[:8]
        for match in found:
            expected = blocks[match.segment - 5][match.row] @ query
            assert match.score == pytest.approx(expected, abs=1e-6)


def test_a_count_over_the_size_gives_what_there_is(tmp_path):
    vectors = Vectors(tmp_path, stored(tmp_path, unit(2), unit(1, 1)), DIM)
    assert len(vectors.nearest(unit(1, 2)[0], 100)) == 3


def test_no_segments_find_nothing(tmp_path):
    vectors = Vectors(tmp_path, [], DIM)
    assert len(vectors) == 0
    assert vectors.nearest(unit(1)[0], 10) == []
    assert list(vectors.widening(unit(1)[0], 4)) == []


def test_equal_vectors_stand_in_the_order_of_their_rows(tmp_path):
    row = unit(1)
    vectors = Vectors(tmp_path, stored(tmp_path, np.repeat(row, 3, 0), row), DIM)
    assert places(vectors.nearest(row[0], 4)) == [(5, 0), (5, 1), (5, 2), (6, 0)]


def test_widening_gives_every_vector_once_in_order(tmp_path):
    blocks = [unit(40, 1), unit(25, 2)]
    vectors = Vectors(tmp_path, stored(tmp_path, *blocks), DIM)
    query = unit(1, 3)[0]
    assert places(vectors.widening(query, 1)) == naive(blocks, query)


def test_widening_over_many_equal_vectors_loses_and_doubles_none(tmp_path):
    vectors = Vectors(tmp_path, stored(tmp_path, np.repeat(unit(1), 70, 0)), DIM)
    found = places(vectors.widening(unit(1)[0], 1))
    assert sorted(found) == [(5, row) for row in range(70)]


def test_widening_looks_up_no_more_than_is_taken(tmp_path, monkeypatch):
    vectors = Vectors(tmp_path, stored(tmp_path, unit(64)), DIM)
    depths = []
    nearest = vectors.nearest
    monkeypatch.setattr(vectors, "nearest", lambda q, n: depths.append(n) or nearest(q, n))
    matches = vectors.widening(unit(1, 9)[0], 4)
    for _ in range(4):
        next(matches)
    assert depths == [4]
    next(matches)
    assert depths == [4, 16]


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "gone", "foreign"])
def test_a_damaged_segment_is_named(tmp_path, harm):
    ((key, segment),) = stored(tmp_path, unit(5))
    path = tmp_path / segment.file
    content = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        harmed = {"flip": flipped, "cut": content[:-4], "empty": b"", "foreign": b"x" * 99}
        path.write_bytes(harmed[harm])
    with pytest.raises(MismatchError, match=segment.file):
        Vectors(tmp_path, [(key, segment)], DIM)


def test_a_segment_of_another_size_than_the_catalog_says_is_named(tmp_path):
    ((key, segment),) = stored(tmp_path, unit(5))
    wrong = Segment(segment.file, segment.sha256, 6, segment.kind)
    with pytest.raises(MismatchError, match="expects 6 vectors of 24"):
        Vectors(tmp_path, [(key, wrong)], DIM)
    with pytest.raises(MismatchError, match="of 25 numbers"):
        Vectors(tmp_path, [(key, segment)], DIM + 1)


def test_a_full_disk_leaves_no_segment(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        write_segment(tmp_path, unit(3))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sizes", [(1,), (4,), (300, 100)])
def test_flat_search_has_recall_1(tmp_path, sizes):
    blocks = [unit(size, i) for i, size in enumerate(sizes)]
    assert measure_recall(Vectors(tmp_path, stored(tmp_path, *blocks), DIM)) == 1.0


def test_recall_of_equal_vectors_is_1(tmp_path):
    assert measure_recall(Vectors(tmp_path, stored(tmp_path, np.repeat(unit(1), 30, 0)), DIM)) == 1


def test_recall_of_no_vectors_is_unknown(tmp_path):
    assert measure_recall(Vectors(tmp_path, [], DIM)) is None


def test_recall_sees_a_search_that_misses(tmp_path, monkeypatch):
    """Half of the answers replaced by the worst vector must cost half of the recall."""
    block = unit(200)
    vectors = Vectors(tmp_path, stored(tmp_path, block), DIM)
    nearest = vectors.nearest

    def bad(query, count):
        worst = int(np.argmin(block @ query))
        return nearest(query, count)[: count // 2] + [Match(0.0, 5, worst)] * (count // 2)

    monkeypatch.setattr(vectors, "nearest", bad)
    assert measure_recall(vectors) == pytest.approx(0.5, abs=0.01)


def test_widening_ends_where_an_approximate_segment_hides_vectors(tmp_path):
    """An inverted file that looks into 1 of 8 cells never gives what lies in the others."""
    rows = unit(400)
    vectors = Vectors(tmp_path, stored(tmp_path, rows), DIM)
    quantizer = faiss.IndexFlatIP(DIM)
    approximate = faiss.IndexIVFFlat(quantizer, DIM, 8, faiss.METRIC_INNER_PRODUCT)
    approximate.train(rows)
    approximate.add(rows)
    vectors._loaded = [(5, approximate)]
    query = unit(1, 9)
    _, expected = approximate.search(query, 400)
    found = places(vectors.widening(query[0], 4))
    assert found == [(5, int(row)) for row in expected[0] if row >= 0]
    assert 0 < len(found) < 400
