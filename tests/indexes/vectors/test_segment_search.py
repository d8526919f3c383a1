"""Search in segments of every kind, against brute force."""

import threading

import numpy as np
import pytest

from indexes.vectors.allowed import Allowed
from indexes.vectors.approximate import BuildOptions, build_segment, index_segment
from indexes.vectors.effort import Effort
from indexes.vectors.recall import ask, held_out_rows
from indexes.vectors.segment import open_segment
from indexes.vectors.verify import verify_segment

COUNT, DIM = 1500, 24
KEYS = {
    "HNSW16": "hnsw",
    "HNSW16_SQ8": "hnsw",
    "IVF16,Flat": "ivf-flat",
    "IVF16_HNSW8,Flat": "ivf-flat",
    "IVF16,SQ8": "ivf-sq",
    "IVF16,PQ12np": "ivf-pq",
    "OPQ8_16,IVF16,PQ8": "ivf-pq",
    "PCA16,IVF16,Flat": "ivf-pq",
    "IVF16,PQ12x4fs": "ivf-pq",
    "IVF16,RaBitQ": "ivf-pq",
    "L2norm,HNSW16": "hnsw",
}
EVERYTHING = Effort(nprobe=16, ef_search=COUNT, rerank=COUNT)


@pytest.fixture(scope="module")
def built(tmp_path_factory, make_vectors, make_ids, plan_of):
    """Segments by key, each built once; and the vectors that all of them hold."""
    made = {}
    vectors = make_vectors(COUNT, DIM)

    def get(key):
        if key not in made:
            folder = tmp_path_factory.mktemp("segments")
            made[key] = (folder, build_segment(folder, vectors, make_ids(COUNT), plan_of(key)))
        return (*made[key], vectors)

    return get


@pytest.fixture
def always_approximate(monkeypatch):
    monkeypatch.setattr("indexes.vectors.effort._EXACT_NUMBERS", 0)
    monkeypatch.setattr("indexes.vectors.effort._EXACT_PART", 1e-9)


def some(share, seed=3):
    return np.random.default_rng(seed).random(COUNT) < share


@pytest.mark.parametrize("key", KEYS)
def test_a_built_segment_is_of_its_kind_whole_and_good(built, key):
    folder, segment, _ = built(key)
    assert (segment.kind, segment.key, segment.vectors) == (KEYS[key], key, COUNT)
    assert verify_segment(folder, segment, DIM) == []
    assert segment.settings["recall@10"] > 0.85
    assert segment.settings["trained_on"] == COUNT
    assert sorted(path.name for path in folder.iterdir()) == sorted(segment.names)


@pytest.mark.parametrize("key", KEYS)
def test_looking_everywhere_is_brute_force_and_scores_are_cosines(
    built, key, make_vectors, nearest_rows, always_approximate
):
    """Through the index itself, never through the exact search beside it."""
    folder, segment, vectors = built(key)
    opened = open_segment(folder, segment, DIM)
    opened.effort = EVERYTHING
    queries = np.concatenate([make_vectors(5, DIM, seed=4), vectors[:5]])
    scores, rows = opened.search(queries, 7)
    right = 0
    for query, found, given in zip(queries, rows, scores, strict=True):
        right += len(set(found) & set(nearest_rows(vectors, query, 7)))
        np.testing.assert_allclose(given, vectors[found] @ query, atol=1e-6)
    # A graph may have places that no link leads to; all else is complete.
    assert right / 70 >= (0.95 if opened.base.is_graph else 1.0)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("share", [0.9, 0.3, 0.02])
def test_the_index_itself_gives_only_what_is_allowed_and_all_that_it_is_asked_for(
    built, key, share, make_vectors, nearest_rows
):
    """Selectors: past the exact search that takes over where few rows are allowed."""
    folder, segment, vectors = built(key)
    opened = open_segment(folder, segment, DIM)
    mask = some(share)
    queries = make_vectors(10, DIM, seed=5)
    scores, rows = opened.base.search(queries, 6, EVERYTHING, Allowed(mask))
    assert mask[rows[rows >= 0]].all()
    right = 0
    for query, found, given in zip(queries, rows, scores, strict=True):
        there = found[found >= 0]
        right += len(set(there) & set(nearest_rows(vectors, query, 6, mask)))
        np.testing.assert_allclose(given[: len(there)], vectors[there] @ query, atol=1e-6)
        assert np.all(given[len(there) :] == -np.inf)
    assert right / 60 >= (0.9 if opened.base.is_graph else 1.0)


