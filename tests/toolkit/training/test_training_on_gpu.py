"""Training and embedding on CUDA, against the same on the CPU."""

import numpy as np
import pytest
import torch

from toolkit.embedding_torch import TorchEmbedder
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import save_model
from toolkit.preprocess import Preprocessing
from toolkit.training.batches import Batch
from toolkit.training.loop import Machine, train
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer

pytestmark = pytest.mark.gpu


def test_embeddings_on_cuda_are_those_of_the_cpu(tmp_path):
    torch.manual_seed(0)
    network = EmbeddingNetwork("small", Preprocessing(32, 32), 16)
    card = save_model(network, tmp_path, {})
    images = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), np.uint8)
    on_cpu = TorchEmbedder(network, card, "cpu").embed(images)
    on_cuda = TorchEmbedder.open(tmp_path, "cuda").embed(images)
    assert (on_cpu * on_cuda).sum(1).min() > 0.999


def test_a_step_without_augmentation_is_that_of_the_cpu():
    settings = TrainSettings.from_recipe(
        "wang2015", {"backbone": "small", "size": 32, "batch_pairs": 8, "steps": 4}
    )
    images = torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8)
    images = torch.cat([images, images.flip(2)])[:16]
    labels = torch.arange(8).repeat_interleave(2)
    batch = Batch(images, labels, torch.ones(8, 16, dtype=torch.bool))
    weights = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        network = EmbeddingNetwork("small", settings.preprocessing, 16)
        trainer = Trainer(network, settings, device)
        assert torch.isfinite(trainer.step(0, batch).loss)
        weights[device] = network.backbone.head.weight.detach().cpu()
    # Other draws of the mirror and of the negatives: near, not equal.
    assert torch.nn.functional.cosine_similarity(
        weights["cpu"].flatten(), weights["cuda"].flatten(), dim=0
    ) > 0.999  # fmt: skip


def test_a_whole_run_on_cuda_learns(learnable_patches, tmp_path):
    settings = TrainSettings(size=32, dim=16, steps=80, batch_pairs=24, evaluate_every=80)
    run = RunFolder.create(tmp_path / "r", overwrite=False)
    report = train(learnable_patches, run, settings, machine=Machine("cuda"))
    before = next(row["recall@1"] for row in run.read_metrics() if row["step"] == 0)
    assert report.metrics.recall_at_1 > before + 0.2


@pytest.mark.parametrize("loss", ["infonce", "rank-hard"])
def test_a_step_never_waits_for_the_gpu(loss):
    """torch raises at whatever makes the processor wait: a value asked for, a plain copy."""
    settings = TrainSettings(size=32, dim=16, batch_pairs=8, loss=loss, ema=0.9, hard_after=0.0)
    network = EmbeddingNetwork("small", settings.preprocessing, 16)
    trainer = Trainer(network, settings, "cuda")
    images = torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8)
    batch = Batch(images, torch.arange(8).repeat_interleave(2), torch.ones(8, 16) > 0)
    for step in range(2):  # the first ones set up the libraries
        trainer.step(step, batch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(2, 5):
            trainer.step(step, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
