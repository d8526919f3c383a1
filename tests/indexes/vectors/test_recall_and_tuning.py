"""Recall is counted as a naive loop counts it, and the least effort reaches what was asked."""

from dataclasses import replace

import numpy as np
import pytest

from indexes.vectors.approximate import index_segment
from indexes.vectors.effort import AT, Effort, Extent, widen
from indexes.vectors.exact import nothing
from indexes.vectors.recall import ask, held_out_rows, recall_of, sure_recall
from indexes.vectors.segment import open_segment
from indexes.vectors.tune import Aim, tune


def naive_recall(vectors, questions, search):
    """Share of the true ten nearest others, by score so that ties cost nothing."""
    right = total = 0
    for row, question in zip(questions.rows, questions.vectors, strict=True):
        scores = vectors.astype(np.float64) @ question
        others = np.delete(scores, row)
        best = np.sort(others)[::-1][:AT]
        _, found = search(question[None], len(best) + 1)
        good = [f for f in found[0] if f >= 0 and f != row and scores[f] >= best[-1] - 1e-6]
        right += min(len(good), len(best))
        total += len(best)
    return right / total


@pytest.mark.parametrize("count", [2, 5, 10, 11, 12, 500])
def test_exact_search_has_recall_1(tmp_path, make_vectors, write_flat, count):
    vectors = make_vectors(count)
    opened = open_segment(tmp_path, write_flat(vectors), 24)
    questions = ask(opened.vectors, held_out_rows(count))
    assert recall_of(questions, opened.search) == 1.0


def test_one_vector_has_no_neighbours_to_find(tmp_path, make_vectors, write_flat):
    opened = open_segment(tmp_path, write_flat(make_vectors(1)), 24)
    assert recall_of(ask(opened.vectors, np.array([0])), opened.search) is None


def test_no_questions_have_no_recall(tmp_path, make_vectors, write_flat):
    opened = open_segment(tmp_path, write_flat(make_vectors(9)), 24)
    assert recall_of(ask(opened.vectors, np.empty(0, np.int64)), opened.search) is None


def test_equal_vectors_cost_no_recall(tmp_path, make_vectors, write_flat):
    vectors = np.repeat(make_vectors(3), 40, axis=0)
    opened = open_segment(tmp_path, write_flat(vectors), 24)
    assert recall_of(ask(opened.vectors, held_out_rows(120)), opened.search) == 1.0


@pytest.mark.parametrize("nprobe", [1, 2])
def test_recall_of_a_search_that_misses_is_that_of_a_naive_loop(
    tmp_path, make_vectors, write_flat, plan_of, nprobe, monkeypatch
):
    monkeypatch.setattr("indexes.vectors.effort._EXACT_PART", 1e-9)
    vectors = make_vectors(1200, clusters=300)
    segment = index_segment(tmp_path, write_flat(vectors), 24, plan_of("IVF40,Flat"))
    opened = open_segment(tmp_path, segment, 24)
    opened.effort = Effort(nprobe)
    questions = ask(opened.vectors, held_out_rows(1200))
    measured = recall_of(questions, opened.search)
    assert measured == pytest.approx(naive_recall(vectors, questions, opened.search), abs=1e-9)
    assert 0.2 < measured < 1


def test_a_search_that_finds_nothing_has_recall_0(make_vectors):
    questions = ask(make_vectors(50), np.arange(4))
    assert recall_of(questions, lambda queries, count: nothing(len(queries), count)) == 0


def test_the_questions_are_answered_in_pieces_as_at_once(make_vectors, monkeypatch):
    vectors, rows = make_vectors(333), np.arange(0, 333, 20)
    whole = ask(vectors, rows)
    monkeypatch.setattr("indexes.vectors.recall._BLOCK_NUMBERS", 24 * 7)
    np.testing.assert_allclose(ask(vectors, rows).least, whole.least, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 25, 6000])
