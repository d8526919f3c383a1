"""InfoNceLoss against loops over rows."""

import math

import pytest
import torch

from toolkit.losses.infonce import InfoNceLoss


def unit_rows(rows, seed=0):
    x = torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(x, dim=1)


def literal(x, labels, temperature, negatives=None):
    """L_out of Khosla et al. 2020, equation 2, written as it stands there."""
    total = 0.0
    for i in range(len(x)):
        positives = [p for p in range(len(x)) if p != i and labels[p] == labels[i]]
        others = [n for n in range(len(x)) if labels[n] != labels[i]]
        if negatives is not None:
            others = [n for n in others if negatives[i // 2, n]]
        score = {a: float(x[i] @ x[a]) / temperature for a in positives + others}
        below = sum(math.exp(s) for s in score.values())
        logs = [math.log(math.exp(score[p]) / below) for p in positives]
        total += -sum(logs) / len(positives)
    return total / len(x)


def one_partner(x, temperature):
    """The symmetric InfoNCE of pairs, each of a track of its own."""
    total = 0.0
    for i in range(len(x)):
        scores = [float(x[i] @ x[j]) / temperature for j in range(len(x)) if j != i]
        total -= float(x[i] @ x[i ^ 1]) / temperature - math.log(sum(map(math.exp, scores)))
    return total / len(x)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize(
    "tracks", [[0, 1, 2, 0, 3, 4, 5], [0, 0, 0, 1, 1, 1, 2], [0, 0, 0, 0, 0, 0, 0]]
)
def test_all_rows_of_a_track_are_positives(temperature, tracks):
    x, labels = unit_rows(14), torch.tensor(tracks).repeat_interleave(2)
    value = InfoNceLoss(temperature)(x, labels)
    assert value.item() == pytest.approx(literal(x, labels, temperature), abs=1e-5)


def test_with_one_pair_a_track_each_row_must_find_its_partner():
    x, labels = unit_rows(14), torch.arange(7).repeat_interleave(2)
    value = InfoNceLoss(0.2)(x, labels)
    assert value.item() == pytest.approx(one_partner(x, 0.2), abs=1e-5)


@pytest.mark.parametrize("tracks", [[0, 1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 2, 2, 3]])
def test_unknown_rows_count_neither_way(tracks):
    x, labels = unit_rows(14), torch.tensor(tracks).repeat_interleave(2)
    known = torch.rand(7, 14, generator=torch.Generator().manual_seed(1)) < 0.5
    value = InfoNceLoss(0.2)(x, labels, negatives=known)
    assert value.item() == pytest.approx(literal(x, labels, 0.2, known), abs=1e-5)


def test_the_gradient_is_that_of_the_definition():
    labels = torch.tensor([0, 0, 1, 0]).repeat_interleave(2)
    x = unit_rows(8).double().requires_grad_()
    known = torch.ones(4, 8, dtype=torch.bool)
    known[1, 4:] = False
    assert torch.autograd.gradcheck(lambda e: InfoNceLoss(0.3)(e, labels, None, known), (x,))


def test_where_nothing_is_known_to_differ_only_positives_are_compared():
    x, labels = unit_rows(8), torch.tensor([0, 0, 1, 2]).repeat_interleave(2)
    nothing = torch.zeros(4, 8, dtype=torch.bool)
    value = InfoNceLoss(0.2)(x, labels, negatives=nothing)
    assert value.item() == pytest.approx(literal(x, labels, 0.2, nothing), abs=1e-5)


def test_one_pair_has_no_loss():
    x = unit_rows(2).requires_grad_()
    loss = InfoNceLoss()(x, torch.tensor([0, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert x.grad.abs().max() < 1e-6


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature"):
        InfoNceLoss(0)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="2P"):
        InfoNceLoss()(torch.zeros(0, 4), torch.zeros(0))
