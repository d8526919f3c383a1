"""What a step is fed: read one by one by hand, and the same from every way of reading."""

import threading

import numpy as np
import pytest
import torch

import toolkit.training.batches as module
from toolkit.errors import ImageError, InputError
from toolkit.patches.relations import TrackSpans, different
from toolkit.patches.shards import PairSample, read_pairs, write_shard
from toolkit.preprocess import Preprocessing
from toolkit.training.batches import Batches, PairDataset, PatchCache, Share, mean_image
from toolkit.training.sampling import BatchPlan
from toolkit.training.settings import TrainSettings

SMALL = Preprocessing(32, 32)
PATCH_BYTES = 32 * 32 * 3


@pytest.fixture(scope="module")
def pairs(learnable_patches):
    return read_pairs(learnable_patches)


def batches_of(pairs, workers=0, share=module.ALL, **changes):
    settings = TrainSettings(**{"batch_pairs": 8, "seed": 3, **changes})
    plan = BatchPlan([stored.pair for stored in pairs], settings)
    return Batches(PairDataset(pairs, SMALL), plan, workers, share)


def assert_same(some, others):
    for a, b in zip(some, others, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.negatives, b.negatives)
        assert a.first_row == b.first_row


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("vr-batch")]


@pytest.mark.parametrize("known_only", [False, True])
def test_rows_of_a_batch_are_query_and_positive_of_one_track(pairs, known_only):
    batches = batches_of(pairs, known_negatives=known_only)
    batch = next(batches.steps(5, 6))
    positions = batches.plan.pairs_of(5)
    chosen = [pairs[i] for i in positions]
    assert batch.images.shape == (16, 32, 32, 3)
    for row, stored in enumerate(chosen):
        for end, patch in enumerate((stored.read_query(), stored.read_positive())):
            off = batch.images[2 * row + end].numpy().astype(int) - SMALL.fit(patch)
            assert np.abs(off).max() <= 2
    tracks = [stored.pair.track for stored in chosen for _ in range(2)]
    same = batch.labels[:, None] == batch.labels[None]
    assert same.tolist() == [[a == b for b in tracks] for a in tracks]
    known = different(TrackSpans.of([stored.pair for stored in pairs]))
    for i, a in enumerate(positions):
        for j, b in enumerate(positions):
            may_be = known[a, b] if known_only else chosen[i].pair.track != chosen[j].pair.track
            assert batch.negatives[i, 2 * j : 2 * j + 2].tolist() == [may_be] * 2


@pytest.mark.parametrize("positives", ["track", "augmentation"])
def test_rows_are_the_patches_that_the_plan_picked(pairs, positives):
    batches = batches_of(pairs, positives=positives)
    dataset = PairDataset(pairs, SMALL)
    for step, batch in enumerate(batches.steps(0, 3)):
        picks = batches.plan.picks_of(step)
        for row, number in enumerate(picks.reshape(-1)):
            np.testing.assert_array_equal(batch.images[row].numpy(), dataset.patch(int(number)))


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
@pytest.mark.parametrize("kept", [0, 1, 50, 10**6], ids="{} patches kept".format)
def test_batches_are_the_same_from_memory_from_shards_and_from_threads(
    pairs, workers, kept, monkeypatch
):
    expected = list(batches_of(pairs, positives="track").steps(2, 9))
    monkeypatch.setattr(module, "CACHE_BYTES", kept * PATCH_BYTES)
    found = batches_of(pairs, workers, positives="track")
    assert_same(found.steps(2, 9), expected)
    assert_same(found.steps(2, 9), expected)
    assert threads() == []


@pytest.mark.parametrize("world", [2, 3, 8])
def test_the_shares_of_all_processes_are_the_batch_of_one(pairs, world):
    (whole,) = batches_of(pairs).steps(4, 5)
    parts = [next(batches_of(pairs, 1, Share(rank, world)).steps(4, 5)) for rank in range(world)]
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    rows = np.array_split(np.arange(8), world)
    for part, own in zip(parts, rows, strict=True):
        assert part.first_row == 2 * own[0]
        assert len(part.images) == 2 * len(own)
        assert torch.equal(part.labels, whole.labels)
        assert torch.equal(part.negatives, whole.negatives)


