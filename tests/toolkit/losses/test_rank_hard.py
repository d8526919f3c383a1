"""RankHardLoss against the original implementation's golden data and a literal loop."""

from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit.losses.rank_hard import RankHardLoss

GOLDEN = Path(__file__).parents[2] / "golden" / "rank_hard.npz"
CASES = range(6)


def golden_case(case):
    with np.load(GOLDEN) as data:
        prefix = f"case{case}_"
        return {key.removeprefix(prefix): data[key] for key in data if key.startswith(prefix)}


def loss_of(case):
    return RankHardLoss(
        int(case["neg_num"]),
        float(case["hard_ratio"]),
        float(case["rand_ratio"]),
        float(case["margin"]),
    )


def unit_rows(rows, columns, seed):
    x = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(x, dim=1)


def literal_pools(x, labels, anchor, loss):
    """The candidates of one anchor and its hard pool, row by row as the original does."""
    dot = (x @ x.T).tolist()
    candidates = []
    for j in range(len(x)):
        if labels[j] == labels[anchor]:
            continue
        if max(0.0, -dot[anchor][anchor + 1] + dot[anchor][j] + loss.margin) == 0:
            continue
        candidates.append((-dot[anchor][j], j))
    candidates.sort()
    return [j for _, j in candidates], [j for _, j in candidates[: loss.neg_num]]


