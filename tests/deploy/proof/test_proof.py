"""The proof set and its repetition without torch."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from deploy.bundle import Bundle, read_bundle
from deploy.proof.proof_set import (
    MAX_PAIRS,
    ProofSet,
    make_proof,
    most_pairs,
    read_proof,
    write_proof,
)
from deploy.proof.verify import prove, verify_bundle
from deploy.runtimes.onnx import OnnxEmbedder
from toolkit.embedding_torch import TorchEmbedder
from toolkit.errors import InputError, MismatchError, QualityGateError
from toolkit.preprocess import Preprocessing
from toolkit.workspace import sha256_file

REPOSITORY = Path(__file__).parents[2]
Patches = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def sign(folder: Path, **changes: Any) -> Bundle:
    """Make model.json agree with the proof set as it lies there now."""
    path = folder / "model.json"
    content = json.loads(path.read_text())
    content["proof_sha256"] = sha256_file(folder / "proof.safetensors")
    path.write_text(json.dumps({**content, **changes}))
    return read_bundle(folder)


def test_the_proof_of_a_bundle_holds_the_patches_and_what_torch_made_of_them(
    bundle: Bundle, run_folder: Path, patches: Patches
) -> None:
    proof = read_proof(bundle)
    np.testing.assert_array_equal(proof.queries, patches[0])
    np.testing.assert_array_equal(proof.positives, patches[1])
    torch = TorchEmbedder.open(run_folder, "cpu")
    for stored, images in zip(proof.reference, patches, strict=True):
        assert stored.dtype == np.float32
        np.testing.assert_array_equal(stored, torch.embed(images))
    np.testing.assert_array_equal(proof.tracks, np.arange(12))


def test_the_same_proof_gives_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    write_proof(read_proof(bundle), bundle.card, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == bundle.proof.read_bytes()


class Numbered:
    """An embedder whose vectors hold the first pixel of a patch."""

    runtime = "a stand-in"

    def __init__(self, bundle: Bundle) -> None:
        self.card = replace(bundle.card, preprocessing=Preprocessing(16, 16))

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return images[:, 0, 0, :2].astype(np.float32)

    def close(self) -> None:
        pass


def test_of_many_pairs_some_are_taken_evenly_and_stay_together(bundle: Bundle) -> None:
    count = 3 * MAX_PAIRS // 2
    images = np.zeros((count, 16, 16, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
    proof = make_proof(Numbered(bundle), images, images, np.arange(count) + 5)
    numbers = proof.queries[:, 0, 0, 0] + 256 * proof.queries[:, 0, 0, 1].astype(int)
    assert len(numbers) == MAX_PAIRS
    assert numbers[0] == 0
    assert set(np.diff(numbers)) == {1, 2}
    np.testing.assert_array_equal(proof.tracks, numbers + 5)
    np.testing.assert_array_equal(proof.positives, proof.queries)


def test_large_inputs_are_proven_on_fewer_pairs() -> None:
    assert most_pairs(Preprocessing(64, 64)) == MAX_PAIRS
    assert most_pairs(Preprocessing(227, 227)) == MAX_PAIRS
    assert most_pairs(Preprocessing(1024, 1024)) == 42
    assert most_pairs(Preprocessing(4096, 4096)) >= 1


def test_no_pair_is_no_proof(bundle: Bundle) -> None:
    none = np.zeros((0, 16, 16, 3), np.uint8)
    with pytest.raises(InputError, match="one pair at least"):
        make_proof(Numbered(bundle), none, none)


def test_one_pair_is_a_proof(bundle: Bundle, tmp_path: Path) -> None:
    proof = read_proof(bundle)
    one = ProofSet(
        proof.queries[:1],
        proof.positives[:1],
        (proof.reference[0][:1], proof.reference[1][:1]),
        proof.tracks[:1],
    )
    write_proof(one, bundle.card, tmp_path / "proof.safetensors")
    sha256 = sha256_file(tmp_path / "proof.safetensors")
    read = read_proof(replace(bundle, folder=tmp_path, proof_sha256=sha256))
    np.testing.assert_array_equal(read.queries, proof.queries[:1])
    runtime, parity = prove(OnnxEmbedder(bundle, "cpu"), read)
    assert (runtime, parity.patches) == ("onnxruntime cpu", 2)


def test_verify_gives_what_the_export_measured(bundle: Bundle) -> None:
    verification = verify_bundle(bundle.folder, "onnx", "cpu")
    certificate = json.loads(bundle.parity.read_text())
    (entry,) = certificate["runtimes"]
    assert (entry.pop("runtime"), entry.pop("engine")) == ("onnxruntime cpu", None)
    del entry["version"], entry["processor"]
    assert verification.parity.as_json("fp32") == entry
    assert certificate["proof_sha256"] == bundle.proof_sha256
    verification.check()


def test_verify_needs_neither_torch_nor_the_run(own_bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from deploy.proof.verify import verify_bundle;"
        "v = verify_bundle(Path(sys.argv[1]), 'onnx', 'cpu'); v.check();"
        "print([name for name in ('torch', 'onnx', 'tensorrt') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(own_bundle)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[]\n"


def test_vectors_that_are_not_the_networks_fail(own_bundle: Path) -> None:
    """The reference of another patch: as if the export had changed what it retrieves."""
    path = own_bundle / "proof.safetensors"
    tensors = load_file(path)
    tensors["reference"] = np.roll(tensors["reference"], 1, axis=0)
    save_file(tensors, path, {"fingerprint": read_bundle(own_bundle).card.fingerprint})
    sign(own_bundle)
    verification = verify_bundle(own_bundle, "onnx", "cpu")
    assert not verification.parity.as_json("fp32")["passed"]
    with pytest.raises(QualityGateError, match="onnxruntime cpu") as caught:
        verification.check()
    assert caught.value.exit_code == 4


def test_a_bundle_without_a_proof_set_says_so(own_bundle: Path) -> None:
    (own_bundle / "proof.safetensors").unlink()
    with pytest.raises(MismatchError, match=r"proof\.safetensors is missing"):
        verify_bundle(own_bundle, "onnx", "cpu")
    path = own_bundle / "model.json"
    content = json.loads(path.read_text())
    del content["proof_sha256"]
    path.write_text(json.dumps(content))
    with pytest.raises(MismatchError, match="carries no proof set") as caught:
        verify_bundle(own_bundle, "onnx", "cpu")
    assert "vr export" in caught.value.mend


def test_a_swapped_proof_set_is_seen(own_bundle: Path) -> None:
    content = bytearray((own_bundle / "proof.safetensors").read_bytes())
    content[-1] ^= 1
    (own_bundle / "proof.safetensors").write_bytes(content)
    with pytest.raises(MismatchError, match="replaced"):
        verify_bundle(own_bundle, "onnx", "cpu")


def test_a_proof_set_of_another_network_is_refused(own_bundle: Path) -> None:
    path = own_bundle / "proof.safetensors"
    save_file(load_file(path), path, {"fingerprint": "0" * 64})
    with pytest.raises(MismatchError, match="made with another network"):
        read_proof(sign(own_bundle))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("ends", lambda t: t[::-1].copy(), "do not fill it"),
        ("ends", lambda t: t[:-1], "23 patches"),
        ("ends", lambda t: np.zeros(4096, np.int64), "4096 patches"),
        ("ends", lambda t: t.astype(np.float64), "float64"),
        ("patches", lambda t: t[:-1], "do not fill it"),
        ("patches", lambda t: np.zeros_like(t), "not an image"),
        ("reference", lambda t: t[:, :-1].copy(), "reference"),
        ("tracks", lambda t: t[:-1], "tracks"),
    ],
    ids=["order", "odd", "many", "type", "short", "noise", "width", "tracks"],
)
def test_a_proof_set_that_is_none_is_refused(
    name: str, change: Any, message: str, own_bundle: Path
) -> None:
    """Whole for safetensors and signed in model.json, but no proof set."""
    path = own_bundle / "proof.safetensors"
    tensors = load_file(path)
    tensors[name] = change(tensors[name])
    save_file(tensors, path, {"fingerprint": read_bundle(own_bundle).card.fingerprint})
    with pytest.raises(MismatchError, match=message) as caught:
        read_proof(sign(own_bundle))
    assert caught.value.exit_code == 5


def test_patches_of_another_size_are_refused(bundle: Bundle, own_bundle: Path) -> None:
    proof = read_proof(bundle)
    small = ProofSet(proof.queries[:, :16], proof.positives[:, :16], proof.reference, proof.tracks)
    write_proof(small, bundle.card, own_bundle / "proof.safetensors")
    with pytest.raises(MismatchError, match="patch 0 is of"):
        read_proof(sign(own_bundle))


def test_a_file_that_is_no_safetensors_is_refused(own_bundle: Path) -> None:
    (own_bundle / "proof.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(MismatchError, match="no proof set"):
        read_proof(sign(own_bundle))
