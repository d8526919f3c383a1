"""The orthogonal map, against rotations that are known and SciPy's own solution's properties."""

import numpy as np
import pytest

from indexes.upgrade.orthogonal import apply_map, fit_orthogonal, measure_map


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def draw(count, dim, seed=0):
    return unit(np.random.default_rng(seed).standard_normal((count, dim)))


def rotation(dim, seed=5):
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
    return (q * np.sign(np.diag(r))).astype(np.float32)


def test_a_rotation_is_found_again():
    old, turn = draw(200, 16), rotation(16)
    found = fit_orthogonal(old, old @ turn)
    np.testing.assert_allclose(found, turn, atol=1e-5)
    np.testing.assert_allclose(apply_map(old, found), old @ turn, atol=1e-5)


def test_no_other_rotation_is_nearer():
    old = draw(100, 6)
    new = unit(old @ rotation(6) + 0.4 * draw(100, 6, seed=9))
    best = np.sum((old @ fit_orthogonal(old, new) - new) ** 2)
    for seed in range(300):
        near = rotation(6, seed) if seed % 2 else _nudged(fit_orthogonal(old, new), seed)
        assert np.sum((old @ near - new) ** 2) >= best - 1e-5


def _nudged(matrix, seed):
    noise = 0.05 * np.random.default_rng(seed).standard_normal(matrix.shape)
    left, _, right = np.linalg.svd(matrix + noise)
    return left @ right


@pytest.mark.parametrize(("old_dim", "new_dim"), [(8, 20), (20, 8)])
def test_dimensions_may_differ(old_dim, new_dim):
    old, new = draw(300, old_dim), draw(300, new_dim, seed=1)
    matrix = fit_orthogonal(old, new)
    assert matrix.shape == (old_dim, new_dim)
    small = matrix @ matrix.T if old_dim < new_dim else matrix.T @ matrix
    np.testing.assert_allclose(small, np.eye(min(old_dim, new_dim)), atol=1e-5)
    lengths = np.linalg.norm(apply_map(old, matrix), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)


def test_a_perfect_map_loses_nothing_and_chance_loses_nearly_all():
    old = draw(400, 32)
    kept = measure_map(old, old @ rotation(32))
    assert kept.recall_at_10 == 1
    assert kept.recall_loss == 0
    assert kept.cosine == pytest.approx(1, abs=1e-5)
    assert (kept.fitted, kept.queries) == (200, 200)
    strange = measure_map(old, draw(400, 32, seed=3))
    assert strange.recall_at_10 < 0.2  # 10 of 199 are found by chance


def test_the_recall_is_that_of_a_naive_count():
    old = draw(40, 8)
    new = unit(old @ rotation(8) + 0.3 * draw(40, 8, seed=4))
    order = np.random.default_rng(0).permutation(40)
    matrix = fit_orthogonal(old[order[:20]], new[order[:20]])
    mapped, truth = apply_map(old[order[20:]], matrix), new[order[20:]]
    hits = 0
    for query in range(20):
        others = [row for row in range(20) if row != query]
        best = sorted(others, key=lambda row: -truth[row] @ truth[query])[:10]
        found = sorted(others, key=lambda row: -mapped[row] @ truth[query])[:10]
        hits += len(set(best) & set(found))
    assert measure_map(old, new).recall_at_10 == pytest.approx(hits / 200)


def test_no_vectors_one_vector_and_uneven_ones_are_refused():
    with pytest.raises(ValueError, match="give no map"):
        fit_orthogonal(draw(0, 4), draw(0, 4))
    with pytest.raises(ValueError, match="give no map"):
        fit_orthogonal(draw(3, 4), draw(2, 4))
    with pytest.raises(ValueError, match="too few"):
        measure_map(draw(1, 4), draw(1, 4))


def test_a_zero_vector_stays_finite():
    assert np.isfinite(apply_map(np.zeros((1, 4), np.float32), rotation(4))).all()
