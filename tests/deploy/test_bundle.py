import copy
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

import deploy.bundle
import deploy.writing
from deploy.bundle import MAX_JSON_BYTES, Bundle, DenseNote, read_bundle
from deploy.export import export_bundle
from deploy.onnx.make import OPSET, GraphOptions, make_onnx
from toolkit.errors import InputError, MismatchError, QualityGateError, StorageError
from toolkit.model_card import ModelCard
from toolkit.workspace import read_json, sha256_file, write_json

Patches = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, hidden ones too, by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def edit_card(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_bundle_is_whole_and_reads_back(bundle: Bundle) -> None:
    files = {"model.onnx", "model.json", "parity.json", "proof.safetensors"}
    assert {name for name in contents(bundle.folder) if "/" not in name} == files
    assert bundle.engines.is_dir()
    assert read_bundle(bundle.folder) == bundle
    assert (bundle.precision, bundle.opset) == ("fp32", OPSET)
    assert bundle.onnx_sha256 == sha256_file(bundle.onnx)
    assert ModelCard.read(bundle.folder) == bundle.card
    assert json.loads((bundle.folder / "parity.json").read_text())["passed"] is True


def test_fingerprint_is_that_of_the_run(bundle: Bundle, run_folder: Path) -> None:
    assert bundle.card == ModelCard.read(run_folder)


def test_report_keeps_the_json_contract(
    run_folder: Path, patches: Patches, bundle: Bundle, tmp_path: Path
) -> None:
    report = export_bundle(run_folder, tmp_path / "exported", *patches)
    content = json.loads(json.dumps(report.as_json()))
    assert set(content) == {"bundle", "onnx", "engines", "precision", "parity"}
    assert content["onnx"] == str(tmp_path / "exported" / "model.onnx")
    assert content["engines"] == []
    assert content["parity"]["patches"] == 24
    assert content["parity"]["recall@1"] == 1.0
    # Exported twice, the same run gives the same bytes.
    assert contents(tmp_path / "exported") == contents(bundle.folder)


def test_a_damaged_byte_is_seen(own_bundle: Path) -> None:
    content = bytearray((own_bundle / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (own_bundle / "model.onnx").write_bytes(content)
    with pytest.raises(MismatchError, match="damaged"):
        read_bundle(own_bundle)


def test_a_truncated_file_is_seen(own_bundle: Path) -> None:
    content = (own_bundle / "model.onnx").read_bytes()
    (own_bundle / "model.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(MismatchError, match="damaged"):
        read_bundle(own_bundle)


def test_a_swapped_file_is_seen(own_bundle: Path) -> None:
    """A whole, valid ONNX file, only of something else."""
    node = onnx.helper.make_node("Identity", ["images"], ["embeddings"])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node], "other", [value("images", 1, [1])], [value("embeddings", 1, [1])]
    )
    onnx.save(onnx.helper.make_model(graph), own_bundle / "model.onnx")
    with pytest.raises(MismatchError, match="replaced"):
        read_bundle(own_bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"precision": "fp4"}, "fp4"),
        ({"opset": None}, "no card of a bundle"),
        ({"dim": "many"}, "no model card"),
    ],
)
def test_a_card_of_another_kind_is_refused(
    changes: dict[str, Any], message: str, own_bundle: Path
) -> None:
    edit_card(own_bundle, **changes)
    with pytest.raises(MismatchError, match=message):
        read_bundle(own_bundle)


def test_the_card_of_a_run_is_no_card_of_a_bundle(own_bundle: Path, run_folder: Path) -> None:
    (own_bundle / "model.json").write_bytes((run_folder / "model.json").read_bytes())
    with pytest.raises(MismatchError, match="precision"):
        read_bundle(own_bundle)


@pytest.mark.parametrize("missing", ["model.onnx", "model.json"])
def test_a_missing_file_is_named(missing: str, own_bundle: Path) -> None:
    (own_bundle / missing).unlink()
    with pytest.raises((InputError, MismatchError), match=missing):
        read_bundle(own_bundle)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="vr export"):
        read_bundle(tmp_path / "nothing")


def faulty_export(network: Any, card: ModelCard, options: GraphOptions) -> onnx.ModelProto:
    """An exporter with a fault: some noise on the weights of the last layer."""
    faulty = copy.deepcopy(network)
    with torch.no_grad():
        for weight in faulty.backbone.head.parameters():
            weight += 0.01 * torch.randn_like(weight)
    return make_onnx(faulty, card, options)


