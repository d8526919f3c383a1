"""Indexes over exact vectors: what is trained, what is used again, what is refused."""

from dataclasses import replace

import faiss
import numpy as np
import pytest

from indexes.vectors.approximate import BuildOptions, build_segment, index_segment
from indexes.vectors.files import base_suffix
from indexes.vectors.keys import core_of, make_base
from indexes.vectors.segment import open_segment
from indexes.vectors.train import fill, no_progress, train
from indexes.vectors.verify import verify_segment
from toolkit.errors import InputError, StorageError, UsageError

DIM = 24


def test_a_flat_plan_leaves_the_segment_as_it_is(tmp_path, make_vectors, write_flat, plan_of):
    flat = write_flat(make_vectors(20))
    assert index_segment(tmp_path, flat, DIM, plan_of("Flat")) is flat


def test_building_from_a_mapped_file_is_as_from_memory(tmp_path, make_vectors, make_ids, plan_of):
    vectors = make_vectors(500)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    first = build_segment(tmp_path / "a", vectors, make_ids(500), plan_of("IVF8,Flat"))
    second = build_segment(tmp_path / "b", mapped, make_ids(500), plan_of("IVF8,Flat"))
    assert first == second


def test_vectors_that_are_none_build_nothing(tmp_path, make_vectors, make_ids, plan_of):
    vectors = make_vectors(100)
    vectors[[17, 60]] = np.nan
    with pytest.raises(InputError, match=r"Rows 17, 60 are not of length 1, or not finite"):
        build_segment(tmp_path, vectors, make_ids(100), plan_of("IVF8,Flat"))
    assert list(tmp_path.iterdir()) == []


def test_two_indexes_of_the_same_vectors_lie_beside_each_other(
    tmp_path, make_vectors, write_flat, plan_of
):
    """Whoever still has the old one open, or a catalog that still names it, is not disturbed."""
    flat = write_flat(make_vectors(400))
    first = index_segment(tmp_path, flat, DIM, plan_of("IVF8,Flat"))
    before = open_segment(tmp_path, first, DIM)
    second = index_segment(tmp_path, flat, DIM, plan_of("HNSW8"))
    assert first.stem == second.stem == flat.stem
    assert base_suffix(first.files) != base_suffix(second.files)
    for segment in (flat, first, second):
        assert verify_segment(tmp_path, segment, DIM) == []
    queries = make_vectors(3, seed=1)
    after = open_segment(tmp_path, first, DIM)
    np.testing.assert_array_equal(before.search(queries, 5)[1], after.search(queries, 5)[1])


@pytest.mark.parametrize("key", ["IVF8,PQ6np", "IVF8,SQ8", "OPQ6_24,IVF8_HNSW8,PQ6np"])
def test_an_index_that_grows_is_not_trained_again_and_only_the_new_is_added(
    tmp_path, make_vectors, make_ids, plan_of, key, monkeypatch
):
    vectors, rows = make_vectors(900), make_ids(900)
    old = build_segment(tmp_path, vectors[:500], rows[:500], plan_of(key))
    previous = open_segment(tmp_path, old, DIM)
    added = []

    def counted(index, vectors, first, on_progress):
        added.append(len(vectors) - first)
        fill(index, vectors, first, on_progress)

    monkeypatch.setattr("indexes.vectors.approximate.fill", counted)
    monkeypatch.setattr("indexes.vectors.approximate.train", None)
    options = BuildOptions(previous=previous)
    grown = build_segment(tmp_path, vectors, rows, plan_of(key), options)
    assert added == [400]
    assert grown.settings["trained_on"] == 500
    assert verify_segment(tmp_path, grown, DIM) == []
    # The same as all of it added to the same training.
    monkeypatch.undo()
    again = previous.base.copy()
    again.reset()
    again.add(vectors)
    opened = open_segment(tmp_path, grown, DIM)
    expected = again.search(vectors[:20], 10)[1]
    np.testing.assert_array_equal(opened.base.index.search(vectors[:20], 10)[1], expected)
    assert len(previous.base) == 500


def test_where_rows_were_removed_the_training_alone_is_used_again(
    tmp_path, make_vectors, make_ids, plan_of, monkeypatch
):
    vectors, rows = make_vectors(600), make_ids(600)
    old = build_segment(tmp_path, vectors, rows, plan_of("IVF8,PQ6np"))
    previous = open_segment(tmp_path, old, DIM)
    monkeypatch.setattr("indexes.vectors.approximate.train", None)
    kept = np.delete(np.arange(600), [3, 100])
    options = BuildOptions(previous=previous)
    less = build_segment(tmp_path, vectors[kept], rows[kept], plan_of("IVF8,PQ6np"), options)
    opened = open_segment(tmp_path, less, DIM)
    assert len(opened.base) == 598
    assert opened.search(vectors[101:102], 1)[1].tolist() == [[99]]
    assert less.settings["trained_on"] == 600


@pytest.mark.parametrize("what", ["doubled", "other key", "flat", "graph"])
def test_what_does_not_fit_is_trained_anew(
    tmp_path, make_vectors, make_ids, plan_of, what, monkeypatch
):
    vectors, rows = make_vectors(1000), make_ids(1000)
    key = {"other key": "IVF4,Flat", "flat": "Flat", "graph": "HNSW8"}.get(what, "IVF8,Flat")
    new_key = "HNSW8" if what == "graph" else "IVF8,Flat"
    count = 500 if what == "doubled" else 700
    old = build_segment(tmp_path, vectors[:count], rows[:count], plan_of(key))
    trained = []

    def counted(key, vectors, held_out):
        trained.append(len(vectors))
        return train(key, vectors, held_out)

    monkeypatch.setattr("indexes.vectors.approximate.train", counted)
    options = BuildOptions(previous=open_segment(tmp_path, old, DIM))
    new = build_segment(tmp_path, vectors, rows, plan_of(new_key), options)
    assert trained == [1000]
    assert new.settings["trained_on"] == 1000