@pytest.mark.parametrize("key", ["Flat", *KEYS])
@pytest.mark.parametrize("share", [0.5, 0.05, 0.002, 0])
def test_a_filtered_search_is_brute_force_over_what_is_allowed(
    built, key, share, make_vectors, nearest_rows
):
    folder, segment, vectors = built(key)
    opened = open_segment(folder, segment, DIM)
    mask = some(share)
    for queries in (make_vectors(1, DIM, seed=6), make_vectors(20, DIM, seed=6)):
        _, rows = opened.search(queries, 5, mask)
        for query, found in zip(queries, rows, strict=True):
            expected = nearest_rows(vectors, query, 5, mask)
            assert found.tolist() == expected + [-1] * (5 - len(expected))


@pytest.mark.parametrize("key", KEYS)
def test_as_many_are_found_as_are_allowed_even_where_the_effort_is_the_least(
    built, key, make_vectors, nearest_rows, always_approximate
):
    folder, segment, _ = built(key)
    opened = open_segment(folder, segment, DIM)
    opened.effort = Effort(1, 1, 1)
    mask = some(0.01)
    queries = make_vectors(30, DIM, seed=7)
    _, rows = opened.search(queries, 40, mask)
    assert ((rows >= 0).sum(axis=1) == min(40, mask.sum())).all()
    _, rows = opened.search(queries, COUNT + 5)
    assert ((rows >= 0).sum(axis=1) == COUNT).all()
    assert sorted(rows[0, :COUNT]) == list(range(COUNT))


@pytest.mark.parametrize("key", ["Flat", *KEYS])
def test_thousands_of_queries_are_as_each_alone(
    built, key, make_vectors, monkeypatch, always_approximate
):
    monkeypatch.setattr("indexes.vectors.segment._QUERIES", 16)
    folder, segment, _ = built(key)
    opened = open_segment(folder, segment, DIM)
    queries = make_vectors(100, DIM, seed=8)
    scores, rows = opened.search(queries, 4)
    assert scores.dtype == np.float32
    assert rows.dtype == np.int64
    for at in (0, 15, 16, 99):
        alone_scores, alone_rows = opened.search(queries[at : at + 1], 4)
        np.testing.assert_allclose(scores[at], alone_scores[0], atol=1e-6)
        assert rows[at].tolist() == alone_rows[0].tolist()
    none = opened.search(queries[:0], 4)
    assert [part.shape for part in none] == [(0, 4), (0, 4)]


@pytest.mark.parametrize("count", [3, 150])
@pytest.mark.parametrize("queries", [1, 30])
@pytest.mark.parametrize("filtered", [False, True])
def test_equal_vectors_stand_in_the_order_of_their_rows(
    write_flat, tmp_path, count, queries, filtered
):
    """With whole numbers sums are exact, so equal vectors have equal scores in every kernel."""
    vectors = np.tile(np.eye(8, dtype=np.float32), (40, 1))
    segment = write_flat(vectors)
    opened = open_segment(tmp_path, segment, 8)
    mask = np.arange(320) >= 16 if filtered else None
    wanted = np.repeat(np.eye(8, dtype=np.float32)[2:3], queries, axis=0)
    _, rows = opened.search(wanted, count, mask)
    alike = [row for row in range(2, 320, 8) if not filtered or row >= 16]
    for found in rows:
        assert found[: len(alike)].tolist() == alike[:count]
        rest = found[len(alike) :]
        assert (np.diff(rest) > 0).all()


@pytest.mark.parametrize("key", KEYS)
def test_a_filter_that_takes_all_that_is_near_away_is_searched_exactly(
    built, key, nearest_rows, monkeypatch
):
    """What is left is unlike the queries, so the effort that was tuned says nothing of it."""
    monkeypatch.setattr("indexes.vectors.effort._EXACT_NUMBERS", 0)
    folder, segment, vectors = built(key)
    opened = open_segment(folder, segment, DIM)
    queries = vectors[:12]
    mask = (vectors @ queries.T).max(axis=1) < 0.4
    assert 200 < mask.sum() < 1300
    _, rows = opened.search(queries, 5, mask)
    for query, found in zip(queries, rows, strict=True):
        assert found.tolist() == nearest_rows(vectors, query, 5, mask)


