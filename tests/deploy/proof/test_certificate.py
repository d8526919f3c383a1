"""parity.json: one entry a runtime, the gate, and engines that have to pass it too.

No GPU runs here: what stands in for TensorRT's embedder is ONNX Runtime, right or spoilt.
"""

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import deploy.engines
from deploy.bundle import Bundle, read_bundle
from deploy.engines import add_engines
from deploy.proof.certificate import certify, check_gate
from deploy.proof.classes import ClassAgreement
from deploy.proof.parity import GATES, Parity
from deploy.runtimes.onnx import OnnxEmbedder
from deploy.tensorrt import Engine, EngineFile, EngineSettings, Profile
from deploy.tensorrt.files import write_engine
from deploy.tensorrt.key import EngineKey
from toolkit.errors import MismatchError, QualityGateError
from toolkit.workspace import sha256_file

GOOD = Parity(1000, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0)


def read(folder: Path) -> Any:
    return json.loads((folder / "parity.json").read_text())


def test_the_certificate_of_an_export(bundle: Bundle) -> None:
    content = read(bundle.folder)
    assert content["onnx_sha256"] == sha256_file(bundle.onnx)
    assert content["proof_sha256"] == sha256_file(bundle.proof)
    assert (content["precision"], content["passed"]) == ("fp32", True)
    (entry,) = content["runtimes"]
    assert (entry["runtime"], entry["engine"]) == ("onnxruntime cpu", None)
    assert entry["version"] == version("onnxruntime")
    assert entry["processor"]
    assert entry["patches"] == 24


def test_an_entry_is_added_or_replaced(own_bundle: Path) -> None:
    bundle = read_bundle(own_bundle)
    certify(bundle, "onnxruntime cuda", GOOD)
    certify(bundle, "onnxruntime cuda", replace(GOOD, patches=10))
    entries = {entry["runtime"]: entry for entry in read(own_bundle)["runtimes"]}
    assert set(entries) == {"onnxruntime cpu", "onnxruntime cuda"}
    assert entries["onnxruntime cuda"]["patches"] == 10
    assert read_bundle(own_bundle) == bundle


def test_entries_of_engines_that_are_gone_go(own_bundle: Path) -> None:
    bundle = read_bundle(own_bundle)
    (bundle.engines / "a.plan").write_bytes(b"a")
    certify(bundle, "tensorrt fp32 cuda", GOOD, "a.plan")
    (bundle.engines / "b.plan").write_bytes(b"b")
    certify(bundle, "tensorrt fp32 cuda", GOOD, "b.plan")
    assert [e["engine"] for e in read(own_bundle)["runtimes"]] == [None, "a.plan", "b.plan"]
    (bundle.engines / "a.plan").unlink()
    certify(bundle, "onnxruntime cuda", GOOD)
    assert [e["engine"] for e in read(own_bundle)["runtimes"]] == [None, "b.plan", None]


def test_the_certificate_of_another_graph_is_not_taken_over(own_bundle: Path) -> None:
    other = replace(read_bundle(own_bundle), onnx_sha256="0" * 64)
    certify(other, "onnxruntime cuda", GOOD)
    assert [entry["runtime"] for entry in read(own_bundle)["runtimes"]] == ["onnxruntime cuda"]


@pytest.mark.parametrize("runtimes", ["3", '"x"', "[1]", "[{}]"])
def test_a_damaged_certificate_is_a_mismatch(runtimes: str, own_bundle: Path) -> None:
    bundle = read_bundle(own_bundle)
    content = {**read(own_bundle), "runtimes": json.loads(runtimes)}
    bundle.parity.write_text(json.dumps(content))
    with pytest.raises(MismatchError, match=r"parity\.json"):
        certify(bundle, "onnxruntime cuda", GOOD)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_gate_names_what_failed_and_what_helps(precision: Any, bundle: Bundle) -> None:
    gated = replace(bundle, precision=precision)
    check_gate(GOOD, gated, "onnxruntime cpu", "Nothing was written.")
    far = replace(GOOD, cosine_min=0.5)
    with pytest.raises(QualityGateError, match=rf"{precision}, onnxruntime cpu.* 0\.5") as caught:
        check_gate(far, gated, "onnxruntime cpu", "Nothing was written.")
    assert caught.value.problem.endswith("Nothing was written.")
    with pytest.raises(QualityGateError) as dense:
        check_gate(far, gated, "onnxruntime cpu, dense", "Nothing was written.")
    assert "without --dense" in dense.value.mend
    assert {"fp32": "Report", "fp16": "fp32", "int8": "fp16"}[precision] in caught.value.mend


