"""Whole runs on small shards: they learn, repeat, resume to the bit and fail clearly."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit.embedding_torch import TorchEmbedder
from toolkit.errors import (
    InputError,
    Interrupted,
    MismatchError,
    MissingError,
    StorageError,
    TrainingError,
    UsageError,
)
from toolkit.networks.saved import load_model
from toolkit.patches.shards import read_pairs, write_shard
from toolkit.training.checkpoint import load_checkpoint
from toolkit.training.held_out import held_out_pairs, proof_pairs
from toolkit.training.loop import Machine, train
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer

QUICK = TrainSettings(
    size=32, dim=16, steps=6, batch_pairs=8, evaluate_every=3, precision="fp32", held_out=0.3
)


def run_at(path, settings=QUICK, *, patches, **options):
    """Begin a run, or go on with the one that is there."""
    if (path / "settings.json").exists():
        run = RunFolder(path)
        return train(patches, run, run.read_settings(), resume=True, **options)
    return train(patches, RunFolder.create(path, overwrite=False), settings, **options)


def weights(run):
    return load_checkpoint(RunFolder(run).last).model


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_a_run_learns(learnable_patches, tmp_path):
    settings = QUICK.changed(steps=80, batch_pairs=24, evaluate_every=80)
    report = run_at(tmp_path / "r", settings, patches=learnable_patches)
    rows = RunFolder(tmp_path / "r").read_metrics()
    before = next(row["recall@1"] for row in rows if row["step"] == 0)
    assert report.metrics.recall_at_1 > before + 0.2
    assert report.metrics.recall_at_1 == rows[-1]["recall@1"]


def test_a_run_leaves_what_the_format_says(learnable_patches, tmp_path):
    report = run_at(tmp_path / "runs" / "r", patches=learnable_patches)
    run = RunFolder(report.run)
    _, card = load_model(run.path)
    assert card.lineage["run"] == "r"
    assert card.lineage["step"] == 6
    assert run.read_settings() == QUICK.resolved("fp32")
    assert run.last.exists()
    assert run.best.exists()
    assert list((run.path / "tensorboard").glob("events.*"))
    assert [r["step"] for r in run.read_metrics() if "recall@1" in r] == [0, 3, 6]
    assert (tmp_path / "runs" / "latest").readlink() == Path("r")
    keys = {s.pair.key for s in held_out_pairs(run)}
    assert keys == set(run.read_data().held_out)
    assert report.held_out_pairs == len(keys) > 0
    assert not keys & {s.pair.key for s in training_pairs(run)}


def training_pairs(run):
    held_out = set(run.read_data().held_out)
    pairs = read_pairs(Path(run.read_data().patches))
    return [s for s in pairs if s.pair.key not in held_out]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(learnable_patches, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run_at(tmp_path / name, QUICK.changed(seed=seed), patches=learnable_patches)
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    a, c = weights(tmp_path / "a"), weights(tmp_path / "c")
    assert any(not torch.equal(a[name], c[name]) for name in a)


@pytest.mark.parametrize("stop_after", [1, 4])
def test_ctrl_c_leaves_a_run_that_resumes_to_the_same_bits(learnable_patches, tmp_path, stop_after):
    settings = QUICK.changed(steps=8)
    whole = run_at(tmp_path / "whole", settings, patches=learnable_patches)
    step = Trainer.step
    with pytest.MonkeyPatch.context() as patch:

        def stepping(self, number, batch):
            if number == stop_after:
                os.kill(os.getpid(), signal.SIGINT)
            return step(self, number, batch)

        patch.setattr(Trainer, "step", stepping)
        with pytest.raises(Interrupted, match=f"after step {stop_after + 1} of 8"):
            run_at(tmp_path / "cut", settings, patches=learnable_patches)
    assert load_checkpoint(RunFolder(tmp_path / "cut").last).step == stop_after + 1
    resumed = run_at(tmp_path / "cut", settings, patches=learnable_patches)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert resumed.metrics == whole.metrics


def test_metrics_behind_the_checkpoint_are_dropped_on_resume(learnable_patches, tmp_path):
    run_at(tmp_path / "r", patches=learnable_patches)
    run = RunFolder(tmp_path / "r")
    with run.metrics.open("a") as stream:  # as if killed after logging and before saving
        stream.write(json.dumps({"step": 7, "loss": 1.0}) + '\n{"step": 8, "lo')
    run_at(tmp_path / "r", patches=learnable_patches)
    assert max(row["step"] for row in run.read_metrics()) == 6


def test_kill_dash_nine_leaves_whole_files(learnable_patches, tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "import toolkit.training.loop as loop\n"
        "import toolkit.training.batches as batches\n"
        "import toolkit.training.session as session\n"
        "from toolkit.training.run_folder import RunFolder\n"
        "from toolkit.training.settings import TrainSettings\n"
        "session.CHECKPOINT_EVERY_S = batches.CACHE_BYTES = 0\n"  # read by the workers
        "settings = TrainSettings(size=32, dim=16, steps=100000, batch_pairs=8, ema=0.9,\n"
        "                         positives='track')\n"
        "run = RunFolder.create(Path(sys.argv[2]), overwrite=False)\n"
        "loop.train(Path(sys.argv[1]), run, settings, machine=loop.Machine('cpu', 2))\n"
    )
    run = RunFolder(tmp_path / "r")
    arguments = [sys.executable, "-c", code, str(learnable_patches), str(run.path)]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as child:
        deadline = time.monotonic() + 120
        while not run.last.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        child.kill()
    killed_at = load_checkpoint(run.last).step
    assert killed_at >= 1
    # What the kill left goes on to the same bits as a run that nobody killed.
    stop = killed_at + 2
    resumed = _stopped_after(stop, learnable_patches, run, resume=True)
    other = RunFolder.create(tmp_path / "whole", overwrite=False)
    whole = _stopped_after(stop, learnable_patches, other, run.read_settings())
    assert_same(resumed, whole)


def _stopped_after(stop, patches, run, settings=None, *, resume=False):
    """The weights and their averages after `stop` steps, by a Ctrl-C at that step."""
    step = Trainer.step
    with pytest.MonkeyPatch.context() as patch:

        def stepping(self, number, batch):
            if number == stop - 1:
                os.kill(os.getpid(), signal.SIGINT)
            return step(self, number, batch)

        patch.setattr(Trainer, "step", stepping)
        with pytest.raises(Interrupted):
            train(patches, run, settings or run.read_settings(), resume=resume)
    checkpoint = load_checkpoint(run.last)
    return checkpoint.model | {f"ema of {name}": t for name, t in checkpoint.ema.items()}


def test_other_patches_are_refused_on_resume(learnable_patches, tmp_path):
    run_at(tmp_path / "r", patches=learnable_patches)
    other = tmp_path / "other"
    other.mkdir()
    shard = next(iter(sorted(learnable_patches.glob("*.tar"))))
    (other / shard.name).write_bytes(shard.read_bytes())
    with pytest.raises(MismatchError, match="not those that"):
        run_at(tmp_path / "r", patches=other)


def test_a_run_is_not_overwritten_unasked(learnable_patches, tmp_path):
    run_at(tmp_path / "r", patches=learnable_patches)
    with pytest.raises(UsageError, match="--resume to go on, --overwrite"):
        RunFolder.create(tmp_path / "r", overwrite=False)
    before = weights(tmp_path / "r")
    run = RunFolder.create(tmp_path / "r", overwrite=True)
    with pytest.raises(InputError, match="no mined pairs"):  # nothing is lost to a false start
        train(tmp_path / "empty", run, QUICK)
    assert_same(weights(tmp_path / "r"), before)
    train(learnable_patches, run, QUICK.changed(seed=9))
    assert run.read_settings().seed == 9
    assert max(row["step"] for row in run.read_metrics()) == 6


def test_a_run_that_another_process_trains_is_left_alone(learnable_patches, tmp_path):
    run = RunFolder.create(tmp_path / "r", overwrite=False)
    with run.held():
        with pytest.raises(StorageError, match=r"Another vr is writing the run .*/r"):
            train(learnable_patches, run, QUICK)
        assert not run.path.exists()
        train(learnable_patches, RunFolder.create(tmp_path / "other", overwrite=False), QUICK)
    run_at(tmp_path / "r", patches=learnable_patches)
    before = weights(tmp_path / "r")
    with run.held():
        for resume in (False, True):
            with pytest.raises(StorageError, match="Another vr"):
                train(learnable_patches, run, run.read_settings(), resume=resume)
    assert_same(weights(tmp_path / "r"), before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "other", "r"]


def test_a_run_that_was_made_in_the_meantime_is_not_replaced(learnable_patches, tmp_path):
    """Two of one name began and mined; the second must not undo what the first trained."""
    first, second = (RunFolder.create(tmp_path / "r", overwrite=False) for _ in range(2))
    train(learnable_patches, first, QUICK)
    before = weights(tmp_path / "r")
    with pytest.raises(UsageError, match=r"The run .*/r exists"):
        train(learnable_patches, second, QUICK.changed(seed=9))
    assert_same(weights(tmp_path / "r"), before)
    train(learnable_patches, RunFolder.create(tmp_path / "r", overwrite=True), QUICK)


@pytest.mark.parametrize("name", ["latest", "a b", "..", "a/"])
def test_a_run_needs_a_plain_name(tmp_path, name):
    if name == "a/":
        RunFolder.create(tmp_path / name, overwrite=False)  # a trailing slash is no harm
        return
    with pytest.raises(UsageError, match="cannot be the name"):
        RunFolder.create(tmp_path / name, overwrite=False)


def test_edited_settings_are_refused_on_resume(learnable_patches, tmp_path):
    run_at(tmp_path / "r", patches=learnable_patches)
    path = tmp_path / "r" / "settings.json"
    path.write_text(path.read_text().replace('"steps": 6', '"steps": 9'))
    with pytest.raises(MismatchError, match=r"settings\.json is not what"):
        run_at(tmp_path / "r", patches=learnable_patches)


def test_a_loss_that_is_no_number_ends_the_run(learnable_patches, tmp_path):
    settings = QUICK.changed(
        loss="rank-hard", rate=50.0, optimizer="sgd", decay="step", warmup=0.0, steps=40
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "toolkit.losses.rank_hard.RankHardLoss.forward",
            lambda self, x, labels, generator, negatives: (x * float("nan")).sum(),
        )
        with pytest.raises(TrainingError, match="diverged"):
            run_at(tmp_path / "r", settings, patches=learnable_patches)


@pytest.mark.parametrize("stand_in", ["file", "link"])
def test_what_is_no_run_folder_is_not_replaced(tmp_path, stand_in):
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "r"
    path.write_text("mine") if stand_in == "file" else path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="in the way"):
        RunFolder.create(path, overwrite=True)


@pytest.mark.parametrize("limit", [2_000, 200_000])
def test_a_full_disk_is_one_clear_error(learnable_patches, tmp_path, limit):
    """RLIMIT_FSIZE makes the real writers fail as a full disk does, metrics first or weights."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from toolkit.errors import StorageError\n"
        "from toolkit.training.loop import train\n"
        "from toolkit.training.run_folder import RunFolder\n"
        "from toolkit.training.settings import TrainSettings\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "settings = TrainSettings(size=32, dim=16, steps=3, batch_pairs=8, held_out=0.0)\n"
        "run = RunFolder.create(Path(sys.argv[2]), overwrite=False)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)\n"
        "try:\n"
        "    train(Path(sys.argv[1]), run, settings)\n"
        "except StorageError as error:\n"
        "    print('StorageError:', error)\n"
    )
    arguments = [sys.executable, "-c", code, learnable_patches, tmp_path / "r", str(limit)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("StorageError: Cannot write"), done.stderr[-2000:]
    left = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert not [name for name in left if name.startswith(".") or name.endswith(".pt")], left


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk"])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(MismatchError, match="no readable checkpoint"):
        load_checkpoint(tmp_path / "last.pt")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    torch.save({"version": 1, "step": Evil()}, tmp_path / "last.pt")
    with pytest.raises(MismatchError, match="no readable checkpoint"):
        load_checkpoint(tmp_path / "last.pt")
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_of_another_version_is_refused(tmp_path):
    torch.save({"version": 99}, tmp_path / "last.pt")
    with pytest.raises(MismatchError, match="version 2 but of version 99"):
        load_checkpoint(tmp_path / "last.pt")


def test_an_empty_folder_cannot_be_trained_on(tmp_path):
    with pytest.raises(InputError, match="no mined pairs"):
        run_at(tmp_path / "r", patches=tmp_path)


def test_one_pair_cannot_be_trained_on(learnable_patches, tmp_path):
    source = read_pairs(learnable_patches)[0]
    sample = _sample_of(source)
    write_shard(tmp_path / "p" / "one.tar", [sample])
    with pytest.raises(InputError, match="1 training pairs of 1 tracks"):
        run_at(tmp_path / "r", QUICK.changed(held_out=0.0), patches=tmp_path / "p")


def _sample_of(stored):
    from toolkit.images import encode_jpeg
    from toolkit.patches.shards import PairSample

    return PairSample(
        stored.pair, encode_jpeg(stored.read_query()), encode_jpeg(stored.read_positive())
    )


def test_nothing_held_out_trains_without_measuring(learnable_patches, tmp_path):
    settings = QUICK.changed(held_out=0.0, steps=2)
    report = run_at(tmp_path / "r", settings, patches=learnable_patches)
    assert report.metrics is None
    assert report.held_out_pairs == 0
    run = RunFolder(tmp_path / "r")
    assert list(held_out_pairs(run)) == []
    assert len(proof_pairs(run, most=10)) == 10


def test_cuda_is_refused_where_there_is_none(learnable_patches, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(MissingError, match="--device cuda cannot be had"):
        run_at(tmp_path / "r", patches=learnable_patches, machine=Machine("cuda"))


@pytest.mark.parametrize("count", [0, 1, 130])
def test_the_torch_embedder_takes_any_batch(learnable_patches, tmp_path, count):
    run_at(tmp_path / "r", QUICK.changed(steps=1), patches=learnable_patches)
    embedder = TorchEmbedder.open(tmp_path / "r", "cpu")
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    rows = embedder.embed(images)
    assert rows.shape == (count, 16)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.ones(count), atol=1e-4)
    if count == 130:
        np.testing.assert_allclose(rows[129:], embedder.embed(images[129:]), atol=1e-5)