def test_held_out_rows_are_few_ascend_and_leave_most(count):
    rows = held_out_rows(count)
    assert len(set(rows)) == len(rows)
    assert rows.tolist() == sorted(rows)
    assert rows[0] >= 0
    assert rows[-1] < count
    assert len(rows) <= max(count // 10, 2)
    assert len(rows) <= 512


def test_a_question_is_moved_from_its_row_and_stays_of_length_1(make_vectors):
    vectors, rows = make_vectors(400), np.arange(0, 400, 4)
    questions = ask(vectors, rows)
    np.testing.assert_allclose(np.linalg.norm(questions.vectors, axis=1), 1, atol=1e-6)
    cosines = np.einsum("nd,nd->n", questions.vectors, vectors[rows])
    assert 0.6 < cosines.min() < 0.9
    assert np.percentile(cosines, 90) < 0.999999
    np.testing.assert_array_equal(questions.vectors, ask(vectors, rows).vectors)


def test_two_opposite_vectors_make_a_question(make_vectors):
    vector = make_vectors(1)
    questions = ask(np.concatenate([vector, -vector]), np.arange(2))
    np.testing.assert_allclose(np.linalg.norm(questions.vectors, axis=1), 1, atol=1e-6)
    assert (questions.answers, questions.least.max() < 0) == (1, True)


def places_and_queries():
    """Ten sightings each of 600 places, nearly the same; queries show what lies beside them."""
    random = np.random.default_rng(0)
    turned, places = random.standard_normal((8, 32)), random.standard_normal((600, 8))
    rows = np.repeat(places, 10, axis=0)
    rows += 0.01 * random.standard_normal(rows.shape)
    beside = places[random.integers(600, size=300)] + 0.3 * random.standard_normal((300, 8))
    both = [(part @ turned).astype(np.float32) for part in (rows, beside)]
    return [part / np.linalg.norm(part, axis=1, keepdims=True) for part in both]


@pytest.mark.parametrize("key", ["IVF64,Flat", "IVF64,PQ16np"])
@pytest.mark.parametrize("moved", [True, False])
def test_the_stored_recall_is_no_better_than_that_of_queries_from_outside(
    tmp_path, write_flat, plan_of, nearest_rows, key, moved, monkeypatch
):
    """Sightings themselves would find their own ten in their own cell, and flatter by a tenth."""
    if not moved:
        monkeypatch.setattr("indexes.vectors.recall._MOVED", 0)
    vectors, queries = places_and_queries()
    segment = index_segment(tmp_path, write_flat(vectors), 32, plan_of(key, 0.9))
    opened = open_segment(tmp_path, segment, 32)
    _, found = opened.search(queries, AT)
    right = [
        len(set(rows) & set(nearest_rows(vectors, query, AT)))
        for query, rows in zip(queries, found.tolist(), strict=True)
    ]
    outside, stored = np.mean(right) / AT, segment.settings["recall@10"]
    if moved:
        assert abs(stored - outside) < 0.02
        assert outside >= 0.9
    else:
        assert stored > outside + 0.1


def test_what_is_surely_found_is_below_the_mean_by_its_spread():
    shares = np.tile([0.8, 1.0], 50)
    assert sure_recall(shares) == pytest.approx(0.9 - 1.645 * 0.1 / 10)
    assert sure_recall(np.ones(7)) == 1
    assert sure_recall(np.empty(0)) == 1
    # Of many draws of 100 questions one in twenty lies above the truth.
    random = np.random.default_rng(0)
    draws = random.binomial(10, 0.9, (2000, 100)) / 10
    assert 0.02 < np.mean([sure_recall(draw) > 0.9 for draw in draws]) < 0.08


@pytest.mark.parametrize("key", ["IVF64,Flat", "IVF64,PQ6np", "HNSW8", "HNSW8_SQ4"])
@pytest.mark.parametrize("recall", [0.6, 0.9, 0.98])
def test_tuning_reaches_the_recall_and_asks_no_more_effort_for_less(
    tmp_path, make_vectors, write_flat, plan_of, key, recall
):
    vectors = make_vectors(2500, clusters=250)
    flat = write_flat(vectors)
    segment = index_segment(tmp_path, flat, 24, plan_of(key, recall))
    opened = open_segment(tmp_path, segment, 24)
    questions = ask(opened.vectors, held_out_rows(2500)).half(0)
    chosen = tune(opened.base, opened.vectors, questions, Aim(recall))
    assert chosen.reached
    assert chosen.used.effort == opened.effort
    assert chosen.used.recall > chosen.used.sure >= recall
    less = tune(opened.base, opened.vectors, questions, Aim(recall - 0.2))
    assert less.used.cost_ns <= chosen.used.cost_ns
    assert segment.settings["recall"] == recall
    # Another half of the questions than the effort was chosen by.
    assert segment.settings["recall@10"] >= recall
    assert "enough_ms" not in segment.settings


def test_what_no_effort_reaches_is_searched_exactly(
    tmp_path, make_vectors, write_flat, plan_of, nearest_rows
):
    """One byte for 64 random numbers: no number of cells and candidates is enough."""
    random = np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    segment = index_segment(tmp_path, write_flat(random), 64, plan_of("IVF16,PQ1np", 0.99))
    opened = open_segment(tmp_path, segment, 64)
    assert opened.effort == Effort(nprobe=16)
    assert segment.settings["recall@10"] == 1.0
    assert opened.search(random[:1], 9)[1][0].tolist() == nearest_rows(random, random[0], 9)


def test_a_recall_that_the_latency_does_not_allow_is_told(
    tmp_path, make_vectors, write_flat, plan_of
):
    vectors = make_vectors(2500, clusters=250)
    flat, plan = write_flat(vectors), plan_of("IVF64,Flat", 0.98)
    enough = index_segment(tmp_path, flat, 24, plan)
    assert enough.settings["nprobe"] > 1
    hasty = index_segment(tmp_path, flat, 24, replace(plan, latency_ms=1e-4))
    assert hasty.settings["nprobe"] == 1
    assert hasty.settings["recall@10"] < 0.98 == hasty.settings["recall"]
    ms = hasty.settings["enough_ms"]
    assert ms > 1e-4
    allowed = index_segment(tmp_path, flat, 24, replace(plan, latency_ms=ms))
    assert allowed.settings["recall@10"] >= 0.98


def test_widening_grows_with_the_neighbours_and_with_what_is_left_out():
    extent = Extent(10**7, 128, 4096)
    effort = Effort(nprobe=8, rerank=50)
    assert widen(effort, extent, 10, None) == effort
    forty = widen(effort, extent, 40, None)
    assert (forty.nprobe, forty.rerank) == (32, 142)
    among_a_fourth = widen(effort, extent, 10, 10**7 // 4)
    assert (among_a_fourth.nprobe, among_a_fourth.rerank) == (32, 142)
    assert widen(effort, extent, 1, None) == effort


def test_what_is_not_sure_widens_no_more_than_it_takes_to_hold_it():
    extent = Extent(10**7, 128, 4096)
    effort = Effort(nprobe=8, rerank=50)
    assert widen(effort, extent, 160, None, 10) == Effort(nprobe=8, rerank=160)
    assert widen(effort, extent, 160, None, 40) == Effort(nprobe=32, rerank=160)
    assert widen(effort, extent, 160, None, 1000) == widen(effort, extent, 160, None)
    assert widen(effort, extent, 10**5, None, 10) == Effort(nprobe=164, rerank=10**5)
    assert widen(Effort(ef_search=64), Extent(10**7, 128, 0), 160, None, 10).ef_search == 160


def test_few_rows_and_many_neighbours_are_looked_at_one_by_one():
    extent = Extent(10**7, 128, 4096)
    effort = Effort(nprobe=8, rerank=50)
    assert widen(effort, extent, 10, 60_000) is None
    assert widen(effort, extent, 10, 0) is None
    assert widen(effort, extent, 5 * 10**6, None) is None
    assert widen(Effort(ef_search=64), Extent(10**7, 128, 0), 10**6 * 3, None) is None
    assert widen(Effort(nprobe=3000), extent, 10, None) is None