def test_a_dense_graph_is_judged_as_the_float32_that_it_is(bundle: Bundle) -> None:
    gated = replace(bundle, precision="int8")
    near = replace(GOOD, cosine_min=(GATES["int8"].cosine_min + GATES["fp32"].cosine_min) / 2)
    check_gate(near, gated, "onnxruntime cpu", "")
    with pytest.raises(QualityGateError, match="fp32, onnxruntime cpu, dense"):
        check_gate(near, gated, "onnxruntime cpu, dense", "")


def test_few_patches_are_said_to_be_few(bundle: Bundle) -> None:
    """One answer of 24 is 4.17 points: the gate is not weakened, and the reason is given."""
    gated = replace(bundle, precision="int8")
    flipped = replace(GOOD, patches=24, delta_recall=-1 / 24)
    with pytest.raises(QualityGateError, match=r"4\.17 points; of 100 patches"):
        check_gate(flipped, gated, "onnxruntime cpu", "")
    many = replace(GOOD, patches=1000, delta_recall=-0.02)
    with pytest.raises(QualityGateError) as caught:
        check_gate(many, gated, "onnxruntime cpu", "")
    assert "few" not in caught.value.problem


def test_a_classifier_needs_more_labels_and_not_more_video(bundle: Bundle) -> None:
    few = replace(GOOD, patches=54, classes=ClassAgreement(53 / 54, 0.6, 0.0, 0.01))
    with pytest.raises(QualityGateError) as caught:
        check_gate(few, replace(bundle, precision="fp16"), "onnxruntime cpu", "")
    assert "more labelled pictures" in caught.value.problem
    assert "video" not in caught.value.problem


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_change_at_the_gate_itself_passes(precision: Any) -> None:
    """8 of 4000 is 0.002, also where the two fractions round apart."""
    gate = GATES[precision]
    patches = 4000
    allowed = round(gate.delta_recall * patches)
    recall = 0.7
    at = replace(
        GOOD, patches=patches, delta_recall=(recall * patches + allowed) / patches - recall
    )
    beyond = replace(GOOD, delta_recall=gate.delta_recall + 1 / patches)
    assert (at.passes(gate), beyond.passes(gate)) == (True, False)


class Spoilt(OnnxEmbedder):
    """Every other picture gets the vector of its neighbour."""

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.roll(super().embed(images), 1, axis=0)


@pytest.fixture
def built(own_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle whose builder makes two engines without TensorRT, the second spoilt."""
    bundle = read_bundle(own_bundle)

    def build(bundle: Bundle, settings: EngineSettings) -> tuple[Engine, ...]:
        engines = []
        for profile in settings.profiles or ():
            key = EngineKey(
                onnx_sha256=bundle.onnx_sha256,
                target=settings.target,
                version="11.0",
                cuda="13.0",
                sm="sm90",
                gpu="a stand-in",
                precision="fp32",
                profile=profile,
                workspace_bytes=None,
            )
            file = write_engine(bundle.engines / f"{key.stem}.plan", key, b"a plan", {})
            engines.append(Engine(file.path, key, False, {}, True))
        return tuple(engines)

    def run(bundle: Bundle, file: EngineFile) -> OnnxEmbedder:
        return (Spoilt if file.key.profile.max == 9 else OnnxEmbedder)(bundle, "cpu")

    monkeypatch.setattr(deploy.engines, "build_engines", build)
    monkeypatch.setattr(deploy.engines, "_open", run)
    return bundle


def test_an_engine_that_passes_is_certified(built: Bundle) -> None:
    (engine,) = add_engines(built, EngineSettings((Profile(1, 2, 4),)))
    names = [entry["engine"] for entry in read(built.folder)["runtimes"]]
    assert names == [None, engine.path.name]
    assert engine.path.is_file()


def test_an_engine_that_fails_is_removed_and_the_others_stay(built: Bundle) -> None:
    made: list[Engine] = []
    settings = EngineSettings((Profile(1, 2, 9), Profile(1, 2, 4)))
    with pytest.raises(QualityGateError, match=r"b1-2-9\.plan was removed") as caught:
        made.extend(add_engines(built, settings))
    assert caught.value.exit_code == 4
    assert [engine.key.profile.max for engine in made] == [4]
    left = {path.name for path in built.engines.iterdir() if "tensorrt" in path.name}
    assert left == {made[0].path.name, made[0].path.with_suffix(".json").name}
    assert [e["engine"] for e in read(built.folder)["runtimes"]] == [None, made[0].path.name]
    assert read_bundle(built.folder) == built


def test_engines_for_rtx_gpus_are_not_run(built: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy.engines, "_open", None)
    settings = EngineSettings((Profile(1, 2, 4),), target="tensorrt_rtx")
    assert len(list(add_engines(built, settings))) == 1
    assert [entry["engine"] for entry in read(built.folder)["runtimes"]] == [None]


def test_no_engine_no_entry(built: Bundle) -> None:
    assert list(add_engines(built, EngineSettings(()))) == []
    assert len(read(built.folder)["runtimes"]) == 1
