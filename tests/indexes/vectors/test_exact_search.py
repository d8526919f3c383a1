"""What FAISS gives back becomes an answer: rows in order, and what is missing at the end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.vectors.exact import padded
from indexes.vectors.segment import open_segment

_LEAST = float(np.finfo(np.float32).min)  # FAISS has it where it found no more


@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=9), min_size=1, max_size=3),
    st.integers(0, 4),
    st.randoms(use_true_random=False),
)
def test_the_order_is_that_of_a_plain_sort(queries, missing, random):
    """One query is put in order in another way than several."""
    width = min(map(len, queries))
    found = []
    for values in queries:
        scores = sorted((value / 4 for value in values[:width]), reverse=True)
        found.append(list(zip(scores, random.sample(range(50), width), strict=True)))
    scores = np.array([[score for score, _ in hits] for hits in found], np.float32)
    rows = np.array([[row for _, row in hits] for hits in found], np.int64)
    gone = min(missing, width)
    scores[:, width - gone :], rows[:, width - gone :] = _LEAST, -1
    answer_scores, answer_rows = padded(scores, rows, width + 2)
    for hits, given_scores, given_rows in zip(found, answer_scores, answer_rows, strict=True):
        wanted = sorted(hits[: width - gone], key=lambda hit: (-hit[0], hit[1]))
        wanted += [(-np.inf, -1)] * (gone + 2)
        assert list(zip(given_scores, given_rows, strict=True)) == wanted
    if not gone:
        _, same_rows = padded(scores.copy(), rows.copy(), width)
        assert (same_rows == answer_rows[:, :width]).all()


@pytest.mark.parametrize("rows", [1, 700])
def test_small_vectors_are_copied_to_a_cache_line_and_found_as_before(
    make_vectors, write_flat, tmp_path, monkeypatch, rows
):
    vectors = make_vectors(rows, 24)
    segment = write_flat(vectors)
    copied = open_segment(tmp_path, segment, 24)
    monkeypatch.setattr("indexes.vectors.files._COPIED_BYTES", 0)
    mapped = open_segment(tmp_path, segment, 24)
    assert copied.vectors.ctypes.data % 64 == 0
    assert mapped.vectors.ctypes.data % 64 == 45
    for opened in (copied, mapped):
        assert opened.vectors.tobytes() == vectors.tobytes()
    for ours, theirs in zip(
        copied.search(vectors[:5], 9), mapped.search(vectors[:5], 9), strict=True
    ):
        assert ours.tobytes() == theirs.tobytes()
