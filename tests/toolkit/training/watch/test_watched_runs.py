"""Whole runs with their watcher: alarms, pictures, the page, and the weights untouched."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit.errors import Interrupted
from toolkit.images import decode_image
from toolkit.training import loop, session
from toolkit.training.checkpoint import load_checkpoint
from toolkit.training.observers import Observer
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings
from toolkit.training.watch import watcher
from toolkit.training.watch.run_list import summary_of

QUICK = TrainSettings(
    size=32, dim=16, steps=6, batch_pairs=8, evaluate_every=3, precision="fp32", held_out=0.3
)
# Only the hardest negatives from the first step on, with a rate that is far too high.
SPOILT = QUICK.changed(
    loss="rank-hard",
    steps=44, evaluate_every=44, hard_after=0.0, hard_ratio=1.0, rand_ratio=0.0, rate=0.3,
    warmup=0.0,
)  # fmt: skip


@pytest.fixture
def events():
    spec = importlib.util.spec_from_file_location("events", Path(__file__).with_name("events.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.values_of


def train(path, patches, settings=QUICK, **options):
    return loop.train(patches, RunFolder.create(path, overwrite=False), settings, **options)


def test_a_run_spoilt_on_purpose_raises_the_alarm_everywhere(
    learnable_patches, tmp_path, monkeypatch
):
    monkeypatch.setattr(session, "LOG_EVERY", 2)
    heard = []
    train(tmp_path / "r", learnable_patches, SPOILT, on_progress=lambda at: heard.extend(at.notes))
    [row] = [row for row in RunFolder(tmp_path / "r").read_metrics() if "alarm" in row]
    assert "on one point" in row["alarm"]
    assert "hard_after=0.25" in row["alarm"]
    assert heard == [row["alarm"]]
    page = (tmp_path / "r" / "report.html").read_text()
    assert f"Alarm at step {row['step']}" in page
    assert page.index("Alarm at step") < page.index("R@1 on held-out pairs")
    assert summary_of(tmp_path / "r").alarm == row["alarm"]


def test_the_default_settings_raise_none(learnable_patches, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "LOG_EVERY", 1)
    train(tmp_path / "r", learnable_patches, QUICK.changed(steps=24, evaluate_every=24))
    rows = RunFolder(tmp_path / "r").read_metrics()
    assert sum("spread" in row for row in rows) == 24
    assert not any("alarm" in row for row in rows)
    assert "Alarm at" not in (tmp_path / "r" / "report.html").read_text()


@pytest.mark.slow
def test_a_collapse_of_alexnet_is_seen_and_a_fresh_one_is_not_called_so(
    learnable_patches, tmp_path, monkeypatch
):
    monkeypatch.setattr(session, "LOG_EVERY", 1)
    settings = TrainSettings.from_recipe(
        "wang2015", {"size": 67, "dim": 32, "steps": 400_000, "batch_pairs": 8, "held_out": 0.0}
    )
    stopped = Stopper(at=45)
    with pytest.raises(Interrupted):
        train(tmp_path / "fresh", learnable_patches, settings, on_progress=stopped)
    rows = RunFolder(tmp_path / "fresh").read_metrics()
    assert rows[-1]["spread"] < 0.01  # it looks collapsed all the while
    assert rows[-1]["loss"] == pytest.approx(0.5, abs=1e-3)
    assert not any("alarm" in row for row in rows)
    spoilt = settings.changed(steps=45, rate=0.1, hard_after=0.0)
    train(tmp_path / "spoilt", learnable_patches, spoilt)
    assert summary_of(tmp_path / "spoilt").alarm


class Stopper:
    """Presses Ctrl-C once a step is reached."""

    def __init__(self, at):
        self.at = at

    def __call__(self, progress):
        import os
        import signal

        if progress.step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


def test_watching_changes_no_bit_of_the_weights(learnable_patches, tmp_path, monkeypatch):
    train(tmp_path / "watched", learnable_patches)
    monkeypatch.setattr(loop, "RunWatcher", lambda *_: Observer())
    train(tmp_path / "alone", learnable_patches)
    assert not (tmp_path / "alone" / "report.html").exists()
    one, other = (load_checkpoint(RunFolder(tmp_path / n).last) for n in ("watched", "alone"))
    assert one.model.keys() == other.model.keys()
    for name in one.model:
        assert torch.equal(one.model[name], other.model[name]), name
    assert torch.equal(one.torch_rng, other.torch_rng)
    rows = [RunFolder(tmp_path / n).read_metrics() for n in ("watched", "alone")]
    for left, right in zip(*rows, strict=True):
        assert left | {"pairs_per_second": 0} == right | {"pairs_per_second": 0}


def test_tensorboard_holds_pictures_and_a_histogram(learnable_patches, tmp_path, events):
    train(tmp_path / "r", learnable_patches)
    steps, pictures = {}, {}
    for step, value in events(tmp_path / "r" / "tensorboard"):
        steps.setdefault(value.tag, []).append(step)
        if value.HasField("image"):
            pictures[value.tag] = value.image
            assert value.image.width <= 2048
            assert len(value.image.encoded_image_string) < 2**20
    assert steps["pairs"] == steps["hardest_negatives"] == [3, 6]
    assert steps["held_out_neighbours"] == steps["embedding_deviations"] == [0, 3, 6]
    sheet = decode_image(pictures["pairs"].encoded_image_string, name="pairs")
    assert sheet.shape == (pictures["pairs"].height, pictures["pairs"].width, 3)
    assert np.unique(sheet).size > 50  # patches, not a blank
    assert {"loss", "spread", "effective_rank", "recall_1"} <= set(steps)


def test_pictures_are_bounded_in_number(learnable_patches, tmp_path, events, monkeypatch):
    monkeypatch.setattr(watcher, "MOST_SHEETS", 2)
    train(tmp_path / "r", learnable_patches, QUICK.changed(steps=10, evaluate_every=1))
    shown = [step for step, value in events(tmp_path / "r" / "tensorboard") if value.tag == "pairs"]
    assert shown == [6, 10]


def test_the_page_of_an_interrupted_run_says_how_to_go_on_and_then_that_it_is_done(
    learnable_patches, tmp_path, monkeypatch
):
    monkeypatch.setattr(session, "LOG_EVERY", 1)
    with pytest.raises(Interrupted):
        train(tmp_path / "r", learnable_patches, on_progress=Stopper(at=4))
    page = (tmp_path / "r" / "report.html").read_text()
    assert "Stopped after 4 of 6 steps" in page
    assert f"vr train --resume --name r --out {tmp_path}" in page
    run = RunFolder(tmp_path / "r")
    loop.train(learnable_patches, run, run.read_settings(), resume=True)
    page = (tmp_path / "r" / "report.html").read_text()
    assert "Finished: 6 steps" in page
    assert "Stopped" not in page


def test_an_alarm_of_before_is_kept_and_not_repeated_when_a_run_goes_on(
    learnable_patches, tmp_path, monkeypatch
):
    monkeypatch.setattr(session, "LOG_EVERY", 1)
    with pytest.raises(Interrupted):
        train(tmp_path / "r", learnable_patches, SPOILT, on_progress=Stopper(at=35))
    run = RunFolder(tmp_path / "r")
    before = [row for row in run.read_metrics() if "alarm" in row]
    assert len(before) == 1
    loop.train(learnable_patches, run, run.read_settings(), resume=True)
    assert [row for row in run.read_metrics() if "alarm" in row] == before


def test_a_run_without_held_out_pairs_has_a_page_and_pictures_all_the_same(
    learnable_patches, tmp_path, events
):
    train(tmp_path / "r", learnable_patches, QUICK.changed(held_out=0.0))
    page = (tmp_path / "r" / "report.html").read_text()
    assert "too few held-out pairs" in page
    assert "What held-out queries find" not in page
    tags = {value.tag for _, value in events(tmp_path / "r" / "tensorboard")}
    assert "pairs" in tags
    assert "held_out_neighbours" not in tags


def test_what_was_noted_is_one_json_row_a_line(learnable_patches, tmp_path):
    run = RunFolder(tmp_path / "r")
    train(run.path, learnable_patches)
    with loop.MetricsLog(run, from_step=6) as log:
        log.note(6, "alarm", 'a "text"\nof two lines')
    last = run.metrics.read_text().splitlines()[-1]
    assert json.loads(last) == {"step": 6, "alarm": 'a "text"\nof two lines'}
