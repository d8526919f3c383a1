"""What the benchmarks of indexes measure with: synthetic vectors, truth, recall, exponents."""

import math
from pathlib import Path

import numpy as np
import pytest
from indexing_growth import exponent
from indexing_measuring import interval, least_of_ten, recall
from plotting import Curve, draw_growth, draw_shares
from synthetic_vectors import blocks, make_queries, tracks_of, write_vectors


def test_synthetic_vectors_are_the_same_each_time_and_fewer_are_the_first_of_more(
    tmp_path: Path,
) -> None:
    few = np.array(write_vectors(tmp_path / "few.npy", 12_000))
    more = np.array(write_vectors(tmp_path / "more.npy", 13_000))

    assert few.dtype == np.float32
    assert few.tobytes() == more[:12_000].tobytes()
    assert np.concatenate(list(blocks(12_000))).tobytes() == few.tobytes()
    np.testing.assert_allclose(np.linalg.norm(few, axis=1), 1, atol=1e-5)


def test_synthetic_vectors_of_another_number_are_refused(tmp_path: Path) -> None:
    write_vectors(tmp_path / "vectors.npy", 10)

    with pytest.raises(ValueError, match="shape"):
        write_vectors(tmp_path / "vectors.npy", 11)


def test_queries_are_near_the_vectors_and_not_among_them() -> None:
    (vectors,) = blocks(2000)
    queries = make_queries(vectors, 50)
    nearest = (queries @ vectors.T).max(axis=1)

    assert np.array_equal(queries, make_queries(vectors, 50))
    assert not np.array_equal(queries, make_queries(vectors, 50, seed=1))
    assert 0.9 < np.median(nearest) < 0.999
    assert nearest.max() < 0.99999


def test_sightings_of_a_track_follow_each_other() -> None:
    assert tracks_of(51).tolist() == [0] * 25 + [1] * 25 + [2]


def test_recall_is_that_of_a_loop() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((300, 8)).astype(np.float32)
    queries = generator.standard_normal((20, 8)).astype(np.float32)
    rows = generator.integers(-1, 300, (20, 10))
    hits = 0
    for query, found in zip(queries, rows, strict=True):
        best = sorted(range(300), key=lambda row: -float(vectors[row] @ query))[:10]
        hits += len(set(best) & set(found.tolist()))

    assert recall(vectors, queries, least_of_ten(vectors, queries), rows) == hits / 200


def test_recall_counts_a_row_that_is_found_twice_once() -> None:
    vectors = np.eye(12, dtype=np.float32)[::-1] + np.linspace(0, 1, 12, dtype=np.float32)[:, None]
    query = np.ones((1, 12), np.float32)
    best = int((vectors @ query[0]).argmax())

    assert recall(vectors, query, least_of_ten(vectors, query), np.full((1, 10), best)) == 0.1


def test_exponent_is_the_slope_of_the_logarithms() -> None:
    sizes = [10, 100, 1000]

    assert exponent(sizes, [3 * size**0.5 for size in sizes]) == pytest.approx(0.5)


def test_interval_is_students() -> None:
    assert interval([1, 2, 3, 4, 5]) == "3.000 ± 1.963"  # 2.776 * sqrt(2.5) / sqrt(5)
    assert interval([0.5]) == "0.500 ± nan"


@pytest.mark.parametrize("draw", [draw_growth, draw_shares], ids=["growth", "shares"])
def test_a_plot_is_xml_with_a_point_for_each_value(draw: object) -> None:
    from xml.etree import ElementTree

    assert callable(draw)
    text = draw([0.1, 1.0], [Curve("a < b", [0.2, 0.9]), Curve("c", [0.5, 0.5])], "share")
    root = ElementTree.fromstring(text)
    circles = [part for part in root if part.tag.endswith("circle")]

    assert len(circles) == 4
    assert "a < b" in [part.text for part in root]
    assert all(math.isfinite(float(circle.attrib["cy"])) for circle in circles)
