"""What a sitting refuses beforehand, what it tells those who watch, and which state it keeps."""

import math

import pytest
import torch

from toolkit.embedding_torch import TorchEmbedder
from toolkit.errors import InputError, MissingError, StorageError, UsageError
from toolkit.evaluation.evaluate import embed_and_evaluate
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import load_model
from toolkit.training import loop, session
from toolkit.training.checkpoint import load_checkpoint
from toolkit.training.computing import check_machine
from toolkit.training.loop import train
from toolkit.training.observers import Observer
from toolkit.training.prepare import prepare_data
from toolkit.training.run_folder import RunFolder
from toolkit.training.settings import TrainSettings
from toolkit.training.step import Trainer

QUICK = TrainSettings(
    size=32, dim=16, steps=6, batch_pairs=8, evaluate_every=3, precision="fp32", held_out=0.3
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"backbone": "alexnet", "size": 54}, "54x54"), ({"backbone": "nonesuch"}, "nonesuch")],
)
def test_what_cannot_be_computed_is_refused_before_any_data_is_looked_for(
    tmp_path, changes, message
):
    with pytest.raises(UsageError, match=message):
        train(tmp_path / "nowhere", RunFolder(tmp_path / "r"), TrainSettings(**changes))
    assert not (tmp_path / "r").exists()


def test_the_smallest_alexnet_is_not_refused():
    assert check_machine(TrainSettings(backbone="alexnet", size=55), "cpu") == "cpu"


def test_what_several_processes_cannot_compile_is_refused_before_anything_is_compiled(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: function)
    compiled = QUICK.changed(compile=True)
    assert check_machine(compiled, "cpu", 1) == "cpu"
    assert check_machine(compiled.changed(backbone="alexnet", size=55), "cpu", 2) == "cpu"
    monkeypatch.setattr(torch, "compile", lambda _: pytest.fail("compiled"))
    with pytest.raises(UsageError, match="compile is true"):
        check_machine(compiled, "cpu", 2)
    assert check_machine(QUICK, "cpu", 2) == "cpu"


def test_a_missing_compiler_is_one_clear_error(tmp_path, monkeypatch):
    def compiling(function):
        raise RuntimeError("No C++ compiler.\nA long trace.")

    monkeypatch.setattr(torch, "compile", compiling)
    with pytest.raises(MissingError, match=r"No C\+\+ compiler\. Leave out --compile") as raised:
        train(tmp_path / "nowhere", RunFolder(tmp_path / "r"), QUICK.changed(compile=True))
    assert "trace" not in str(raised.value)