def literal_loss(x, mask, loss):
    """The published forward pass: a loop over pairs and rows."""
    total = 0.0
    for i in range(0, len(x), 2):
        for j in range(len(x)):
            if mask[i // 2, j]:
                positive = -(x[i] * x[i + 1]).sum()
                for row in (i, i + 1):
                    total = total + torch.clamp(
                        positive + (x[row] * x[j]).sum() + loss.margin, min=0
                    )
    return total / (loss.neg_num * (len(x) // 2) * 2)


def test_the_golden_file_holds_every_case():
    with np.load(GOLDEN) as data:
        assert sum(key.endswith("_x") for key in data) == len(CASES)


@pytest.mark.parametrize("number", CASES)
def test_loss_and_gradient_are_those_of_the_original(number):
    case = golden_case(number)
    x = torch.tensor(case["x"], requires_grad=True)
    mask = torch.tensor(case["mask"]).bool()
    assert not mask[1::2].any()  # the original keeps one row a pair
    loss = loss_of(case).loss_for(x, mask[0::2])
    loss.backward()
    assert loss.item() == pytest.approx(float(case["loss"]), abs=1e-5)
    np.testing.assert_allclose(x.grad.numpy(), case["grad"], atol=1e-5)


@pytest.mark.parametrize("number", [n for n in CASES if golden_case(n)["hard_ratio"] == 1])
def test_the_mask_is_that_of_the_original_where_it_is_determined(number):
    case = golden_case(number)
    chosen = loss_of(case).select(torch.tensor(case["x"]), torch.tensor(case["labels"]))
    np.testing.assert_array_equal(chosen.numpy(), case["mask"][0::2].astype(bool))


@pytest.mark.parametrize(("hard", "rand"), [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (0.25, 0.75)])
@pytest.mark.parametrize("seed", range(5))
def test_the_choice_obeys_the_literal_rules(hard, rand, seed):
    x, labels = unit_rows(40, 6, seed), torch.arange(20).repeat_interleave(2)
    labels[4:8] = 7  # two pairs of one track are no negatives of each other
    loss = RankHardLoss(4, hard, rand, margin=0.5)
    chosen = loss.select(x, labels, torch.Generator().manual_seed(seed))
    for pair in range(20):
        candidates, pool = literal_pools(x, labels, 2 * pair, loss)
        picked = chosen[pair].nonzero().flatten().tolist()
        assert set(picked) <= set(candidates)
        if len(candidates) <= 4:
            assert sorted(picked) == sorted(candidates)
        else:
            assert len(picked) == min(int(4 * hard), 4) + int(4 * rand)
            assert len(set(picked) & set(pool)) >= int(4 * hard)


def test_every_candidate_is_drawn_as_often_as_chance_has_it():
    x, labels = unit_rows(24, 4, 0), torch.arange(12).repeat_interleave(2)
    loss = RankHardLoss(4, 0.5, 0.5, margin=2.0)  # with margin 2 every other row is a candidate
    generator = torch.Generator().manual_seed(0)
    draws = 2000
    counts = sum(loss.select(x, labels, generator)[0].int() for _ in range(draws))
    candidates, pool = literal_pools(x, labels, 0, loss)
    assert len(candidates) == 22
    # Two of four by the hard draw; the two left over compete with 18 others for two places.
    in_pool, outside = 0.5 + 0.5 * 2 / 20, 2 / 20
    for j in candidates:
        expected = in_pool if j in pool else outside
        assert counts[j].item() / draws == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_the_whole_loss_equals_the_literal_loop_in_value_and_gradient(seed):
    labels = torch.arange(9).repeat_interleave(2)
    loss = RankHardLoss()
    x = unit_rows(18, 5, seed).requires_grad_()
    y = x.detach().clone().requires_grad_()
    value = loss(x, labels, torch.Generator().manual_seed(seed))
    mask = loss.select(y.detach(), labels, torch.Generator().manual_seed(seed))
    expected = literal_loss(y, mask, loss)
    value.backward()
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), abs=1e-6)
    torch.testing.assert_close(x.grad, y.grad, atol=1e-6, rtol=0)


def test_a_collapsed_batch_gives_the_margin():
    x = torch.nn.functional.normalize(torch.ones(64, 8), dim=1)
    loss = RankHardLoss(margin=0.5)(x, torch.arange(32).repeat_interleave(2))
    assert loss.item() == pytest.approx(0.5, abs=1e-6)


def test_one_pair_has_no_negatives_and_no_loss():
    x = unit_rows(2, 8, 0).requires_grad_()
    loss = RankHardLoss()(x, torch.tensor([3, 3]))
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.any()


def test_fewer_rows_than_negatives_takes_all_of_them():
    loss = RankHardLoss(neg_num=50, margin=2.0)
    chosen = loss.select(unit_rows(6, 4, 0), torch.tensor([0, 0, 1, 1, 2, 2]))
    assert chosen.sum(1).tolist() == [4, 4, 4]


@pytest.mark.parametrize(
    ("x", "labels"),
    [
        (torch.zeros(0, 8), torch.zeros(0, dtype=torch.long)),
        (torch.zeros(3, 8), torch.zeros(3, dtype=torch.long)),
        (torch.zeros(4, 8), torch.zeros(3, dtype=torch.long)),
        (torch.zeros(4), torch.zeros(4, dtype=torch.long)),
    ],
    ids=["empty", "odd", "labels too short", "no matrix"],
)
def test_a_batch_that_is_no_batch_of_pairs_is_refused(x, labels):
    with pytest.raises(ValueError, match="2P"):
        RankHardLoss()(x, labels)


@pytest.mark.parametrize(
    "wrong", [{"neg_num": 0}, {"hard_ratio": 1.5}, {"rand_ratio": -0.1}, {"margin": -1}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RankHardLoss(**wrong)


def test_only_known_negatives_are_chosen():
    x, labels = unit_rows(40, 6, 0), torch.arange(20).repeat_interleave(2)
    loss = RankHardLoss(margin=2.0)
    known = torch.rand(20, 40, generator=torch.Generator().manual_seed(1)) < 0.2
    chosen = loss.select(x, labels, torch.Generator().manual_seed(0), known)
    assert not (chosen & ~known).any()
    own = labels[0::2, None] == labels[None]
    assert torch.equal(chosen.sum(1), (known & ~own).sum(1).clamp(max=4))
    everything = torch.ones_like(known)
    assert torch.equal(
        loss.select(x, labels, torch.Generator().manual_seed(0), everything),
        loss.select(x, labels, torch.Generator().manual_seed(0)),
    )