def test_progress_tells_training_adding_and_measuring(tmp_path, make_vectors, write_flat, plan_of):
    told = []
    options = BuildOptions(on_progress=lambda *what: told.append(what))
    index_segment(tmp_path, write_flat(make_vectors(300)), DIM, plan_of("IVF8,Flat"), options)
    assert told == [("training", 0, 300), ("adding", 300, 300), ("measuring", 300, 300)]


def test_a_full_disk_leaves_the_exact_segment_alone(
    tmp_path, make_vectors, write_flat, plan_of, largest_file
):
    """FAISS writes through our hands, so the system's own error arrives."""
    flat = write_flat(make_vectors(600))
    with largest_file(20_000), pytest.raises(StorageError, match="ulimit -f"):
        index_segment(tmp_path, flat, DIM, plan_of("IVF8,Flat"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(flat.names)
    assert verify_segment(tmp_path, flat, DIM) == []


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("garbage", "FAISS makes no index of 24 numbers of it"),
        ("", "FAISS makes no index of 24 numbers of it"),
        ("IVF10,PQ5np", "FAISS makes no index of 24 numbers of it"),
        ("IVF99999999999,Flat", "FAISS makes no index of 24 numbers of it"),
        ("LSH", "FAISS makes no index of 24 numbers of it"),
        ("BIVF16", "FAISS makes no index of 24 numbers of it"),
        ("HNSW8_PQ8", "it does not compare by inner product"),
        ("IDMap,Flat", "it is no flat, HNSW or inverted index"),
        ("IVF16,PQ8np,RFlat", "it is no flat, HNSW or inverted index"),
        ("OPQ8_16,Flat", "it is no flat, HNSW or inverted index"),
        ("SQ8", "it is no flat, HNSW or inverted index"),
        ("PQ8", "it is no flat, HNSW or inverted index"),
        ("NSG16", "it is no flat, HNSW or inverted index"),
        ("IVF1,Flat", "it has 1 cells, 2 to 1048576 are possible"),
        ("IVF2000000,Flat", "it has 2000000 cells, 2 to 1048576 are possible"),
        ("HNSW1", "it has 1 links, 2 to 512 are possible"),
        ("HNSW100000", "it has 100000 links, 2 to 512 are possible"),
    ],
)
def test_a_key_that_cannot_serve_is_refused_with_a_reason(key, reason):
    with pytest.raises(UsageError) as caught:
        make_base(key, DIM)
    assert reason in caught.value.problem
    assert repr(key) in caught.value.problem
    assert "IVF1024,Flat" in caught.value.mend


def test_polysemous_training_is_off_whatever_the_key_says():
    assert not core_of(make_base("OPQ6_24,IVF8,PQ6", DIM)).do_polysemous_training


@pytest.mark.parametrize("key", ["IVF64,Flat", "OPQ6_24,IVF64,PQ6np"])
def test_fewer_vectors_than_cells_or_codes(tmp_path, make_vectors, write_flat, plan_of, key):
    flat = write_flat(make_vectors(40))
    with pytest.raises(UsageError, match=r"40 vectors are too few \(4 of them"):
        index_segment(tmp_path, flat, DIM, plan_of(key))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(flat.names)


def test_one_vector_can_be_a_graph(tmp_path, make_vectors, write_flat, plan_of):
    segment = index_segment(tmp_path, write_flat(make_vectors(1)), DIM, plan_of("HNSW8"))
    assert open_segment(tmp_path, segment, DIM).search(make_vectors(1), 2)[1].tolist() == [[0, -1]]
    assert "recall@10" not in segment.settings


def test_held_out_vectors_are_not_trained_on(make_vectors):
    """With so few vectors the sample is all that is left: a far one must not move a cell."""
    vectors = make_vectors(200)
    vectors[50] = -vectors[51]
    trained = train("IVF4,Flat", vectors, np.array([50]))
    without = train("IVF4,Flat", np.delete(vectors, 50, 0), np.empty(0, np.int64))
    own = [core_of(index).quantizer.reconstruct_n(0, 4) for index in (trained, without)]
    assert not np.allclose(own[0], 0)
    assert np.abs(own[0] @ vectors[50]).max() < 0.99


def test_small_and_large_dimensions(tmp_path, make_ids, plan_of, make_vectors):
    from indexes.plan.keys import codes_shape

    for dim in (2, 8, 30, 1030):
        vectors = make_vectors(400, dim)
        key = codes_shape(400, dim).key
        plan = replace(plan_of(key), recall=0.8)
        segment = build_segment(tmp_path, vectors, make_ids(400), plan)
        assert segment.key == key
        assert segment.settings["recall@10"] > 0.8


def test_filling_in_pieces_is_filling_at_once(make_vectors, monkeypatch):
    vectors = make_vectors(500)
    whole = train("IVF8,PQ6np", vectors, np.empty(0, np.int64))
    parts = faiss.clone_index(whole)
    whole.add(vectors)
    monkeypatch.setattr("indexes.vectors.train._ADDED", 37)
    fill(parts, vectors, 0, no_progress)
    assert faiss.serialize_index(whole).tobytes() == faiss.serialize_index(parts).tobytes()