def test_compiling_changes_no_name_of_a_weight(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    names = []
    for compile_it in (False, True):
        settings = QUICK.changed(compile=compile_it, ema=0.9)
        network = EmbeddingNetwork("small", settings.preprocessing, 16)
        trainer = Trainer(network, settings, "cpu")
        names.append([list(trainer.network.state_dict()), list(trainer.result.state_dict())])
    assert len(compiled) == 1
    assert names[0] == names[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about itself
def test_a_compiled_step_is_the_plain_one(learnable_patches, tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.networks.small._DROPOUT", 0.0)  # compiled it draws other numbers
    losses = []
    for compile_it in (False, True):
        run = RunFolder.create(tmp_path / f"{compile_it}", overwrite=False)
        losses.append(train(learnable_patches, run, QUICK.changed(compile=compile_it)).loss)
        load_model(run.path)
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


class Notes(Observer):
    """Writes down what it is told."""

    def __init__(self):
        self.steps, self.rows, self.evaluations, self.closed = [], [], [], 0

    def on_step(self, done, batch, result):
        assert len(result.embeddings) == len(batch.labels)
        self.steps.append(done)

    def on_row(self, done, row):
        self.rows.append((done, dict(row)))
        return f"heard at {done}" if done == 4 else ""

    def on_evaluation(self, done, evaluation):
        self.evaluations.append((done, evaluation.metrics))

    def close(self):
        self.closed += 1


@pytest.fixture
def notes(monkeypatch):
    found = Notes()
    monkeypatch.setattr(loop, "RunWatcher", lambda *rest, **named: found)
    monkeypatch.setattr(session, "LOG_EVERY", 2)
    return found


def test_observers_see_every_step_row_and_measurement(learnable_patches, tmp_path, notes):
    heard = []
    run = RunFolder(tmp_path / "r")
    report = train(learnable_patches, run, QUICK, on_progress=heard.append)
    assert notes.steps == [1, 2, 3, 4, 5, 6]
    assert [done for done, _ in notes.rows] == [2, 4, 6]
    assert [done for done, _ in notes.evaluations] == [0, 3, 6]
    assert notes.evaluations[-1][1] == report.metrics
    assert notes.closed == 1
    assert [at.notes for at in heard] == [(), ("heard at 4",), ()]
    written = [row for row in run.read_metrics() if "loss" in row]
    assert written == [{"step": done} | row for done, row in notes.rows]


def test_observers_are_closed_when_a_run_fails(learnable_patches, tmp_path, notes, monkeypatch):
    monkeypatch.setattr(Trainer, "step", lambda *rest: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(learnable_patches, RunFolder(tmp_path / "r"), QUICK)
    assert notes.closed == 1


def test_a_page_that_cannot_be_written_hides_no_earlier_error(
    learnable_patches, tmp_path, notes, monkeypatch
):
    def full():
        notes.closed += 1
        raise StorageError("The disk is full.")

    monkeypatch.setattr(notes, "close", full)
    with pytest.raises(StorageError, match="The disk is full"):
        train(learnable_patches, RunFolder(tmp_path / "whole"), QUICK)
    monkeypatch.setattr(Trainer, "step", lambda *rest: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(learnable_patches, RunFolder(tmp_path / "failed"), QUICK)
    assert notes.closed == 2


def test_a_row_says_the_schedule_and_the_health(learnable_patches, tmp_path, notes):
    settings = QUICK.changed(loss="rank-hard", hard_after=0.5, hard_ratio=0.75, rand_ratio=0.25)
    train(learnable_patches, RunFolder(tmp_path / "r"), settings)
    names = {
        "loss", "rate", "hard_ratio", "rand_ratio", "spread", "effective_rank", "pairs_per_second",
    }  # fmt: skip
    for _, row in notes.rows:
        assert set(row) == names
        assert all(math.isfinite(value) for value in row.values())
    ratios = {done: (row["hard_ratio"], row["rand_ratio"]) for done, row in notes.rows}
    assert ratios == {2: (0.0, 1.0), 4: (0.75, 0.25), 6: (0.75, 0.25)}


def recall_of(network, patches, settings):
    held_out = prepare_data(patches, settings, 0).held_out
    card = load_model_card(network, settings)
    return embed_and_evaluate(TorchEmbedder(network, card), held_out).metrics.recall_at_1


def load_model_card(network, settings):
    from toolkit.model_card import ModelCard

    return ModelCard("small", network.dim, network.preprocessing, "", {})


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_best_state_is_kept_where_that_is_asked_for(
    learnable_patches, tmp_path, monkeypatch, ema
):
    """Weights that are shaken from step 7 on: the best state is an earlier one than the last."""
    settings = QUICK.changed(steps=9, ema=ema)
    step = Trainer.step

    def stepping(self, number, batch):
        result = step(self, number, batch)
        if number >= 6:
            with torch.no_grad():
                for network in {self.network, self.result}:
                    network.backbone.head.weight.zero_()
        return result

    monkeypatch.setattr(Trainer, "step", stepping)
    for keep in ("last", "best"):
        run = RunFolder.create(tmp_path / keep, overwrite=False)
        report = train(learnable_patches, run, settings.changed(keep=keep))
        network, card = load_model(run.path)
        assert report.metrics.recall_at_1 == pytest.approx(
            recall_of(network, learnable_patches, settings)
        )
        source = load_checkpoint(report.checkpoint)
        weights = source.ema or source.model
        assert all(torch.equal(t, weights[name]) for name, t in network.state_dict().items())
        assert card.lineage["step"] == source.step
    assert report.checkpoint == run.best
    assert source.step < 9
    assert source.best_recall == report.metrics.recall_at_1


def test_keeping_the_best_needs_something_to_measure_on(learnable_patches, tmp_path):
    with pytest.raises(UsageError, match="keep is 'best'"):
        QUICK.changed(keep="best", held_out=0.0)
    settings = QUICK.changed(keep="best", held_out=1e-6)
    with pytest.raises(InputError, match="too few pairs are held out"):
        train(learnable_patches, RunFolder(tmp_path / "r"), settings)
    assert not (tmp_path / "r").exists()


def test_a_finished_run_that_is_taken_up_again_stays_the_same(learnable_patches, tmp_path):
    run = RunFolder(tmp_path / "r")
    first = train(learnable_patches, run, QUICK)
    rows = run.read_metrics()
    again = train(learnable_patches, run, run.read_settings(), resume=True)
    assert again.metrics == first.metrics
    assert run.read_metrics() == rows
