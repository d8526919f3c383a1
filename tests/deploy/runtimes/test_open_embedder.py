"""Opening: what `auto` takes, what is checked, the quick way, and how many cores there are."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import deploy.runtimes
import deploy.runtimes.cores
import deploy.runtimes.session
import deploy.runtimes.tensorrt
import deploy.tensorrt
from deploy.bundle import Bundle
from deploy.onnx.weights import aligned
from deploy.runtimes import open_embedder
from deploy.runtimes.cores import usable_cores
from deploy.runtimes.onnx import OnnxEmbedder
from deploy.runtimes.session import SessionSettings, open_session
from toolkit.errors import InputError, MismatchError, MissingError, UsageError
from toolkit.machine.cuda import Gpu
from toolkit.workspace import read_json, sha256_file, write_json

IMAGES = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


class FakeTensorRt:
    """Stands in for the embedder that needs a GPU: only what it is given is looked at."""

    runtime = "tensorrt fp32 cuda"

    def __init__(self, bundle: Bundle, engine: Any = None) -> None:
        self.bundle, self.engine = bundle, engine


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """One GPU as far as the choice goes. No GPU runs anything here."""
    monkeypatch.setattr(deploy.runtimes, "list_gpus", lambda: [Gpu("H200", "sm90", "13.0")])
    monkeypatch.setattr(deploy.runtimes.tensorrt, "TensorRtEmbedder", FakeTensorRt)


@pytest.mark.usefixtures("gpu")
def test_auto_takes_the_engine_that_fits(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SimpleNamespace()
    monkeypatch.setattr(
        deploy.tensorrt, "lookup", lambda found: engine if found == bundle else None
    )
    opened = open_embedder(bundle.folder)
    assert isinstance(opened, FakeTensorRt)
    assert opened.engine is engine
    assert open_embedder(bundle.folder, device="cpu").runtime == "onnxruntime cpu"
    assert open_embedder(bundle.folder, "onnx", "cpu").runtime == "onnxruntime cpu"


@pytest.mark.usefixtures("gpu")
def test_auto_takes_onnx_runtime_where_no_engine_fits(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy.tensorrt, "lookup", lambda _: None)
    assert open_embedder(bundle.folder).runtime.startswith("onnxruntime ")


@pytest.mark.usefixtures("gpu")
def test_tensorrt_by_name_is_handed_the_checked_bundle(bundle: Bundle, own_bundle: Path) -> None:
    opened = open_embedder(bundle.folder, "tensorrt")
    assert isinstance(opened, FakeTensorRt)
    assert (opened.bundle, opened.engine) == (bundle, None)
    (own_bundle / "model.onnx").write_bytes(b"another")
    with pytest.raises(MismatchError, match="replaced"):
        open_embedder(own_bundle, "tensorrt")


@pytest.mark.parametrize("quick", [False, True])
def test_a_swapped_or_damaged_file_is_told_by_its_hash(quick: bool, own_bundle: Path) -> None:
    """Also where ONNX Runtime itself would have no objection, and where it would."""
    file = own_bundle / "model.onnx"
    whole = file.read_bytes()
    other = onnx.load_from_string(whole)
    other.doc_string = "changed"
    for content in (other.SerializeToString(), whole[:-100], whole[:5], b""):
        file.write_bytes(content)
        with pytest.raises(MismatchError, match="replaced"):
            open_embedder(own_bundle, device="cpu", quick=quick)
    file.unlink()
    with pytest.raises(InputError, match="no bundle"):
        open_embedder(own_bundle, device="cpu", quick=quick)


def test_a_batch_that_is_not_that_of_the_card(own_bundle: Path) -> None:
    card = read_json(own_bundle / "model.json", "card")
    write_json(own_bundle / "model.json", {**card, "batch": 4})
    with pytest.raises(MismatchError, match="another network"):
        open_embedder(own_bundle, device="cpu")


def test_without_onnx_runtime(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingError, match="onnxruntime"):
        open_embedder(bundle.folder)


def session_settings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What sessions are opened with from now on."""
    seen: list[Any] = []
    real = onnxruntime.InferenceSession

    def spy(model: Any, options: Any, **more: Any) -> Any:
        seen.append((model, options))
        return real(model, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    return seen


@pytest.mark.parametrize(("large_bytes", "repacks"), [(0, False), (64 * 2**20, True)])
def test_the_quick_way_leaves_the_weights_in_the_file(
    large_bytes: int, repacks: bool, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = session_settings(monkeypatch)
    monkeypatch.setattr(deploy.runtimes.session, "_LARGE_BYTES", large_bytes)
    quick = open_embedder(bundle.folder, "onnx", "cpu", quick=True)
    ((model, options),) = seen
    assert len(model) < bundle.onnx.stat().st_size / 4
    if not repacks:
        assert options.get_session_config_entry("session.disable_prepacking") == "1"
    plain = open_embedder(bundle.folder, "onnx", "cpu")
    np.testing.assert_allclose(quick.embed(IMAGES), plain.embed(IMAGES), atol=2e-6)


def test_the_quick_way_through_a_link(bundle: Bundle, tmp_path: Path) -> None:
    """A link to the folder, and a link to the file: ONNX Runtime lets no weight lie outside."""
    (tmp_path / "linked").symlink_to(bundle.folder)
    shutil.copytree(bundle.folder, tmp_path / "copy")
    (tmp_path / "copy" / "model.onnx").unlink()
    (tmp_path / "copy" / "model.onnx").symlink_to(bundle.onnx)
    wanted = open_embedder(bundle.folder, "onnx", "cpu", quick=True).embed(IMAGES)
    for folder in ("linked", "copy"):
        found = open_embedder(tmp_path / folder, "onnx", "cpu", quick=True).embed(IMAGES)
        np.testing.assert_array_equal(found, wanted)


def test_weights_that_are_not_aligned_are_copied(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another program wrote again opens all the same."""
    seen = session_settings(monkeypatch)
    model = onnx.load(bundle.onnx)
    for tensor in model.graph.initializer:
        tensor.ClearField("doc_string")
    model.doc_string += "x"
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    opened = open_session(tmp_path / "model.onnx", SessionSettings("cpu", quick=True))
    assert seen[0][0] == str(tmp_path / "model.onnx")
    again = OnnxEmbedder(replace(bundle, folder=tmp_path), opened=opened)
    wanted = open_embedder(bundle.folder, "onnx", "cpu").embed(IMAGES)
    np.testing.assert_allclose(again.embed(IMAGES), wanted, atol=2e-6)


def test_in_a_folder_whose_name_is_no_text(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff"))
    shutil.copytree(bundle.folder, folder / "exported")
    monkeypatch.chdir(folder)
    wanted = open_embedder(bundle.folder, "onnx", "cpu").embed(IMAGES)
    for quick in (False, True):
        found = open_embedder(Path("exported"), "onnx", "cpu", quick=quick).embed(IMAGES)
        np.testing.assert_array_equal(found, wanted)


def test_settings_are_checked() -> None:
    with pytest.raises(UsageError, match="-1 threads"):
        SessionSettings(threads=-1)
    with pytest.raises(UsageError, match="npu"):
        SessionSettings("npu")


@pytest.mark.parametrize(
    ("groups", "own", "cores"),
    [
        ({}, "/", 8),
        ({"cpu.max": "max 100000"}, "/", 8),
        ({"cpu.max": "200000 100000"}, "/", 2),
        ({"cpu.max": "150000 100000"}, "/", 2),
        ({"cpu.max": "1000 100000"}, "/", 1),
        ({"cpu.max": "9900000 100000"}, "/", 8),
        ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, "/a/b", 3),
        ({"cpu.max": "400000 100000"}, "/not/seen/from/here", 4),
        ({"cpu.max": "nonsense"}, "/", 8),
    ],
    ids=["none", "max", "two", "half", "least", "more", "parent", "container", "nonsense"],
)
def test_a_quota_of_the_container_counts(
    groups: Mapping[str, str], own: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in groups.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text + "\n")
    (tmp_path / "own").write_text(f"1:cpu:/old\n0::{own}\n")
    monkeypatch.setattr(deploy.runtimes.cores, "_CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(deploy.runtimes.cores, "_MEMBERSHIP", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert usable_cores() == cores


def test_without_control_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(deploy.runtimes.cores, "_MEMBERSHIP", tmp_path / "nothing")
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_a_pipe_in_the_place_of_the_graph_is_not_waited_for(own_bundle: Path) -> None:
    (own_bundle / "model.onnx").unlink()
    os.mkfifo(own_bundle / "model.onnx")
    with pytest.raises(InputError, match="no bundle"):
        open_embedder(own_bundle)


def rehashed(folder: Path, content: bytes) -> None:
    """Put in another model.onnx, with the hash that belongs to it."""
    (folder / "model.onnx").write_bytes(content)
    card = read_json(folder / "model.json", "card")
    write_json(folder / "model.json", card | {"onnx_sha256": hashlib.sha256(content).hexdigest()})
    for path in (folder / "parity.json", *(folder / "engines").iterdir()):
        path.unlink()


def test_names_that_are_no_text_are_a_mismatch_and_print_nothing(
    own_bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime quotes the type in its message, whose bytes are then no UTF-8."""
    good = (own_bundle / "model.onnx").read_bytes()
    bad = good.replace(b"\x22\x04Relu", b"\x22\x04Re\xe3u")
    assert bad != good
    rehashed(own_bundle, bad)
    with pytest.raises(MismatchError, match="no ONNX file that ONNX Runtime"):
        open_embedder(own_bundle, device="cpu")
    assert capfd.readouterr().out == ""


def test_a_graph_that_only_says_it_is_ours_is_a_mismatch(own_bundle: Path) -> None:
    model = onnx.load(own_bundle / "model.onnx")
    del model.graph.input[:]
    rehashed(own_bundle, aligned(model.SerializeToString()))
    with pytest.raises(MismatchError, match="none that vr writes"):
        open_embedder(own_bundle, device="cpu")


def test_a_graph_with_weights_in_another_file_is_refused(own_bundle: Path) -> None:
    """Its hash would not cover them; the file lies where ONNX Runtime would take it from."""
    model = onnx.load(own_bundle / "model.onnx")
    onnx.save(model, own_bundle / "model.onnx", save_as_external_data=True, location="more.bin")
    assert (own_bundle / "more.bin").stat().st_size > 1024
    card = read_json(own_bundle / "model.json", "model card")
    hashed = {**card, "onnx_sha256": sha256_file(own_bundle / "model.onnx")}
    write_json(own_bundle / "model.json", hashed)
    (own_bundle / "parity.json").unlink()
    for quick in (False, True):
        with pytest.raises(MismatchError, match="another file"):
            open_embedder(own_bundle, "onnx", "cpu", quick=quick)
