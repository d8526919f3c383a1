"""What a step is fed, how it is changed, and what it does to the weights."""

import numpy as np
import pytest
import torch

from toolkit.patches.relations import TrackSpans, different
from toolkit.patches.shards import read_pairs
from toolkit.training.augment import augment, mirror
from toolkit.training.batches import Batch, Batches, BatchPlan, PairDataset, mean_image
from toolkit.training.loop import spread
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer

QUICK = TrainSettings(
    size=32, dim=16, steps=6, batch_pairs=8, evaluate_every=3, precision="fp32", held_out=0.3
)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_the_same_from_memory_and_from_workers(learnable_patches, workers):
    import toolkit.training.batches as module

    pairs = read_pairs(learnable_patches)
    dataset = PairDataset(pairs, QUICK.preprocessing)
    plan = BatchPlan(len(pairs), 8, seed=3)
    in_memory = list(Batches(dataset, plan, 0).steps(0, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CACHE_BYTES", 0)
        streamed = list(Batches(dataset, plan, workers).steps(0, 4))
    for a, b in zip(in_memory, streamed, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.negatives, b.negatives)


def test_rows_of_a_batch_are_query_and_positive_of_one_track(learnable_patches):
    pairs = read_pairs(learnable_patches)
    dataset = PairDataset(pairs, QUICK.preprocessing)
    plan = BatchPlan(len(pairs), 8, seed=0)
    batch = next(iter(Batches(dataset, plan, 0).steps(5, 6)))
    images, labels = batch.images, batch.labels
    chosen = [pairs[i] for i in BatchPlan(len(pairs), 8, seed=0).pairs_of(5)]
    for row, stored in enumerate(chosen):
        fit = QUICK.preprocessing.fit
        np.testing.assert_array_equal(images[2 * row].numpy(), fit(stored.read_query()))
        np.testing.assert_array_equal(images[2 * row + 1].numpy(), fit(stored.read_positive()))
    tracks = [stored.pair.track for stored in chosen for _ in range(2)]
    same = labels[:, None] == labels[None]
    assert same.tolist() == [[a == b for b in tracks] for a in tracks]
    known = different(TrackSpans.of([stored.pair for stored in pairs]))
    positions = plan.pairs_of(5)
    for i, a in enumerate(positions):
        for j, b in enumerate(positions):
            assert batch.negatives[i, 2 * j : 2 * j + 2].tolist() == [known[a, b]] * 2


@pytest.mark.parametrize(("count", "batch"), [(20, 4), (22, 4)])
def test_no_pair_comes_twice_an_epoch(count, batch):
    plan = BatchPlan(count, batch, seed=1)
    left_out = set()
    for epoch in range(12):
        seen = np.concatenate([plan.pairs_of(epoch * 5 + step) for step in range(5)])
        assert len(set(seen.tolist())) == 20
        left_out |= set(range(count)) - set(seen.tolist())
    assert len(left_out) == (0 if count == 20 else pytest.approx(22, abs=16))


def test_fewer_pairs_than_a_batch_make_a_smaller_batch():
    assert len(BatchPlan(3, 64, seed=0).pairs_of(7)) == 3


def test_the_mean_image_is_the_mean_over_all_patches(learnable_patches):
    pairs = read_pairs(learnable_patches)
    fit = QUICK.preprocessing.fit
    stack = [fit(p) for s in pairs for p in (s.read_query(), s.read_positive())]
    dataset = PairDataset(pairs, QUICK.preprocessing)
    np.testing.assert_allclose(mean_image(dataset), np.mean(stack, axis=0), atol=1e-3)


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


def test_mirroring_gives_each_patch_or_its_mirror():
    images = torch.rand(64, 3, 8, 8)
    mirrored = mirror(images, torch.Generator().manual_seed(0))
    same = (mirrored == images).flatten(1).all(1)
    flipped = (mirrored == images.flip(3)).flatten(1).all(1)
    assert (same ^ flipped).all()
    assert 15 < same.sum() < 49


def test_augmentation_keeps_shape_and_range_and_follows_the_generator():
    images = torch.rand(16, 3, 24, 24) * 255
    first = augment(images, torch.Generator().manual_seed(1))
    again = augment(images, torch.Generator().manual_seed(1))
    other = augment(images, torch.Generator().manual_seed(2))
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 255
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_augmentation_of_a_plain_gray_patch_keeps_it_plain():
    plain = torch.full((8, 3, 16, 16), 100.0)
    changed = augment(plain, torch.Generator().manual_seed(0))
    assert changed.flatten(1).std(1).max() < 1e-2
    assert 60 < changed.mean() < 140


def test_spread_tells_collapse():
    apart = torch.nn.functional.normalize(torch.randn(2000, 16), dim=1)
    assert spread(apart) == pytest.approx(1, abs=0.03)
    assert spread(torch.ones(10, 4) / 2) == pytest.approx(0, abs=1e-6)
