"""Whole runs of `vr train` on two processes: as on one, resumable, and never left hanging."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit.errors import Interrupted
from toolkit.training.checkpoint import load_checkpoint
from toolkit.training.loop import train
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer

# SGD: Adam makes whole steps of what is nothing but rounding.
SETTINGS = TrainSettings(
    size=32, dim=16, steps=12, batch_pairs=9, evaluate_every=6, held_out=0.3, precision="fp32",
    optimizer="sgd", rate=1e-4, loss="rank-hard", ema=0.9,
)  # fmt: skip
CHANGED = (
    "size", "dim", "steps", "batch_pairs", "evaluate_every", "held_out", "precision", "optimizer",
    "rate", "loss", "ema",
)  # fmt: skip


def command(patches, run, settings=SETTINGS, *, before=("-m", "cli.main")):
    """`vr train` from the beginning, or from where the run stands."""
    arguments = [sys.executable, *before, "train", "--patches", patches, "--device", "cpu"]
    arguments += ["--out", run.parent, "--name", run.name, "--workers", "0"]
    if run.exists():
        arguments.append("--resume")
    else:
        for name in CHANGED:
            arguments += ["--set", f"{name}={getattr(settings, name)}"]
    return [str(argument) for argument in arguments]


@contextmanager
def started(arguments, folder):
    """A command in a session of its own, so that nothing of it can outlive the test."""
    process = subprocess.Popen(
        arguments,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for pid in members(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def members(session):
    """The living processes of a session, and their children in others (torchrun makes some)."""
    found, more = set(), True
    while more:
        more = False
        for path in Path("/proc").glob("[0-9]*"):
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            state, parent, own = fields[0], int(fields[1]), int(fields[3])
            fresh = int(path.name) not in found
            if fresh and state != "Z" and (own == session or parent in found):
                found.add(int(path.name))
                more = True
    return sorted(found)


def done(arguments, folder, timeout=180):
    with started(arguments, folder) as process:
        out, err = process.communicate(timeout=timeout)
        assert process.returncode == 0, err[-3000:]
        assert members(process.pid) == []
    return out


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def steps_logged(run):
    return max((row["step"] for row in RunFolder(run).read_metrics()), default=0)


def on_one(patches, path, settings=SETTINGS):
    return train(patches, RunFolder.create(path, overwrite=False), settings)


def assert_near(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0, atol=1e-4, msg=name)


def losses(run):
    return [row["loss"] for row in RunFolder(run).read_metrics() if "loss" in row]


def test_a_run_on_two_processes_is_that_of_one(learnable_patches, tmp_path):
    two, one = tmp_path / "runs" / "two", tmp_path / "one"
    out = done([*command(learnable_patches, two), "--gpus", "2", "--json"], tmp_path)
    content = json.loads(out)  # one object, though two processes ran
    assert content["run"] == str(two)
    report = on_one(learnable_patches, one)
    rows, expected = RunFolder(two).read_metrics(), RunFolder(one).read_metrics()
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    np.testing.assert_allclose(losses(two), losses(one), rtol=1e-3)
    assert content["metrics"]["recall@1"] == pytest.approx(report.metrics.recall_at_1, abs=0.08)
    shared, alone = (load_checkpoint(RunFolder(run).last) for run in (two, one))
    assert shared.settings == alone.settings
    assert_near(alone.model, shared.model)
    assert_near(alone.ema, shared.ema)


@pytest.mark.slow
def test_what_one_process_began_two_go_on_with(learnable_patches, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "cut"
    on_one(learnable_patches, whole)
    step = Trainer.step
    with pytest.MonkeyPatch.context() as patch:

        def stepping(self, number, batch):
            if number == 4:
                os.kill(os.getpid(), signal.SIGINT)
            return step(self, number, batch)

        patch.setattr(Trainer, "step", stepping)
        with pytest.raises(Interrupted):
            on_one(learnable_patches, run)
    done([*command(learnable_patches, run), "--gpus", "2"], tmp_path)
    assert steps_logged(run) == 12
    np.testing.assert_allclose(losses(run), losses(whole), rtol=5e-3)
    first, second = (load_checkpoint(RunFolder(path).last) for path in (whole, run))
    assert_near(first.model, second.model)


@pytest.mark.slow
def test_ctrl_c_saves_once_and_a_kill_costs_no_more_than_the_steps_since(
    learnable_patches, tmp_path
):
    run = tmp_path / "r"
    settings = SETTINGS.changed(steps=80, evaluate_every=1000)
    arguments = [*command(learnable_patches, run, settings), "--gpus", "2"]
    with started(arguments, tmp_path) as process:
        wait_until(lambda: run.exists() and steps_logged(run) >= 10)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (130, "")
        assert err.count("error:") == 1, err
        assert "the run is saved" in err
        assert members(process.pid) == []
    stopped = load_checkpoint(RunFolder(run).last).step
    assert 10 <= stopped < 60
    # A kill of one process ends the others and leaves what was saved.
    with started([*command(learnable_patches, run), "--gpus", "2"], tmp_path) as process:
        wait_until(lambda: steps_logged(run) >= stopped + 10)
        others = [pid for pid in members(process.pid) if pid != process.pid]
        assert len(others) == 2
        os.kill(max(others), signal.SIGKILL)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "was ended by SIGKILL" in err
        assert "Traceback" not in err
        assert members(process.pid) == []
    assert load_checkpoint(RunFolder(run).last).step == stopped
    # And two processes' run goes on with one.
    report = train(learnable_patches, RunFolder(run), RunFolder(run).read_settings(), resume=True)
    assert report.steps == 80
    assert np.isfinite(report.loss)


@pytest.mark.slow
def test_the_processes_of_a_killed_launcher_end(learnable_patches, tmp_path):
    run = tmp_path / "r"
    settings = SETTINGS.changed(steps=10**6, evaluate_every=10**6)
    with started([*command(learnable_patches, run, settings), "--gpus", "2"], tmp_path) as process:
        wait_until(lambda: run.exists() and steps_logged(run) >= 10)
        process.kill()
        wait_until(lambda: members(process.pid) == [], seconds=20)


@pytest.mark.slow
def test_torchrun_by_hand(learnable_patches, tmp_path):
    run = tmp_path / "r"
    before = (
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "cli.main"
    )  # fmt: skip
    out = done([*command(learnable_patches, run, before=before), "--json"], tmp_path)
    assert json.loads(out)["steps"] == 12
    assert steps_logged(run) == 12


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--gpus", "10", "--device", "cpu"], 2, "batch_pairs is 9, too few for 10 processes"),
        (["--gpus", "9", "--device", "auto"], 6, "--gpus 9 cannot be had"),
    ],
)
def test_impossible_numbers_are_refused_at_once(
    learnable_patches, tmp_path, capfd, more, code, words
):
    from cli.main import main

    run = tmp_path / "r"
    assert main([*command(learnable_patches, run)[3:], *more]) == code
    assert words in capfd.readouterr().err
    assert not run.exists()
