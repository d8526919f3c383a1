"""Which labelled things are like a thing, against every pair of patches looked at in turn."""

import numpy as np
import pytest

from indexes.labels.likeness import Exemplars, Rows, among_themselves, best, scan
from indexes.labels.things import Part, all_things, blocks, exemplars, sample


def unit(random, count, dim=6):
    rows = random.standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def made_exemplars(random, sizes):
    starts = np.cumsum([0, *sizes])[:-1]
    return Exemplars(
        np.arange(len(sizes)) * 10,
        (np.arange(len(sizes)) % 2).astype(np.int32),
        unit(random, sum(sizes)),
        starts.astype(np.int64),
    )


def naive(vectors, known):
    """float (N, L): the best cosine with any patch of each labelled thing."""
    ends = [*known.starts[1:], len(known.vectors)]
    spans = [known.vectors[a:b] for a, b in zip(known.starts, ends, strict=True)]
    return np.array([[max(float(v @ w) for w in span) for span in spans] for v in vectors])


def test_likeness_is_the_best_pair_of_patches():
    random = np.random.default_rng(0)
    known, vectors = made_exemplars(random, [1, 3, 2]), unit(random, 9)
    np.testing.assert_allclose(known.likeness(vectors), naive(vectors, known), atol=1e-6)


def test_among_themselves_leaves_each_out_for_itself():
    random = np.random.default_rng(1)
    known = made_exemplars(random, [2, 1, 3])
    table = among_themselves(known, np.array([2, 0]))
    ends = [*known.starts[1:], len(known.vectors)]
    for at, row in enumerate((2, 0)):
        own = known.vectors[known.starts[row] : ends[row]]
        for column in range(3):
            other = known.vectors[known.starts[column] : ends[column]]
            expected = -np.inf if row == column else max(float(a @ b) for a in own for b in other)
            assert table[at, column] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_the_best_are_those_of_a_full_sort_and_ties_go_by_number(k):
    random = np.random.default_rng(2)
    likeness = random.integers(0, 4, (40, 6)).astype(np.float32) / 4  # many ties
    near = best(likeness, k)
    for row, values in enumerate(likeness):
        expected = sorted(range(6), key=lambda at: (-values[at], at))[:k]
        assert near.things[row].tolist() == expected
        assert near.scores[row].tolist() == [values[at] for at in expected]


def test_what_must_not_be_found_is_marked():
    near = best(np.array([[0.5, -np.inf]], np.float32), 2)
    assert near.things.tolist() == [[0, -1]]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_a_thing_of_many_rows_in_any_parts_is_as_like_as_its_likest_row(size, k):
    random = np.random.default_rng(3)
    known = made_exemplars(random, [2, 1, 3, 1, 2])
    vectors = unit(random, 40)
    things = np.concatenate([random.integers(1, 9, 30), -np.arange(1, 11)]).astype(np.int64)
    shuffled = random.permutation(40)
    vectors, things = vectors[shuffled], things[shuffled]
    numbers, counts = np.unique(things, return_counts=True)
    found = {}

    def take(some, near):
        for at, thing in enumerate(some):
            assert int(thing) not in found, "a thing came twice"
            found[int(thing)] = (near.things[at].tolist(), near.scores[at].tolist())

    parts = (
        Rows(vectors[start : start + size], things[start : start + size])
        for start in range(0, 40, size)
    )
    scan(parts, known, k, numbers[counts > 1], take)
    assert sorted(found) == numbers.tolist()
    for thing in numbers:
        likeness = naive(vectors[things == thing], known).max(axis=0)
        expected = sorted(range(5), key=lambda at: (-likeness[at], at))[:k]
        assert found[int(thing)][0] == expected
        np.testing.assert_allclose(found[int(thing)][1], likeness[expected], atol=1e-6)


def part(vectors, things, alive=None):
    things = np.array(things, np.int64)
    patches = np.arange(100, 100 + len(things))
    return Part(vectors, patches, things, None if alive is None else np.array(alive))


def test_removed_rows_are_no_rows():
    vectors = unit(np.random.default_rng(4), 5)
    parts = [part(vectors[:3], [7, -2, 7], [True, False, True]), part(vectors[3:], [-4, 7])]
    things, counts = all_things(parts)
    assert (things.tolist(), counts.tolist()) == ([-4, 7], [1, 3])
    told = []
    rows = list(blocks(parts, 2, lambda done, total: told.append((done, total))))
    assert np.concatenate([one.things for one in rows]).tolist() == [7, 7, -4, 7]
    np.testing.assert_array_equal(
        np.concatenate([one.vectors for one in rows]), vectors[[0, 2, 3, 4]]
    )
    assert told == [(2, 5), (3, 5), (5, 5)]


def test_a_sample_takes_rows_evenly_and_all_of_few():
    vectors = unit(np.random.default_rng(5), 12)
    parts = [part(vectors[:7], [5] * 7), part(vectors[7:], [5, 5, 5, -9, 8])]
    rows = sample(parts, np.array([-9, 5]), 4, 6)
    assert rows.things.tolist() == [-9, 5, 5, 5, 5]
    # Of ten rows the middles of four equal parts: 1, 3, 6, 8.
    assert rows.patches.tolist() == [103, 101, 103, 106, 101]
    np.testing.assert_array_equal(rows.vectors, vectors[[10, 1, 3, 6, 8]])


def test_exemplars_are_numbered_by_the_names_of_their_classes():
    vectors = unit(np.random.default_rng(6), 4)
    known = exemplars([part(vectors, [3, -1, 3, 2])], {3: "dog", -1: "cat", 77: "bird"}, 6)
    assert known.things.tolist() == [-1, 3]  # nothing is there of 77
    assert known.classes.tolist() == [1, 2]  # bird, cat, dog
    assert known.starts.tolist() == [0, 1]
    np.testing.assert_array_equal(known.vectors, vectors[[1, 0, 2]])
