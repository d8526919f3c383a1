"""From labelled pictures to a classifier: what stays, what changes, and going on after a stop."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit.embedding_torch import TorchEmbedder
from toolkit.errors import Interrupted, MismatchError, StorageError, TrainingError, UsageError
from toolkit.evaluation.labelled import find_labelled
from toolkit.evaluation.probe import LinearProbe
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import load_model, save_model
from toolkit.preprocess import Preprocessing
from toolkit.training.checkpoint import load_checkpoint
from toolkit.training.run_folder import RunFolder
from toolkit.transfer import loop, session
from toolkit.transfer.classifier import ClassifierNetwork
from toolkit.transfer.head import ClassifierHead
from toolkit.transfer.loop import TransferReport, resume, transfer
from toolkit.transfer.pictures import PictureStore
from toolkit.transfer.run import TransferFolder
from toolkit.transfer.settings import TransferSettings
from toolkit.transfer.trainer import TransferTrainer, picks

MODES = ("head", "finetune")


def settings(mode: str, **changes: object) -> TransferSettings:
    return TransferSettings.of_mode(mode, {"steps": 12, "batch": 8, "precision": "fp32", **changes})


def learn(labels: Path, base: Path, folder: Path, mode: str, **changes: object) -> TransferReport:
    run = TransferFolder.create(folder, overwrite=False)
    return transfer(labels, base, run, settings(mode, **changes), device="cpu")


@pytest.fixture(scope="module", params=MODES)
def report(
    request: pytest.FixtureRequest,
    labels: Path,
    base: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> TransferReport:
    return learn(labels, base, tmp_path_factory.mktemp("runs") / "new", request.param)


def test_classes_that_differ_in_colour_are_all_recognised(report: TransferReport) -> None:
    assert report.measured.right == 1.0
    assert len(report.measured.labels) == len(report.store.split.test)
    assert report.measured.probabilities.sum(1) == pytest.approx(1, abs=1e-5)


def test_a_head_leaves_the_network_and_fine_tuning_changes_it(report: TransferReport) -> None:
    same = report.card.fingerprint == report.base.fingerprint
    # Fine-tuning keeps the linear probe on the network as it was where nothing was better.
    assert same == (report.settings.mode == "head" or report.best_step == 0)
    if report.settings.mode == "head":
        assert report.card == report.base


def test_fine_tuning_makes_another_network(
    labels: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun with a layer that names everything alike, some epoch is better and is kept."""

    def nothing(rows: np.ndarray, _: object, classes: int, strength: float) -> LinearProbe:  # type: ignore[type-arg]
        weights = np.zeros((classes, rows.shape[1]), np.float32)
        return LinearProbe(weights, weights[:, 0], strength)

    monkeypatch.setattr(loop, "fit_probe", nothing)
    report = learn(labels, base, tmp_path / "run", "finetune", steps=40, rate=1e-3)
    assert report.measured.right > 0.6
    assert report.best_step > 0
    _, before = load_model(base)
    _, card = load_model(report.run.path)
    assert card.fingerprint == report.card.fingerprint != before.fingerprint
    assert card.lineage["recipe"] == "transfer"
    assert card.lineage["step"] == report.best_step
    assert card.lineage["init"] == {"source": str(base), "digest": before.fingerprint}
    assert card.lineage["data"] == report.store.digest()
    assert ClassifierHead.read(report.run.path, card.fingerprint, card.dim).classes


def test_the_run_opens_as_an_embedder_and_as_a_classifier(report: TransferReport) -> None:
    run, store = report.run, report.store
    network, card = load_model(run.path)
    assert card.fingerprint == report.card.fingerprint
    head = ClassifierHead.read(run.path, card.fingerprint, card.dim)
    assert head.classes == ("blue", "green", "red")
    images = store.take(store.split.test)
    vectors = TorchEmbedder(network, card).embed(images)
    with torch.inference_mode():
        both = ClassifierNetwork(network, head).eval()(torch.from_numpy(images))
    assert np.allclose(vectors, both[0].numpy(), atol=1e-6)
    assert np.allclose(head.probabilities(vectors), both[1].numpy(), atol=1e-6)
    assert np.allclose(both[1].numpy(), report.measured.probabilities, atol=1e-5)


def test_each_epoch_is_measured_and_the_best_is_kept(report: TransferReport) -> None:
    rows = [json.loads(line) for line in report.run.run.metrics.read_text().splitlines()]
    measured = {row["step"]: row["accuracy"] for row in rows if "accuracy" in row}
    epoch, steps = report.settings.steps_of(len(report.store.split.train))
    assert sorted(measured) == sorted({*range(0, steps, epoch), steps})
    assert report.best_step == max(measured, key=lambda step: (measured[step], -step))
    assert any("loss" in row and "pictures_per_second" in row for row in rows)


