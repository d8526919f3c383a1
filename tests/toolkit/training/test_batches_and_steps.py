"""What a step does to the weights."""

import torch

from toolkit.training.batches import Batch
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer


def test_sgd_doubles_the_rate_of_biases_and_does_not_decay_them():
    from toolkit.networks.embedder import EmbeddingNetwork

    settings = TrainSettings.from_recipe(
        "wang2015", {"backbone": "small", "size": 32, "batch_pairs": 4, "steps": 4}
    )
    network = EmbeddingNetwork("small", settings.preprocessing, 8)
    trainer = Trainer(network, settings, "cpu")
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    images = torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8)
    labels = torch.arange(4).repeat_interleave(2)
    trainer.step(0, Batch(images, labels, torch.ones(4, 8, dtype=torch.bool)))
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        bias = parameter.ndim < 2
        decay = 0.0 if bias else 5e-4
        step = (2e-3 if bias else 1e-3) * (parameter.grad + decay * before[name])
        torch.testing.assert_close(parameter.detach(), before[name] - step, atol=1e-6, rtol=1e-4)
