"""Spread and effective rank, against numpy and values known by hand."""

import math

import numpy as np
import pytest
import torch

from toolkit.training.watch.health import effective_rank, spread


def unit(rows):
    rows = torch.as_tensor(rows, dtype=torch.float32)
    return rows / rows.norm(dim=1, keepdim=True)


def rank_by_numpy(rows):
    rows = rows.double().numpy()
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    parts = values[values > 1e-6] / values[values > 1e-6].sum()
    return math.exp(-sum(p * math.log(p) for p in parts))


def test_spread_of_opposite_points_is_one_and_of_equal_ones_zero():
    assert spread(unit([[1, 0], [-1, 0]])) == pytest.approx(1)
    assert spread(unit([[1, 0]] * 4)) == 0


def test_spread_is_the_root_of_what_the_mean_leaves_of_the_length():
    # Rows of length 1: the mean square distance from the mean is 1 minus the mean's square.
    rows = unit(torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) + 1)
    assert spread(rows) == pytest.approx(math.sqrt(1 - float(rows.mean(0).norm()) ** 2), abs=1e-5)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (2, 3), (128, 128)])
def test_effective_rank_agrees_with_numpys_svd(shape):
    rows = unit(torch.randn(*shape, generator=torch.Generator().manual_seed(1)))
    assert effective_rank(rows) == pytest.approx(rank_by_numpy(rows), rel=1e-6)


def test_effective_rank_of_evenly_used_directions_is_their_number():
    axes = torch.cat([torch.eye(5), -torch.eye(5)])
    assert effective_rank(axes) == pytest.approx(5)


def test_effective_rank_on_a_line_is_one():
    angles = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0], [1.0, 0, 0]])
    assert effective_rank(angles) == pytest.approx(1)


def test_effective_rank_of_equal_rows_is_zero_whatever_the_rounding():
    rows = unit(torch.randn(1, 1024, generator=torch.Generator().manual_seed(2))).repeat(128, 1)
    nudged = torch.nextafter(rows[::2], torch.ones(()))
    assert effective_rank(rows) == 0
    assert effective_rank(torch.cat([rows[::2], nudged])) == 0
    assert effective_rank(torch.zeros(4, 3)) == 0
    assert effective_rank(rows[:1]) == 0


def test_effective_rank_sees_a_cloud_small_as_that_of_a_fresh_alexnet():
    generator = torch.Generator().manual_seed(3)
    rows = unit(1 + 1e-3 * torch.randn(32, 64, generator=generator))
    assert spread(rows) < 2e-3
    assert effective_rank(rows) == pytest.approx(rank_by_numpy(rows), rel=1e-3)


def test_effective_rank_of_what_is_no_number_is_none():
    assert math.isnan(effective_rank(torch.tensor([[1.0, math.nan], [0, 1]])))
