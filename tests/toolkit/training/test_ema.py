"""The averaged weights against a scalar loop, and what of a run is made from them."""

import numpy as np
import pytest
import torch

from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import load_model
from toolkit.preprocess import Preprocessing
from toolkit.training.checkpoint import load_checkpoint
from toolkit.training.ema import Ema
from toolkit.training.loop import train
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings

QUICK = TrainSettings(
    size=32, dim=16, steps=6, batch_pairs=8, evaluate_every=3, precision="fp32", held_out=0.3
)


def a_network():
    torch.manual_seed(0)
    return EmbeddingNetwork("small", Preprocessing(32, 32), 8)


def shaken(network, steps):
    """Weights and statistics that change at random; the states that the average is to see."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        with torch.no_grad():
            for tensor in network.state_dict().values():
                if tensor.is_floating_point():
                    tensor.add_(torch.randn(tensor.shape, generator=generator))
                else:
                    tensor.add_(1)
        yield {name: t.numpy().copy() for name, t in network.state_dict().items()}


@pytest.mark.parametrize("decay", [0.3, 0.9])
def test_the_average_is_that_of_a_loop(decay):
    network = a_network()
    expected = {name: t.double().numpy() for name, t in network.state_dict().items()}
    ema = Ema(network, decay)
    for n, newest in enumerate(shaken(network, 12)):
        ema.update(network, n)
        now = min(decay, (1 + n) / (10 + n))
        for name, tensor in newest.items():
            counts = tensor.dtype.kind == "i"
            expected[name] = tensor if counts else now * expected[name] + (1 - now) * tensor
    for name, tensor in ema.network.state_dict().items():
        np.testing.assert_allclose(tensor.numpy(), expected[name], rtol=1e-4, atol=1e-4)


def test_what_never_changes_stays_to_the_bit():
    network = a_network()
    ema = Ema(network, 0.99)
    for n in range(50):
        ema.update(network, n)
    for name, tensor in ema.network.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name


def test_the_beginning_is_soon_forgotten():
    """After 100 steps at a decay of 0.999 the plain average would still be 90 % of the start."""
    network = a_network()
    ema = Ema(network, 0.999)
    start = network.backbone.head.weight.detach().clone()
    with torch.no_grad():
        network.backbone.head.weight.zero_()
    for n in range(100):
        ema.update(network, n)
    assert ema.network.backbone.head.weight.abs().max() < 1e-3 * start.abs().max()


def test_it_follows_and_is_not_followed():
    network = a_network()
    ema = Ema(network, 0.5)
    before = [p.detach().clone() for p in network.parameters()]
    ema.update(network, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert not any(p.requires_grad for p in ema.network.parameters())
    assert all(p.requires_grad for p in network.parameters())


def test_what_is_saved_for_use_is_the_average(learnable_patches, tmp_path):
    run = RunFolder.create(tmp_path / "r", overwrite=False)
    train(learnable_patches, run, QUICK.changed(ema=0.9))
    checkpoint = load_checkpoint(run.last)
    saved = load_model(run.path)[0].state_dict()
    assert saved.keys() == checkpoint.ema.keys() == checkpoint.model.keys()
    assert all(torch.equal(saved[name], checkpoint.ema[name]) for name in saved)
    assert any(not torch.equal(saved[name], checkpoint.model[name]) for name in saved)


def test_averaging_leaves_the_training_itself_alone(learnable_patches, tmp_path):
    models = []
    for ema in (0.0, 0.9):
        run = RunFolder.create(tmp_path / f"r{ema}", overwrite=False)
        train(learnable_patches, run, QUICK.changed(ema=ema))
        models.append(load_checkpoint(run.last))
    plain, averaged = models
    assert plain.ema == {}
    assert all(torch.equal(plain.model[name], averaged.model[name]) for name in plain.model)
