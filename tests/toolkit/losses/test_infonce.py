"""InfoNceLoss against a loop over rows."""

import math

import pytest
import torch

from toolkit.losses import InfoNceLoss


def literal(x, labels, temperature, negatives=None):
    total = 0.0
    for i in range(len(x)):
        partner = i + 1 if i % 2 == 0 else i - 1
        others = [j for j in range(len(x)) if labels[j] != labels[i]]
        allowed = [j for j in others if negatives is None or negatives[i // 2, j]] + [partner]
        scores = [float(x[i] @ x[j]) / temperature for j in allowed]
        total -= scores[-1] - math.log(sum(map(math.exp, scores)))
    return total / len(x)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_it_equals_the_literal_loop(temperature):
    x = torch.nn.functional.normalize(torch.randn(14, 6, generator=torch.Generator()), dim=1)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 0, 0, 3, 3, 4, 4, 5, 5])  # track 0 comes twice
    value = InfoNceLoss(temperature)(x, labels)
    assert value.item() == pytest.approx(literal(x, labels, temperature), abs=1e-5)


def test_unknown_rows_count_neither_way():
    x = torch.nn.functional.normalize(torch.randn(14, 6, generator=torch.Generator()), dim=1)
    labels = torch.arange(7).repeat_interleave(2)
    known = torch.rand(7, 14, generator=torch.Generator().manual_seed(1)) < 0.5
    value = InfoNceLoss(0.2)(x, labels, negatives=known)
    assert value.item() == pytest.approx(literal(x, labels, 0.2, known), abs=1e-5)


def test_one_pair_has_no_loss():
    x = torch.nn.functional.normalize(torch.randn(2, 6), dim=1)
    assert InfoNceLoss()(x, torch.tensor([0, 0])).item() == pytest.approx(0, abs=1e-6)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature"):
        InfoNceLoss(0)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="2P"):
        InfoNceLoss()(torch.zeros(0, 4), torch.zeros(0))
