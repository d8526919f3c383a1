"""kill -9 at random points, a full disk, a diverging run: the last good state is there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from toolkit.errors import StorageError, TrainingError
from toolkit.training import batches, session
from toolkit.training.checkpoint import load_checkpoint
from toolkit.training.loop import train
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

QUICK = TrainSettings(
    size=32, dim=16, steps=6, batch_pairs=8, evaluate_every=3, precision="fp32", held_out=0.3
)
MODERN = QUICK.changed(steps=12, ema=0.9, positives="track")
CAFFES = QUICK.changed(steps=12, optimizer="sgd", decay="step", warmup=0.0, augment=False, ema=0.5)


def train_killed(patches, run, settings, seed):
    """How often the run was killed before it came to its end."""
    done = subprocess.run(
        [
            sys.executable, HERE / "killed_train.py", patches, run.path,
            json.dumps(settings.as_json()), str(seed),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def train_undisturbed(patches, run, settings, monkeypatch):
    monkeypatch.setattr(session, "LOG_EVERY", 1)
    train(patches, run, settings)


def rows_of(run):
    """What was measured, without what depends on the clock; and no row twice."""
    return [
        {name: value for name, value in row.items() if name != "pairs_per_second"}
        for row in run.read_metrics()
    ]


def assert_same_state(first, second):
    a, b = load_checkpoint(first), load_checkpoint(second)
    assert (a.step, a.best_recall) == (b.step, b.best_recall)
    assert a.model.keys() == b.model.keys()
    assert all(torch.equal(a.model[name], b.model[name]) for name in a.model)
    assert a.ema.keys() == b.ema.keys()
    assert all(torch.equal(a.ema[name], b.ema[name]) for name in a.ema)
    for number, state in a.optimizer["state"].items():
        for name, value in state.items():
            assert torch.equal(value, b.optimizer["state"][number][name]), (number, name)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "seed"),
    [
        (MODERN, 1),
        (CAFFES, 2),
        (QUICK.changed(loss="rank-hard", cameras="one", keep="best"), 3),
    ],
)
def test_a_run_that_was_killed_often_ends_as_one_that_was_not(
    learnable_patches, tmp_path, monkeypatch, settings, seed
):
    killed, whole = RunFolder(tmp_path / "killed"), RunFolder(tmp_path / "whole")
    assert train_killed(learnable_patches, killed, settings, seed) >= 2
    train_undisturbed(learnable_patches, whole, settings, monkeypatch)
    assert_same_state(killed.last, whole.last)
    assert_same_state(killed.best, whole.best)
    assert rows_of(killed) == rows_of(whole)
    for name in ("model.safetensors", "settings.json"):
        assert (killed.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_disk_that_fills_up_leaves_the_last_good_checkpoint(
    learnable_patches, tmp_path, monkeypatch, largest_file
):
    monkeypatch.setattr(session, "CHECKPOINT_EVERY_S", 0.0)
    run = RunFolder(tmp_path / "full")
    step = Trainer.step
    size = []

    def stepping(self, number, batch):
        if number < 4:
            return step(self, number, batch)
        size.append(run.last.stat().st_size)
        with largest_file(size[0] // 2):
            result = step(self, number, batch)
            session.save_checkpoint(load_checkpoint(run.last), run.last)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stepping)
        with pytest.raises(StorageError, match=r"Cannot write .*last\.pt"):
            train(learnable_patches, run, QUICK)
    assert load_checkpoint(run.last).step == 4
    assert sorted(p.name for p in run.checkpoints.iterdir()) == ["best.pt", "last.pt"]
    # With room again it goes on, to the same bits.
    train(learnable_patches, run, run.read_settings(), resume=True)
    whole = RunFolder(tmp_path / "whole")
    train(learnable_patches, whole, QUICK)
    assert_same_state(run.last, whole.last)


def test_weights_that_are_no_numbers_are_never_saved(learnable_patches, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "CHECKPOINT_EVERY_S", 0.0)
    run = RunFolder(tmp_path / "r")
    step = Trainer.step

    def stepping(self, number, batch):
        result = step(self, number, batch)
        if number == 3:  # between two rows of the log, the loss still finite
            with torch.no_grad():
                self.network.backbone.head.weight[0, 0] = float("nan")
        return result

    monkeypatch.setattr(Trainer, "step", stepping)
    with pytest.raises(TrainingError, match="weights are no longer numbers at step 4"):
        train(learnable_patches, run, QUICK)
    checkpoint = load_checkpoint(run.last)
    assert checkpoint.step == 3
    assert all(t.isfinite().all() for t in checkpoint.model.values())


def test_a_checkpoint_is_not_torn_by_a_kill_while_it_is_written(tmp_path, monkeypatch):
    """The old one stands until the new one is whole: whatever is written goes to a draft."""
    target = tmp_path / "last.pt"
    target.write_bytes(b"the old one")
    seen = []
    write = Path.write_bytes

    def writing(path, content):
        result = write(path, content)
        seen.append((path == target, target.read_bytes()))
        return result

    monkeypatch.setattr(Path, "write_bytes", writing)
    empty = session.Checkpoint(1, 0.0, {}, {}, {}, {}, "", torch.get_rng_state())
    session.save_checkpoint(empty, target)
    assert seen == [(False, b"the old one")]
    assert load_checkpoint(target).step == 1


def test_every_patch_is_read_again_where_no_cache_is_allowed(
    learnable_patches, tmp_path, monkeypatch
):
    """The kills above do read from the shards: without a cache nothing is kept."""
    monkeypatch.setattr(batches, "CACHE_BYTES", 0)
    read = []
    patch = batches.PairDataset.patch
    monkeypatch.setattr(
        batches.PairDataset,
        "patch",
        lambda self, number: read.append(number) or patch(self, number),
    )
    train(learnable_patches, RunFolder(tmp_path / "r"), QUICK.changed(held_out=0.0, steps=20))
    assert len(read) == 20 * 2 * QUICK.batch_pairs