@pytest.mark.parametrize(("pairs_in_all", "world"), [(8, 1), (8, 3), (7, 7), (50, 8), (3, 5)])
def test_a_share_is_that_of_array_split(pairs_in_all, world):
    for rank, own in enumerate(np.array_split(np.arange(pairs_in_all), world)):
        np.testing.assert_array_equal(
            np.arange(pairs_in_all)[Share(rank, world).of(pairs_in_all)], own
        )


def test_more_processes_than_pairs_are_refused(pairs):
    with pytest.raises(InputError, match="3 training pairs for 4 processes"):
        batches_of([pairs[0], pairs[10], pairs[30]], share=Share(0, 4))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_tracks_are_refused(pairs, count):
    with pytest.raises(InputError, match=f"{count} training pairs of {count} tracks"):
        batches_of(pairs[:count])


def test_a_patch_is_decoded_once_where_it_can_be_kept(pairs, monkeypatch):
    read = []
    patch = PairDataset.patch
    monkeypatch.setattr(PairDataset, "patch", lambda self, n: read.append(n) or patch(self, n))
    batches = batches_of(pairs)
    assert read == []  # the first step waits for nothing but its own patches
    next(batches.steps(0, 1))
    assert len(read) == 16
    list(batches.steps(0, 30))
    assert len(read) == len(set(read)) <= 2 * len(pairs)


def test_of_more_than_fits_a_part_is_kept(pairs, monkeypatch):
    dataset = PairDataset(pairs, SMALL)
    cache = PatchCache(dataset, 10 * PATCH_BYTES + 1)
    read = []
    patch = PairDataset.patch
    monkeypatch.setattr(PairDataset, "patch", lambda self, n: read.append(n) or patch(self, n))
    numbers = np.array([3, 9, 10, 40, 3, 40])
    expected = np.stack([patch(dataset, int(n)) for n in numbers])
    for _ in range(2):
        np.testing.assert_array_equal(cache.take(numbers), expected)
    assert sorted(read) == [3, 3, 9, 10, 10, 40, 40, 40, 40]
    assert cache.take(np.arange(0)).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_damaged_patch_stops_the_run_with_its_name_and_leaves_no_thread(pairs, workers, tmp_path):
    samples = [PairSample(s.pair, s.read_bytes("query.jpg"), b"junk") for s in pairs[:40]]
    write_shard(tmp_path / "broken.tar", samples)
    batches = batches_of(read_pairs(tmp_path), workers)
    with pytest.raises(ImageError, match=r"broken\.tar:.*positive\.jpg"):
        list(batches.steps(0, 9))
    assert threads() == []


@pytest.mark.parametrize("workers", [1, 3])
def test_who_stops_in_the_middle_leaves_no_thread(pairs, workers):
    steps = batches_of(pairs, workers).steps(0, 10**6)
    next(steps)
    assert threads()
    steps.close()
    assert threads() == []


def test_threads_read_no_further_ahead_than_a_batch_each(pairs, monkeypatch):
    asked = []
    picks_of = BatchPlan.picks_of
    monkeypatch.setattr(
        BatchPlan, "picks_of", lambda self, step: asked.append(step) or picks_of(self, step)
    )
    steps = batches_of(pairs, 2).steps(0, 10**9)
    for step in range(3):
        next(steps)
        assert asked == list(range(step + 3))
    steps.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_no_steps_are_no_batches(pairs, workers):
    assert list(batches_of(pairs, workers).steps(4, 4)) == []


def test_the_mean_image_is_the_mean_over_all_patches(pairs):
    stack = [SMALL.fit(p) for s in pairs for p in (s.read_query(), s.read_positive())]
    found = mean_image(PairDataset(pairs, SMALL))
    np.testing.assert_allclose(found, np.mean(stack, axis=0), atol=0.1)
