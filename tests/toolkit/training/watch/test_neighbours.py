"""Examples of what queries find, against a loop over the gallery."""

import numpy as np
import pytest

from toolkit.evaluation.retrieval import Gallery
from toolkit.training.watch.neighbours import GROUPS, HITS, find_examples


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def case():
    """20 pairs of 20 tracks; everything that is not of the track is a distractor."""
    rng = np.random.default_rng(0)
    queries = unit(rng.normal(size=(20, 6)))
    positives = unit(queries + rng.normal(size=(20, 6)) * np.linspace(0.01, 3, 20)[:, None])
    own = np.eye(20, dtype=bool)
    nothing = np.zeros((20, 20), bool)
    gallery = Gallery(np.hstack([nothing, own]), np.hstack([~own, ~own]))
    return queries, positives, gallery, [str(i) for i in range(20)]


def by_loop(queries, positives, gallery, query):
    """(row, score, right) of a query's gallery, the nearest first."""
    patches = [*queries, *positives]
    seen = [
        (row, float(queries[query] @ patch), bool(gallery.relevant[query, row]))
        for row, patch in enumerate(patches)
        if gallery.relevant[query, row] or gallery.distractor[query, row]
    ]
    return sorted(seen, key=lambda one: (-one[1], one[2]))


def test_hits_and_places_are_those_of_a_loop(case):
    queries, positives, gallery, tracks = case
    for example in find_examples(queries, positives, gallery, tracks):
        wanted = by_loop(queries, positives, gallery, example.query)
        found = [(hit.row, hit.right) for hit in example.hits]
        assert found == [(row, right) for row, _, right in wanted[:HITS]]
        assert [hit.score for hit in example.hits] == pytest.approx(
            [score for _, score, _ in wanted[:HITS]], abs=1e-6
        )
        assert example.place == 1 + [right for _, _, right in wanted].index(True)
        assert example.positive.row == 20 + example.query


def test_the_best_have_the_largest_lead_and_the_worst_the_least(case):
    queries, positives, gallery, tracks = case
    leads = []
    for query in range(20):
        ranked = by_loop(queries, positives, gallery, query)
        right = next(score for _, score, is_right in ranked if is_right)
        wrong = next(score for _, score, is_right in ranked if not is_right)
        leads.append(right - wrong)
    order = np.argsort(leads)
    examples = find_examples(queries, positives, gallery, tracks)
    by_group = {g: [e.query for e in examples if e.group == g] for g in GROUPS}
    assert by_group["worst"] == order[:3].tolist()
    assert by_group["best"] == order[::-1][:3].tolist()
    assert by_group["typical"][0] == order[10]


def test_no_track_is_shown_twice(case):
    queries, positives, gallery, _ = case
    tracks = [str(i // 4) for i in range(20)]
    examples = find_examples(queries, positives, gallery, tracks)
    assert sorted(tracks[e.query] for e in examples) == sorted(set(tracks))


def test_a_query_without_distractors_is_no_example(case):
    queries, positives, gallery, tracks = case
    gallery.distractor[5:] = False
    examples = find_examples(queries, positives, gallery, tracks)
    assert sorted(e.query for e in examples) == [0, 1, 2, 3, 4]


def test_ties_go_against_the_query(case):
    _, _, gallery, tracks = case
    same = unit(np.ones((20, 6)))
    for example in find_examples(same, same, gallery, tracks):
        assert not any(hit.right for hit in example.hits)
        assert example.place == 39  # behind all of the 38 distractors