def test_a_faulty_export_fails_the_gate_and_the_old_bundle_stays(
    run_folder: Path, patches: Patches, own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(own_bundle.parent)
    monkeypatch.setattr(deploy.writing, "make_onnx", faulty_export)
    with pytest.raises(QualityGateError, match="least cosine") as caught:
        export_bundle(run_folder, own_bundle, *patches)
    assert caught.value.exit_code == 4
    assert contents(own_bundle.parent) == before
    assert [path.name for path in own_bundle.parent.iterdir()] == ["exported"]


def test_a_full_disk_leaves_the_old_bundle(
    run_folder: Path, patches: Patches, own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(model: onnx.ModelProto, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    before = contents(own_bundle.parent)
    monkeypatch.setattr(deploy.writing, "write_onnx", no_space)
    with pytest.raises(StorageError, match="disk is full"):
        export_bundle(run_folder, own_bundle, *patches)
    assert contents(own_bundle.parent) == before


def test_no_held_out_patches_is_an_error_and_leaves_nothing(
    run_folder: Path, patches: Patches, tmp_path: Path
) -> None:
    queries, positives = patches
    with pytest.raises(InputError, match="one pair at least"):
        export_bundle(run_folder, tmp_path / "out", queries[:0], positives[:0])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_bundle_is_not_replaced(
    run_folder: Path, patches: Patches, tmp_path: Path
) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"dear to me")
    with pytest.raises(StorageError, match="no bundle"):
        export_bundle(run_folder, tmp_path, *patches)
    with pytest.raises(StorageError, match="no bundle"):
        export_bundle(run_folder, tmp_path / "holiday.jpg", *patches)
    assert contents(tmp_path) == {"holiday.jpg": b"dear to me"}


def test_a_file_in_the_way_is_a_storage_error(
    run_folder: Path, patches: Patches, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        export_bundle(run_folder, tmp_path / "file" / "exported", *patches)


def test_a_damaged_run_is_a_mismatch(run_folder: Path, patches: Patches, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.json").write_bytes((run_folder / "model.json").read_bytes())
    (tmp_path / "run" / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(MismatchError):
        export_bundle(tmp_path / "run", tmp_path / "out", *patches)
    assert not (tmp_path / "out").exists()


def test_engines_of_the_same_onnx_are_kept_and_others_dropped(
    run_folder: Path,
    patches: Patches,
    bundle: Bundle,
    own_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stored(*_: Any) -> onnx.ModelProto:
        return onnx.load(bundle.onnx)  # the same run gives the same bytes, only sooner

    monkeypatch.setattr(deploy.writing, "make_onnx", stored)
    (own_bundle / "engines" / "some.plan").write_bytes(b"an engine")
    export_bundle(run_folder, own_bundle, *patches)
    assert (own_bundle / "engines" / "some.plan").read_bytes() == b"an engine"

    (own_bundle / "model.onnx").write_bytes(b"something else")
    export_bundle(run_folder, own_bundle, *patches)
    assert list((own_bundle / "engines").glob("*.plan")) == []


def test_a_bundle_moved_aside_by_a_killed_export_is_found_again(own_bundle: Path) -> None:
    before = contents(own_bundle)
    code = """
import os, sys
from pathlib import Path
from toolkit.workspace import atomic_folder
replace = Path.replace
with atomic_folder(Path(sys.argv[1])) as draft:
    (draft / "model.onnx").write_bytes(b"new")
    Path.replace = lambda *names: (replace(*names), os.kill(os.getpid(), 9))
"""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(own_bundle)], env=environment, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert not own_bundle.exists()
    assert read_bundle(own_bundle).folder == own_bundle
    assert contents(own_bundle) == before


def test_an_export_that_is_killed_leaves_the_old_bundle_and_is_swept(
    run_folder: Path, patches: Patches, own_bundle: Path
) -> None:
    """kill -9 when the new graph has been written and nothing else yet."""
    np.savez(own_bundle.parent / "patches.npz", *patches)
    before = contents(own_bundle)
    code = """
import os, sys
from pathlib import Path
import numpy as np
import deploy.export
def killed(folder, *_):
    (folder / "model.onnx").write_bytes(b"new")
    os.kill(os.getpid(), 9)
deploy.export.write_graphs = killed
patches = np.load(sys.argv[3]).values()
deploy.export.export_bundle(Path(sys.argv[1]), Path(sys.argv[2]), *patches)
"""
    root = Path(__file__).parents[2]
    places = [str(run_folder), str(own_bundle), str(own_bundle.parent / "patches.npz")]
    done = subprocess.run(
        [sys.executable, "-c", code, *places],
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert contents(own_bundle) == before
    assert len(list(own_bundle.parent.iterdir())) == 3  # the draft, hidden
    export_bundle(run_folder, own_bundle, *patches)
    assert {path.name for path in own_bundle.parent.iterdir()} == {"exported", "patches.npz"}


@pytest.mark.parametrize(
    "passed", [False, None, "true", 1], ids=["false", "null", "text", "number"]
)
def test_a_bundle_that_did_not_pass_is_not_opened(own_bundle: Path, passed: Any) -> None:
    path = own_bundle / "parity.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "passed": passed}))
    with pytest.raises(QualityGateError, match=r"parity\.json") as caught:
        read_bundle(own_bundle)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", ["parity.json", "model.json"])
def test_a_file_of_json_that_is_huge_or_none_is_refused(own_bundle: Path, name: str) -> None:
    (own_bundle / name).write_bytes(b" " * (MAX_JSON_BYTES + 1))
    with pytest.raises(MismatchError, match="more than"):
        read_bundle(own_bundle)
    (own_bundle / name).write_text("[]")
    with pytest.raises(MismatchError, match="no JSON object"):
        read_bundle(own_bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 0},
        {"batch": 10**9},
        {"batch": "many"},
        {"dense": {}},
        {"dense": {"onnx_sha256": "0", "stride": 0, "window": [32, 32]}},
        {"dense": {"onnx_sha256": "0", "stride": 8, "window": [32]}},
        {"dense": {"onnx_sha256": "0", "stride": 8, "window": [32, 10**9]}},
        {"quantization": 3},
        {"dim": 10**12},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_claim_that_cannot_be_is_a_mismatch(own_bundle: Path, changes: dict[str, Any]) -> None:
    edit_card(own_bundle, **changes)
    with pytest.raises(MismatchError, match=r"model\.json"):
        read_bundle(own_bundle)


def test_what_a_card_says_of_other_graphs_reads_back(own_bundle: Path) -> None:
    note = DenseNote("a" * 64, 16, (32, 48))
    edit_card(own_bundle, dense=note.as_json(), batch=7, quantization={"method": "entropy"})
    read = read_bundle(own_bundle)
    assert (read.dense_note, read.dense, read.batch) == (note, True, 7)
    assert read.dense_onnx == own_bundle / "dense.onnx"
    edit_card(own_bundle, **read.as_json())
    assert read_bundle(own_bundle) == read


def test_files_that_may_not_grow_leave_the_old_bundle(
    run_folder: Path,
    patches: Patches,
    own_bundle: Path,
    largest_file: Callable[[int], AbstractContextManager[None]],
) -> None:
    before = contents(own_bundle.parent)
    with largest_file(20_000), pytest.raises(StorageError, match="larger than the system allows"):
        export_bundle(run_folder, own_bundle, *patches)
    assert contents(own_bundle.parent) == before


@pytest.mark.parametrize("opset", ["NaN", "Infinity", "1e999", "{}", '"new"'])
def test_an_opset_that_is_no_number_is_a_mismatch(own_bundle: Path, opset: str) -> None:
    path = own_bundle / "model.json"
    content = {**json.loads(path.read_text()), "opset": "HERE"}
    path.write_text(json.dumps(content).replace('"HERE"', opset))
    with pytest.raises(MismatchError, match=r"model\.json"):
        read_bundle(own_bundle)


def test_the_certificate_of_another_bundle_is_a_mismatch(own_bundle: Path) -> None:
    content = read_json(own_bundle / "parity.json", "certificate")
    write_json(own_bundle / "parity.json", content | {"onnx_sha256": "0" * 64})
    with pytest.raises(MismatchError, match=r"of another model\.onnx"):
        read_bundle(own_bundle)


def test_a_file_that_may_not_be_read_is_named(
    own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's refusal is played: the superuser, who may run this, is refused nothing."""

    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(deploy.bundle, "sha256_file", refuse)
    with pytest.raises(InputError, match=r"model\.onnx cannot be read: Permission denied"):
        read_bundle(own_bundle)
