"""The folders of a model repository: versions, refusals, and what a kill leaves."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deploy.triton.repository
from deploy.bundle import Bundle, read_bundle
from deploy.triton import TritonSettings, write_repository
from toolkit.errors import MismatchError, StorageError, UsageError


@pytest.fixture
def mine(own_bundle: Path) -> Bundle:
    """A bundle that a test may change."""
    return read_bundle(own_bundle)


def files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def another(bundle: Bundle) -> Bundle:
    """The same as if it had been trained a little more: other bytes, another fingerprint."""
    card = json.loads((bundle.folder / "model.json").read_text())
    bundle.onnx.write_bytes(bundle.onnx.read_bytes() + b"\x00")
    from toolkit.workspace import sha256_file

    card |= {"fingerprint": "f" * 64, "onnx_sha256": sha256_file(bundle.onnx)}
    (bundle.folder / "model.json").write_text(json.dumps(card))
    bundle.parity.unlink()  # it is the certificate of the other one
    return read_bundle(bundle.folder)


def test_a_bundle_without_engines_is_one_model(
    bundle: Bundle, tmp_path: Path, parse: Callable[[Path], Any]
) -> None:
    target = tmp_path / "deep" / "models"
    assert write_repository(bundle, target) == target
    assert files(target) == [
        ".lock",
        "vr_embedder/1/model.json",
        "vr_embedder/1/model.onnx",
        "vr_embedder/config.pbtxt",
    ]
    copy = target / "vr_embedder/1/model.onnx"
    assert copy.read_bytes() == bundle.onnx.read_bytes()
    assert not copy.samefile(bundle.onnx)
    config = parse(target / "vr_embedder/config.pbtxt")
    assert config.name == "vr_embedder"  # Triton wants it to be the folder's
    assert config.parameters["vr_fingerprint_1"].string_value == bundle.card.fingerprint
    assert config.parameters["vr_precision_1"].string_value == bundle.precision


def test_the_config_says_what_the_graph_takes_and_gives(
    bundle: Bundle, tmp_path: Path, parse: Callable[[Path], Any]
) -> None:
    import onnxruntime

    config = parse(write_repository(bundle, tmp_path / "m") / "vr_embedder/config.pbtxt")
    model = str(tmp_path / "m/vr_embedder/1/model.onnx")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    [images], [embeddings] = session.get_inputs(), session.get_outputs()
    assert [images.name, images.type] == [config.input[0].name, "tensor(uint8)"]
    assert [embeddings.name, embeddings.type] == [config.output[0].name, "tensor(float)"]
    # what Triton does at the warm-up
    for request in config.model_warmup:
        shape = (request.batch_size, *request.inputs[images.name].dims)
        [vectors] = session.run([embeddings.name], {images.name: np.zeros(shape, np.uint8)})
        assert vectors.shape == (request.batch_size, *config.output[0].dims)


def test_the_same_bundle_twice_is_one_version(bundle: Bundle, tmp_path: Path) -> None:
    before = files(write_repository(bundle, tmp_path))
    stamp = (tmp_path / "vr_embedder/config.pbtxt").stat().st_mtime_ns
    assert files(write_repository(bundle, tmp_path)) == before
    assert (tmp_path / "vr_embedder/config.pbtxt").stat().st_mtime_ns == stamp


def test_another_training_is_the_next_version(
    mine: Bundle, tmp_path: Path, parse: Callable[[Path], Any]
) -> None:
    folder = write_repository(mine, tmp_path / "models") / "vr_embedder"
    config = folder / "config.pbtxt"
    config.write_text(config.read_text().replace("count: 1", "count: 5"))
    old, later = mine.card.fingerprint, another(mine)
    write_repository(later, tmp_path / "models")
    assert (folder / "2/model.onnx").read_bytes() == later.onnx.read_bytes()
    assert (folder / "1/model.onnx").is_file()
    read = parse(config)
    assert read.parameters["vr_fingerprint_1"].string_value == old
    assert read.parameters["vr_fingerprint_2"].string_value == "f" * 64
    assert read.instance_group[0].count == 5


def test_the_next_version_follows_the_greatest_number(mine: Bundle, tmp_path: Path) -> None:
    folder = write_repository(mine, tmp_path / "models") / "vr_embedder"
    (folder / "1").rename(folder / "9")
    (folder / "010").mkdir()  # Triton passes over a leading zero, and so does vr
    write_repository(another(mine), tmp_path / "models")
    assert (folder / "10/model.onnx").is_file()


@pytest.mark.parametrize(
    ("change", "says"),
    [({"dim": 25}, "gives 25 numbers"), ({"batch": 4}, "32x32, 4 at once, and gives")],
    ids=["dim", "batch"],
)
def test_a_model_of_another_signature_is_refused(
    change: dict[str, Any], says: str, mine: Bundle, tmp_path: Path
) -> None:
    folder = write_repository(mine, tmp_path / "models") / "vr_embedder"
    card = folder / "1/model.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | change))
    before = files(tmp_path / "models")
    with pytest.raises(MismatchError, match=says):
        write_repository(mine, tmp_path / "models")
    assert files(tmp_path / "models") == before


def test_a_model_of_another_size_is_refused(mine: Bundle, tmp_path: Path) -> None:
    write_repository(mine, tmp_path / "models")
    spec = replace(mine.card.preprocessing, width=64)
    other = replace(mine, card=replace(mine.card, preprocessing=spec))
    with pytest.raises(MismatchError, match=r"64x32.*32x32|32x32.*64x32"):
        write_repository(other, tmp_path / "models")


def test_the_model_of_somebody_else_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    foreign = tmp_path / "vr_embedder" / "1"
    foreign.mkdir(parents=True)
    (foreign / "model.onnx").write_bytes(b"theirs")
    with pytest.raises(StorageError, match="not written by vr"):
        write_repository(bundle, tmp_path)
    (tmp_path / "vr_embedder/config.pbtxt").write_text("max_batch_size: 4\n")
    with pytest.raises(StorageError, match="not written by vr"):
        write_repository(bundle, tmp_path)
    assert (foreign / "model.onnx").read_bytes() == b"theirs"
    assert not (tmp_path / "vr_embedder/2").exists()


def test_a_file_in_the_way_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "vr_embedder").write_text("a file")
    with pytest.raises(StorageError, match="no model of Triton"):
        write_repository(bundle, tmp_path)


def test_a_repository_that_is_a_file_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(StorageError, match="in the way"):
        write_repository(bundle, tmp_path / "models")


def test_an_empty_folder_is_no_model_yet(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "vr_embedder").mkdir()
    write_repository(bundle, tmp_path)
    assert (tmp_path / "vr_embedder/1/model.onnx").is_file()


def test_a_kill_while_copying_leaves_no_version(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deploy.triton.repository.shutil, "copyfile", killed)
        with pytest.raises(KeyboardInterrupt):
            write_repository(bundle, tmp_path)
    assert files(tmp_path) == [".lock", "vr_embedder/config.pbtxt"]
    write_repository(bundle, tmp_path)
    assert (tmp_path / "vr_embedder/1/model.onnx").read_bytes() == bundle.onnx.read_bytes()


def test_a_kill_before_the_config_is_repaired_by_the_next_export(
    mine: Bundle, tmp_path: Path, parse: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_repository(mine, tmp_path / "models") / "vr_embedder"
    later = another(mine)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deploy.triton.repository, "_renew", killed)
        with pytest.raises(KeyboardInterrupt):
            write_repository(later, tmp_path / "models")
    assert "vr_fingerprint_2" not in parse(folder / "config.pbtxt").parameters
    write_repository(later, tmp_path / "models")
    assert "vr_fingerprint_2" in parse(folder / "config.pbtxt").parameters
    assert not (folder / "3").exists()


def test_a_model_that_changes_under_the_copy_is_refused(mine: Bundle, tmp_path: Path) -> None:
    mine.onnx.write_bytes(b"something else")
    with pytest.raises(MismatchError, match="while it was copied"):
        write_repository(mine, tmp_path / "models")
    assert not (tmp_path / "models/vr_embedder/1").exists()


def test_an_engine_is_a_model_of_its_own(
    mine: Bundle, tmp_path: Path, put_engine: Any, parse: Callable[[Path], Any]
) -> None:
    plan = put_engine(mine)
    put_engine(mine, profile=(1, 8, 16))  # smaller: the larger one serves both
    put_engine(mine, version="10.16.1", profile=(1, 64, 256))  # of an older TensorRT
    put_engine(mine, sm="any", target="tensorrt_rtx")  # Triton has no backend for it
    put_engine(mine, sm="sm80", onnx_sha256="0" * 64)  # of another ONNX file
    target = write_repository(mine, tmp_path / "models", TritonSettings("m", max_batch=64))
    assert sorted(path.name for path in target.iterdir()) == [".lock", "m", "m_trt"]
    assert sorted(path.name for path in (target / "m_trt/1").iterdir()) == [
        "engine.json", "model.json", "model.plan",
    ]  # fmt: skip
    assert (target / "m_trt/1/model.plan").read_bytes() == plan.read_bytes()
    config = parse(target / "m_trt/config.pbtxt")
    assert (config.name, config.backend, config.max_batch_size) == ("m_trt", "tensorrt", 64)
    assert list(config.dynamic_batching.preferred_batch_size) == [32, 64]
    assert not config.cc_model_filenames


def test_engines_of_several_gpus_are_told_apart_by_capability(
    mine: Bundle, tmp_path: Path, put_engine: Any, parse: Callable[[Path], Any]
) -> None:
    for sm in ("sm80", "sm90", "sm120"):
        put_engine(mine, sm)
    folder = write_repository(mine, tmp_path / "models") / "vr_embedder_trt"
    config = parse(folder / "config.pbtxt")
    assert dict(config.cc_model_filenames) == {
        "8.0": "model_sm80.plan",
        "9.0": "model_sm90.plan",
        "12.0": "model_sm120.plan",
    }
    for name in config.cc_model_filenames.values():
        assert b"plan of " + name[6:-5].encode() in (folder / "1" / name).read_bytes()
    assert not (folder / "1/model.plan").exists()


def test_an_engine_that_refuses_a_single_picture_is_refused(
    mine: Bundle, tmp_path: Path, put_engine: Any
) -> None:
    put_engine(mine, profile=(8, 32, 128))
    with pytest.raises(UsageError, match="no fewer than 8"):
        write_repository(mine, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_smaller_engine_does_not_follow_a_larger_one(
    mine: Bundle, tmp_path: Path, put_engine: Any
) -> None:
    put_engine(mine)
    write_repository(mine, tmp_path / "models")
    shutil.rmtree(mine.engines)
    put_engine(mine, profile=(1, 8, 16))
    with pytest.raises(MismatchError, match="promises batches of 32"):
        write_repository(mine, tmp_path / "models")


def test_a_damaged_engine_is_refused(mine: Bundle, tmp_path: Path, put_engine: Any) -> None:
    put_engine(mine).write_bytes(b"cut")
    with pytest.raises(MismatchError, match="is damaged"):
        write_repository(mine, tmp_path / "models")


def test_gpus_that_triton_does_not_tell_apart_are_refused(
    mine: Bundle, tmp_path: Path, put_engine: Any
) -> None:
    put_engine(mine, gpu="NVIDIA H100")
    put_engine(mine, gpu="NVIDIA H200")
    with pytest.raises(UsageError, match="NVIDIA H100 and NVIDIA H200"):
        write_repository(mine, tmp_path / "models")


def test_a_plan_that_nothing_describes_is_no_engine(
    mine: Bundle, tmp_path: Path, put_engine: Any
) -> None:
    put_engine(mine).with_suffix(".json").write_text("{}")
    write_repository(mine, tmp_path / "models")
    assert not (tmp_path / "models/vr_embedder_trt").exists()


def test_two_writers_do_not_mix(bundle: Bundle, tmp_path: Path) -> None:
    from toolkit.lock import writing

    with writing(tmp_path, "it"), pytest.raises(StorageError, match="Another vr"):
        write_repository(bundle, tmp_path)