@pytest.mark.parametrize("key", KEYS)
def test_what_most_vectors_have_near_them_is_known(built, key):
    _, segment, vectors = built(key)
    questions = ask(vectors, held_out_rows(len(vectors)))
    tenth = np.sort(vectors @ questions.vectors.T, axis=0)[-10:]
    usual = segment.settings["usual_cosine"]
    assert tenth[0].min() - 1e-6 <= usual <= np.percentile(tenth[1], 5)


def test_a_mask_that_allows_all_is_none(built, make_vectors):
    folder, segment, _ = built("IVF16,PQ12np")
    opened = open_segment(folder, segment, DIM)
    queries = make_vectors(3, DIM, seed=9)
    without = opened.search(queries, 5)
    with_all = opened.search(queries, 5, np.ones(COUNT, np.bool_))
    np.testing.assert_array_equal(without[1], with_all[1])


def test_queries_of_another_dimension_and_no_neighbours_are_mistakes(built, make_vectors):
    folder, segment, _ = built("IVF16,Flat")
    opened = open_segment(folder, segment, DIM)
    for queries, count in ((make_vectors(2, 23), 3), (make_vectors(2, DIM), 0)):
        with pytest.raises(ValueError, match="neighbours of"):
            opened.search(queries, count)


def test_threads_that_share_a_segment_do_not_disturb_each_other(built, make_vectors):
    folder, segment, _ = built("IVF16,PQ12np")
    opened = open_segment(folder, segment, DIM)
    masks = [None, some(0.5), some(0.9, seed=4), some(0.2, seed=5)]
    queries = make_vectors(4, DIM, seed=10)
    expected = [opened.search(queries, 6 + i, mask)[1] for i, mask in enumerate(masks)]
    wrong = []

    def look(i):
        for _ in range(60):
            if not np.array_equal(opened.search(queries, 6 + i, masks[i])[1], expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=look, args=(i,)) for i in range(len(masks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_graph_over_exact_vectors_keeps_only_its_links(built):
    segment = built("HNSW16")[1]
    suffix = next(suffix for suffix in segment.files if suffix.endswith(".index.faiss"))
    assert segment.files[suffix].size_bytes < COUNT * (2 * 16 * 4 + 40) + 4096


def test_the_same_vectors_give_the_same_bytes(tmp_path, make_vectors, plan_of, write_flat):
    flat = write_flat(make_vectors(600))
    plan = plan_of("OPQ8_16,IVF8,PQ8np")
    first = index_segment(tmp_path, flat, DIM, plan, BuildOptions())
    second = index_segment(tmp_path, flat, DIM, plan, BuildOptions())
    assert first == second


@pytest.mark.parametrize("key", ["IVF128,Flat", "IVF128,PQ12np"])
def test_what_looks_like_nothing_in_the_index_is_looked_for_harder(
    tmp_path, make_vectors, write_flat, plan_of, nearest_rows, key, monkeypatch
):
    """Random directions have no cell that is much nearer than the others."""
    dim = 48
    vectors = make_vectors(8000, dim, clusters=200)
    segment = index_segment(tmp_path, write_flat(vectors), dim, plan_of(key, 0.9))
    opened = open_segment(tmp_path, segment, dim)
    random = np.random.default_rng(0).standard_normal((60, dim)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    asked = np.concatenate([make_vectors(60, dim, seed=5, clusters=200), random])
    truth = [set(nearest_rows(vectors, query, 10)) for query in asked]

    def recalls():
        found = opened.search(asked, 10)[1].tolist()
        each = [len(set(rows) & true) / 10 for rows, true in zip(found, truth, strict=True)]
        return np.mean(each[:60]), np.mean(each[60:])

    usual, far = recalls()
    assert (usual > 0.85, far > 0.9) == (True, True)
    monkeypatch.setattr("indexes.vectors.segment._FAR", 1e9)
    assert recalls()[0] == usual
    assert recalls()[1] < far - 0.3


def test_what_need_not_be_sure_comes_with_less_effort(built, make_vectors):
    folder, segment, vectors = built("IVF16,PQ12np")
    opened = open_segment(folder, segment, DIM)
    efforts, search = [], opened.base.search

    def noted(queries, count, effort, allowed=None):
        efforts.append(effort)
        return search(queries, count, effort, allowed)

    opened.base.search = noted
    opened.effort = Effort(nprobe=1, rerank=20)
    query = vectors[:1]
    some = opened.search(query, 40, sure=10)
    opened.search(query, 40)
    assert [effort.nprobe for effort in efforts] == [2, 4]
    np.testing.assert_array_equal(some[0], np.sort(some[0])[:, ::-1])
    assert (some[1] >= 0).all()
