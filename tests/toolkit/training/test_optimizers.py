"""The optimizers against loops that a reader can check by eye."""

import numpy as np
import pytest
import torch

from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.training.optimizers import CaffeSgd, make_optimizer
from toolkit.training.settings import TrainSettings

RATES = [1e-2, 1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4]
WANG2015 = TrainSettings.from_recipe("wang2015", {"backbone": "small", "size": 32})


def caffe_by_hand(weights, gradients, rates, decay, momentum=0.9):
    """sgd_solver.cpp: Regularize, then ComputeUpdateValue, then Net::Update; one number a time."""
    weights, history = list(weights), [0.0] * len(weights)
    for rate, gradient in zip(rates, gradients, strict=True):
        for i in range(len(weights)):
            diff = gradient[i] + decay * weights[i]
            history[i] = momentum * history[i] + rate * diff
            weights[i] -= history[i]
    return weights


def steps_of(optimizer, parameter, gradients, rates):
    for rate, gradient in zip(rates, gradients, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.step()


def one_parameter():
    random = np.random.default_rng(5)
    start = random.normal(size=7)
    return torch.nn.Parameter(torch.from_numpy(start.copy())), start, random.normal(size=(8, 7))


@pytest.mark.parametrize("decay", [0.0, 5e-4])
def test_momentum_is_that_of_caffe_also_where_the_rate_falls(decay):
    parameter, start, gradients = one_parameter()
    optimizer = CaffeSgd([{"params": [parameter], "weight_decay": decay}], RATES[0])
    steps_of(optimizer, parameter, gradients, RATES)
    expected = caffe_by_hand(start, gradients, RATES, decay)
    np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-12)
    # The test would see torch's own momentum, which differs only once the rate has fallen.
    other, _, _ = one_parameter()
    torchs = torch.optim.SGD([other], RATES[0], momentum=0.9, weight_decay=decay)
    steps_of(torchs, other, gradients[:3], RATES[:3])
    np.testing.assert_allclose(
        other.detach().numpy(), caffe_by_hand(start, gradients[:3], RATES[:3], decay), rtol=1e-12
    )
    steps_of(torchs, other, gradients[3:], RATES[3:])
    assert np.abs(other.detach().numpy() - expected).max() > 1e-3


@pytest.mark.parametrize("cut", [2, 3, 4])
def test_caffes_momentum_goes_on_after_a_checkpoint_to_the_bit(cut):
    whole, _, gradients = one_parameter()
    steps_of(CaffeSgd([{"params": [whole]}], 1.0), whole, gradients, RATES)
    part, _, _ = one_parameter()
    first = CaffeSgd([{"params": [part]}], 1.0)
    steps_of(first, part, gradients[:cut], RATES[:cut])
    second = CaffeSgd([{"params": [part]}], 1.0)
    second.load_state_dict(first.state_dict())
    steps_of(second, part, gradients[cut:], RATES[cut:])
    assert torch.equal(whole, part)


def test_a_parameter_without_a_gradient_stays_as_it_is():
    parameter = torch.nn.Parameter(torch.ones(3))
    CaffeSgd([{"params": [parameter], "weight_decay": 0.5}], 1.0).step()
    assert torch.equal(parameter, torch.ones(3))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_only_matrices_are_decayed(optimizer):
    """With a gradient of zero everywhere nothing but decay can move a weight."""
    settings = WANG2015.changed(optimizer=optimizer, rate=0.1, weight_decay=0.5)
    network = EmbeddingNetwork("small", settings.preprocessing, 8)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    made = make_optimizer(network, settings)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    assert any("norm" in name for name in before)
    for name, parameter in network.named_parameters():
        shrunk = before[name] if parameter.ndim < 2 else before[name] * (1 - 0.1 * 0.5)
        torch.testing.assert_close(parameter.detach(), shrunk, msg=name)


def test_biases_learn_at_twice_the_rate_with_sgd_only():
    network = EmbeddingNetwork("small", WANG2015.preprocessing, 8)
    for name, factor in (("sgd", 2.0), ("adamw", 1.0)):
        matrices, vectors = make_optimizer(network, WANG2015.changed(optimizer=name)).param_groups
        assert (matrices["rate_factor"], vectors["rate_factor"]) == (1.0, factor)
        assert {p.ndim for p in vectors["params"]} == {1}
        assert min(p.ndim for p in matrices["params"]) == 2
