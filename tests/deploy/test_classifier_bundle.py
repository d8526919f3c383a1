"""A classifier leaves through the same bundle: vectors as ever, and what class they are of."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime as ort
import pytest
import torch
from labelled_pictures import write_labels
from safetensors.numpy import load_file, save_file

from deploy.bundle import MAX_JSON_BYTES, Bundle, read_bundle
from deploy.engines import add_engines
from deploy.export import ExportReport
from deploy.from_run import export_run
from deploy.from_transfer import pairs_of_class
from deploy.onnx.make import GraphOptions
from deploy.proof.certificate import check_gate
from deploy.proof.classes import compare_classes
from deploy.proof.parity import GATES, Precision
from deploy.proof.verify import verify_bundle
from deploy.runtimes import open_embedder
from deploy.runtimes.onnx import OnnxEmbedder
from deploy.settings import ExportSettings
from deploy.tensorrt import EngineSettings
from deploy.triton import write_repository
from toolkit.embedding import Classifier
from toolkit.errors import MismatchError, QualityGateError, UsageError
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import load_model, save_model
from toolkit.preprocess import Preprocessing
from toolkit.transfer.classifier import ClassifierNetwork
from toolkit.transfer.head import ClassifierHead
from toolkit.transfer.loop import transfer
from toolkit.transfer.run import SeenPicture, TransferFolder
from toolkit.transfer.settings import TransferSettings

NAMES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labels(tmp_path_factory.mktemp("labels") / "colours")


@pytest.fixture(scope="module")
def run(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    network = EmbeddingNetwork("small", Preprocessing(32, 32), dim=16).eval()
    folder = tmp_path_factory.mktemp("runs")
    (folder / "base").mkdir()
    save_model(network, folder / "base", {"run": "base"})
    place = TransferFolder.create(folder / "new", overwrite=False)
    settings = TransferSettings.of_mode("head", {"steps": 3})
    return transfer(labels, folder / "base", place, settings, device="cpu").run.path


@pytest.fixture(scope="module", params=["fp32", "fp16", "int8"])
def report(
    request: pytest.FixtureRequest, run: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportReport:
    out = tmp_path_factory.mktemp("out") / "exported"
    return export_run(run, out, ExportSettings(request.param))


@pytest.fixture(scope="module")
def plain(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("plain") / "exported"
    return export_run(run, out, ExportSettings()).bundle


def pictures() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


def test_the_exported_probabilities_are_those_of_torch(report: ExportReport, run: Path) -> None:
    """With ONNX Runtime alone, as a stranger to vr opens it."""
    session = ort.InferenceSession(report.bundle.onnx, providers=["CPUExecutionProvider"])
    names = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    assert tuple(names) == NAMES
    assert [(one.name, one.shape) for one in session.get_outputs()] == [
        ("embeddings", ["batch", 16]),
        ("probabilities", ["batch", 3]),
    ]
    found = session.run(["embeddings", "probabilities"], {"images": pictures()})
    network, card = load_model(run)
    classifier = ClassifierNetwork(network, ClassifierHead.read(run, card.fingerprint, 16)).eval()
    with torch.inference_mode():
        wanted = classifier(torch.from_numpy(pictures()))
    near = {"fp32": 1e-5, "fp16": 0.02, "int8": 0.5}[report.bundle.precision]
    assert np.abs(found[0] - wanted[0].numpy()).max() < near
    assert np.abs(found[1] - wanted[1].numpy()).max() < near
    # Whatever the precision of the network, the layer itself is exact.
    own = ClassifierHead.read(run, card.fingerprint, 16).probabilities(found[0])
    assert np.abs(found[1] - own).max() < 1e-5


def test_vr_opens_it_as_an_embedder_and_as_a_classifier(report: ExportReport, run: Path) -> None:
    embedder = open_embedder(report.bundle.folder, "onnx", "cpu")
    assert isinstance(embedder, Classifier)
    assert embedder.classes == NAMES
    assert embedder.card.fingerprint == load_model(run)[1].fingerprint  # its indexes still fit
    vectors, shares = embedder.embed(pictures()), embedder.classify(pictures())
    assert vectors.shape == (5, 16)
    assert shares.sum(1) == pytest.approx(1, abs=1e-5)
    assert embedder.classify(pictures()[:0]).shape == (0, 3)
    with pytest.raises(ValueError, match="uint8"):
        embedder.classify(pictures()[:, :16])
    embedder.close()


def test_the_certificate_tells_what_it_names(report: ExportReport) -> None:
    bundle = report.bundle
    content = json.loads(bundle.parity.read_text())
    entry = content["runtimes"][0]
    assert content["passed"] is True
    assert entry["classes"]["accuracy"] == 1.0  # colours are easy
    assert entry["classes"]["top1_agreement"] == 1.0
    gate = GATES[bundle.precision]
    assert entry["gate"]["top1_agreement"] == gate.top1_agreement
    assert report.as_json()["parity"]["classes"] == entry["classes"]
    again = verify_bundle(bundle.folder, "onnx", "cpu")
    again.check()
    assert again.parity.classes == report.parity.classes


def test_the_same_run_gives_the_same_bytes(plain: Bundle, run: Path, tmp_path: Path) -> None:
    other = export_run(run, tmp_path / "exported", ExportSettings()).bundle
    assert other.onnx_sha256 == plain.onnx_sha256
    assert other.proof_sha256 == plain.proof_sha256


def test_another_head_on_the_same_network_keeps_the_vectors(plain: Bundle, run: Path) -> None:
    head = ClassifierHead.read(run, plain.card.fingerprint, 16)
    assert plain.classes == head.classes
    embedder = OnnxEmbedder(plain, "cpu")
    network, _ = load_model(run)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(pictures())).numpy()
    assert np.abs(embedder.embed(pictures()) - wanted).max() < 1e-5


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(ExportSettings(size=48), id="another size", marks=pytest.mark.slow),
        pytest.param(ExportSettings(graph=GraphOptions(batch=2)), id="a fixed batch"),
        pytest.param(ExportSettings(dense=True), id="dense", marks=pytest.mark.slow),
    ],
)
def test_other_forms_of_the_graph(settings: ExportSettings, run: Path, tmp_path: Path) -> None:
    bundle = export_run(run, tmp_path / "exported", settings).bundle
    embedder = OnnxEmbedder(bundle, "cpu")
    side = settings.size or 32
    images = np.zeros((3, side, side, 3), np.uint8)
    assert embedder.classify(images).shape == (3, 3)
    assert bundle.dense == settings.dense
    verify_bundle(bundle.folder, "onnx", "cpu").check()


def test_a_plain_bundle_has_no_classes(bundle: Bundle) -> None:
    embedder = OnnxEmbedder(bundle, "cpu")
    assert embedder.classes == ()
    with pytest.raises(ValueError, match="no classifier"):
        embedder.classify(np.zeros((1, 32, 32, 3), np.uint8))
    assert "classes" not in json.loads(bundle.parity.read_text())["runtimes"][0]
    assert "classes" not in json.loads((bundle.folder / "model.json").read_text())


@pytest.mark.parametrize(
    "classes", [["a", "b"], ["a", "a", "b"], "abc", None], ids=["fewer", "twice", "text", "null"]
)
def test_classes_that_are_not_those_of_the_graph(
    classes: object, plain: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(plain.folder, tmp_path / "exported")
    card = tmp_path / "exported" / "model.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"classes": classes}))
    with pytest.raises(MismatchError):
        open_embedder(tmp_path / "exported", "onnx", "cpu")


def test_a_proof_without_the_classes_is_refused(plain: Bundle, tmp_path: Path) -> None:
    from toolkit.workspace import sha256_file

    folder = tmp_path / "exported"
    shutil.copytree(plain.folder, folder)
    tensors = load_file(folder / "proof.safetensors")
    del tensors["labels"]
    save_file(tensors, folder / "proof.safetensors", {"fingerprint": plain.card.fingerprint})
    card = json.loads((folder / "model.json").read_text())
    card["proof_sha256"] = sha256_file(folder / "proof.safetensors")
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(MismatchError, match="fits no classifier"):
        verify_bundle(folder, "onnx", "cpu")


def test_pictures_that_were_moved_or_changed(run: Path, labels: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(labels, moved)
    report = export_run(run, tmp_path / "exported", ExportSettings(), moved)
    assert report.bundle.classes == NAMES
    for path in moved.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(MismatchError, match="not the picture"):
        export_run(run, tmp_path / "other", ExportSettings(), moved)
    shutil.rmtree(moved / "red")
    with pytest.raises(MismatchError, match=r"cannot be read|not the picture"):
        export_run(run, tmp_path / "other", ExportSettings(), moved)
    assert not (tmp_path / "other").exists()


def test_an_unfinished_run_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "new")
    (tmp_path / "new" / "model.json").unlink()
    with pytest.raises(UsageError, match="not finished") as caught:
        export_run(tmp_path / "new", tmp_path / "exported", ExportSettings())
    assert "vr transfer --resume --name new" in caught.value.mend


def test_engines_are_refused(plain: Bundle) -> None:
    with pytest.raises(UsageError, match="vectors only"):
        next(add_engines(plain, cast(EngineSettings, None)))


def test_triton_serves_the_probabilities_too(plain: Bundle, bundle: Bundle, tmp_path: Path) -> None:
    text = (write_repository(plain, tmp_path / "m") / "vr_embedder" / "config.pbtxt").read_text()
    assert 'output { name: "probabilities" data_type: TYPE_FP32 dims: [ 3 ] }' in text
    ordinary = write_repository(bundle, tmp_path / "n") / "vr_embedder" / "config.pbtxt"
    assert "probabilities" not in ordinary.read_text()
    with pytest.raises(MismatchError, match="another model"):
        write_repository(replace(plain, classes=()), tmp_path / "m")


def test_thousands_of_classes_fit_into_a_card() -> None:
    names = [f"a class with quite a long name, number {place}" for place in range(65_536)]
    assert len(json.dumps(names, indent=2)) < MAX_JSON_BYTES


def seen(label: int, *names: str) -> list[SeenPicture]:
    return [SeenPicture(name, name, label, held_out=True) for name in names]


def test_two_pictures_of_a_class_are_a_pair() -> None:
    held_out = [*seen(0, "a", "b", "c", "d"), *seen(1, "e", "f", "g"), *seen(2, "h")]
    learned = SeenPicture("x", "x", 0, held_out=False)
    pairs = [(one.path, two.path) for one, two in pairs_of_class([learned, *held_out])]
    assert pairs == [("a", "b"), ("c", "d"), ("e", "f"), ("g", "e"), ("h", "h")]


def test_agreement_is_a_plain_count() -> None:
    reference = np.float32([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    found = np.float32([[0.8, 0.2], [0.6, 0.4], [0.7, 0.3], [0.4, 0.6]])
    agreement = compare_classes(reference, found, np.array([0, 1, 1, 0]))
    assert agreement.top1_agreement == 0.75  # the last is a tie
    assert agreement.accuracy == 0.75
    assert agreement.delta_accuracy == -0.25
    assert agreement.difference_max == pytest.approx(0.4)


def test_no_numbers_agree_with_nothing() -> None:
    shares = np.float32([[0.9, 0.1], [0.2, 0.8]])
    agreement = compare_classes(shares, shares * np.float32("nan"), np.array([0, 1]))
    assert agreement.top1_agreement == 0.0
    assert agreement.delta_accuracy == -1.0


@pytest.mark.parametrize("precision", GATES)
def test_what_names_otherwise_does_not_pass(precision: Precision, plain: Bundle) -> None:
    verified = verify_bundle(plain.folder, "onnx", "cpu").parity
    assert verified.classes is not None
    gate = GATES[precision]
    bundle = replace(plain, precision=precision)
    enough = replace(verified.classes, top1_agreement=gate.top1_agreement)
    check_gate(replace(verified, classes=enough), bundle, "onnxruntime cpu", "")
    for change in (
        {"top1_agreement": gate.top1_agreement - 0.01},
        {"delta_accuracy": -gate.delta_accuracy - 0.01},
        {"delta_accuracy": gate.delta_accuracy + 0.01},
        {"top1_agreement": float("nan")},
    ):
        worse = replace(verified, classes=replace(verified.classes, **change))
        with pytest.raises(QualityGateError, match=r"otherwise .*accuracy changes"):
            check_gate(worse, bundle, "onnxruntime cpu", "")


def test_read_bundle_knows_the_classes(plain: Bundle) -> None:
    assert read_bundle(plain.folder).classes == NAMES
