"""What FAISS gives back becomes an answer: rows in order, and what is missing at the end."""

import numpy as np
import pytest

from indexes.vectors.exact import padded
from indexes.vectors.segment import open_segment

_LEAST = float(np.finfo(np.float32).min)  # FAISS has it where it found no more


@pytest.mark.parametrize("missing", [0, 2, 9])
@pytest.mark.parametrize("width", [1, 2, 7])
@pytest.mark.parametrize("queries", [1, 3])  # one is put in order in another way than several
def test_the_order_is_that_of_a_plain_sort(queries, width, missing):
    random = np.random.default_rng(width)
    there = max(width - missing, 0)
    for _ in range(20):
        # Few values, so that many are equal.
        scores = -np.sort(-random.integers(-3, 4, (queries, width)).astype(np.float32) / 4, axis=1)
        rows = random.permuted(np.tile(np.arange(50), (queries, 1)), axis=1)[:, :width]
        scores[:, there:], rows[:, there:] = _LEAST, -1
        wanted = [
            sorted(zip(s.tolist(), r.tolist(), strict=True), key=lambda hit: (-hit[0], hit[1]))
            for s, r in zip(scores[:, :there], rows[:, :there], strict=True)
        ]
        for more in (0, 2):
            found = padded(scores.copy(), rows.copy(), width + more)
            for hits, *answer in zip(wanted, *found, strict=True):
                nothing = [(-np.inf, -1)] * (width + more - there)
                assert list(zip(*answer, strict=True)) == hits + nothing


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