def test_the_record_names_every_picture_and_its_side(report: TransferReport, labels: Path) -> None:
    record = report.run.read_labels()
    assert {Path(seen.path).parent.name for seen in record.pictures} == {"blue", "green", "red"}
    held_out = [seen for seen in record.pictures if seen.held_out]
    assert len(held_out) == len(report.measured.labels)
    assert all((labels / seen.path).is_file() for seen in record.pictures)


def state_of(run: TransferFolder) -> dict[str, torch.Tensor]:
    model = load_checkpoint(run.run.last).model
    return {name: tensor for name, tensor in model.items() if isinstance(tensor, torch.Tensor)}


@pytest.mark.parametrize("mode", MODES)
def test_a_transfer_goes_on_as_if_it_had_not_stopped(
    mode: str, labels: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learn(labels, base, tmp_path / "whole", mode)
    stop_after(5, monkeypatch)
    with pytest.raises(Interrupted, match="after step 5 of 12"):
        learn(labels, base, tmp_path / "stopped", mode)
    monkeypatch.undo()
    run = TransferFolder.open(tmp_path / "stopped")
    assert not run.is_finished
    going_on = resume(run, device="cpu")
    assert going_on.best_step == whole.best_step
    assert np.array_equal(going_on.measured.probabilities, whole.measured.probabilities)
    first, second = state_of(whole.run), state_of(run)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    rows = [
        [json.loads(line)["step"] for line in one.run.metrics.read_text().splitlines()]
        for one in (whole.run, run)
    ]
    assert rows[0] == rows[1]


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while step number `steps` is computed."""
    plain: Callable[..., torch.Tensor] = TransferTrainer.step
    import os
    import signal

    def step(self: TransferTrainer, number: int, *rest: object) -> torch.Tensor:
        if number + 1 == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, number, *rest)

    monkeypatch.setattr(TransferTrainer, "step", step)


def test_other_pictures_are_no_way_to_go_on(labels: Path, base: Path, tmp_path: Path) -> None:
    own = tmp_path / "labels"
    shutil.copytree(labels, own)
    run = learn(own, base, tmp_path / "run", "head").run
    (own / "red" / "00.png").unlink()
    with pytest.raises(MismatchError, match="not those that"):
        resume(run, device="cpu")
    shutil.rmtree(own)
    with pytest.raises(MismatchError, match="are not at"):
        resume(run, device="cpu")
    assert resume(run, labels, device="cpu").measured.right == 1.0


def test_another_network_is_no_way_to_go_on(
    labels: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that it began from was trained anew in between."""
    own = tmp_path / "base"
    shutil.copytree(base, own)
    stop_after(5, monkeypatch)
    with pytest.raises(Interrupted):
        learn(labels, own, tmp_path / "run", "head")
    monkeypatch.undo()
    run = TransferFolder.open(tmp_path / "run")
    torch.manual_seed(4)
    other = EmbeddingNetwork("small", Preprocessing(32, 32), dim=16).eval()
    save_model(other, own, {"run": "base", "step": 3})
    with pytest.raises(MismatchError, match="another network"):
        resume(run, device="cpu")
    shutil.rmtree(own)
    with pytest.raises(MismatchError, match=r"base that .* began from is not there"):
        resume(run, device="cpu")
    shutil.copytree(base, own)
    assert resume(run, device="cpu").measured.right == 1.0


def test_a_start_that_was_killed_leaves_no_rows_behind(
    labels: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its first checkpoint: what goes on is a new beginning."""

    def killed(*_: object) -> torch.Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(TransferTrainer, "step", killed)
    with pytest.raises(Interrupted) as stopped:
        learn(labels, base, tmp_path / "run", "head")
    monkeypatch.undo()
    run = TransferFolder.open(tmp_path / "run")
    assert run.resume_command in str(stopped.value)
    assert [row["step"] for row in run.run.read_metrics()] == [0]
    resume(run, device="cpu")
    whole = learn(labels, base, tmp_path / "whole", "head").run
    steps = [[row["step"] for row in one.run.read_metrics()] for one in (run, whole)]
    assert steps[0] == steps[1]


def test_the_same_seed_gives_the_same_bits(labels: Path, base: Path, tmp_path: Path) -> None:
    runs = [learn(labels, base, tmp_path / name, "finetune").run for name in ("a", "b")]
    first, second = map(state_of, runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = state_of(learn(labels, base, tmp_path / "c", "finetune", seed=1).run)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_loss_that_is_no_number_ends_the_run(
    labels: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*_: object) -> torch.Tensor:
        return torch.tensor(float("nan"))

    monkeypatch.setattr(TransferTrainer, "step", step)
    monkeypatch.setattr(session, "LOG_EVERY", 1)
    with pytest.raises(TrainingError, match="diverged"):
        learn(labels, base, tmp_path / "run", "head")
    assert not TransferFolder.open(tmp_path / "run").is_finished


def test_a_run_cannot_take_the_place_of_its_own_base(
    labels: Path, base: Path, tmp_path: Path
) -> None:
    run = learn(labels, base, tmp_path / "run", "head").run
    with pytest.raises(UsageError, match="its own place"):
        transfer(
            labels,
            run.path,
            TransferFolder.create(run.path, overwrite=True),
            settings("head"),
            device="cpu",
        )


def test_a_second_writer_of_a_transfer_is_told(
    labels: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may neither begin the run anew nor go on with it while another does."""
    folder = tmp_path / "run"
    stop_after(3, monkeypatch)
    with pytest.raises(Interrupted):
        learn(labels, base, folder, "head")
    before = (folder / "checkpoints" / "last.pt").read_bytes()
    with RunFolder(folder).held():
        with pytest.raises(StorageError, match="Another vr is writing the run"):
            resume(TransferFolder.open(folder), device="cpu")
        anew = TransferFolder.create(folder, overwrite=True)
        with pytest.raises(StorageError, match="Another vr is writing the run"):
            transfer(labels, base, anew, settings("head"), device="cpu")
    assert (folder / "checkpoints" / "last.pt").read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [folder]


def test_a_transfer_that_was_made_in_the_meantime_is_not_replaced(
    labels: Path, base: Path, tmp_path: Path
) -> None:
    late = TransferFolder.create(tmp_path / "run", overwrite=False)
    learn(labels, base, tmp_path / "run", "head")
    before = (tmp_path / "run" / "checkpoints" / "last.pt").read_bytes()
    with pytest.raises(UsageError, match="exists"):
        transfer(labels, base, late, settings("head"), device="cpu")
    assert (tmp_path / "run" / "checkpoints" / "last.pt").read_bytes() == before


def test_no_other_run_is_replaced(base: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "settings.json").write_text("{}")
    with pytest.raises(UsageError, match="not replaced"):
        TransferFolder.create(tmp_path / "other", overwrite=True)


def test_pictures_that_do_not_fit_into_memory_are_read_again(labels: Path) -> None:
    found, spec = find_labelled(labels), Preprocessing(32, 32)
    whole = PictureStore(found, spec)
    short = PictureStore(found, spec, cache_bytes=7 * 32 * 32 * 3)
    rows = np.array([40, 3, 6, 7, 3, 0])
    assert np.array_equal(whole.take(rows), short.take(rows))
    assert whole.digest() == short.digest()


def test_each_epoch_shows_each_picture_once() -> None:
    rows = np.arange(100, 123)
    steps = picks(rows, 5, 0, 0)
    epochs = [[next(steps) for _ in range(4)] for _ in range(3)]
    seen = [np.concatenate(epoch) for epoch in epochs]
    assert all(len(set(one.tolist())) == 20 and set(one) <= set(rows) for one in seen)
    assert not np.array_equal(seen[0], seen[1])
    later = picks(rows, 5, 0, 6)
    assert np.array_equal(next(later), epochs[1][2])


def test_fewer_pictures_than_a_batch_are_one_batch() -> None:
    assert sorted(next(picks(np.arange(3), 8, 0, 5)).tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("mode", "changes", "words"),
    [
        ("heads", {}, "Did you mean head"),
        ("head", {"steps": -1}, "steps"),
        ("head", {"epochs": 0}, "epochs"),
        ("head", {"batch": 1}, "batch"),
        ("head", {"rate": float("nan")}, "rate"),
        ("head", {"momentum": 1}, "no transfer setting"),
        ("head", {"group_by": "video"}, "group_by"),
    ],
)
def test_settings_that_cannot_be(mode: str, changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        TransferSettings.of_mode(mode, changes)
    assert words in str(caught.value)


def test_settings_come_back_as_they_were() -> None:
    mine = settings("finetune", rate=0.5)
    assert TransferSettings.from_json(json.loads(json.dumps(mine.as_json()))) == mine
    assert TransferSettings.of_mode("head", {"rate": None, "epochs": 3}).epochs == 3
