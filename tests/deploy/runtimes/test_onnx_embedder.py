import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

import deploy.runtimes.session
from deploy.bundle import Bundle
from deploy.runtimes import open_embedder
from deploy.runtimes.onnx import OnnxEmbedder
from deploy.runtimes.session import SessionSettings, open_session, run_session
from toolkit.embedding import Embedder
from toolkit.embedding_torch import TorchEmbedder
from toolkit.errors import InputError, MismatchError, MissingError, UsageError, VrError
from toolkit.machine.cuda import Gpu
from toolkit.networks.saved import load_model
from toolkit.workspace import sha256_file

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def embedder(bundle: Bundle) -> OnnxEmbedder:
    return OnnxEmbedder(bundle, device="cpu", threads=1)


def random_images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_it_is_an_embedder_and_says_what_it_is(embedder: OnnxEmbedder, bundle: Bundle) -> None:
    assert isinstance(embedder, Embedder)
    assert embedder.runtime == "onnxruntime cpu"
    assert embedder.card == bundle.card


@pytest.mark.parametrize("count", [1, 3, 32, 33, 65])
def test_any_batch_gives_what_torch_gives(
    count: int, embedder: OnnxEmbedder, run_folder: Path
) -> None:
    images = random_images(count)
    found = embedder.embed(images)
    assert (found.shape, found.dtype) == ((count, 24), np.float32)
    wanted = TorchEmbedder.open(run_folder, "cpu").embed(images)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_no_images_give_no_rows(embedder: OnnxEmbedder) -> None:
    found = embedder.embed(np.zeros((0, 32, 32, 3), np.uint8))
    assert (found.shape, found.dtype) == ((0, 24), np.float32)


def test_a_view_that_is_not_contiguous(embedder: OnnxEmbedder) -> None:
    images = random_images(6)
    np.testing.assert_array_equal(
        embedder.embed(images[::-2, :, ::-1]), embedder.embed(images[::-2, :, ::-1].copy())
    )


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((2, 32, 31, 3), np.uint8),
        np.zeros((2, 3, 32, 32), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((0, 16, 16, 3), np.uint8),
    ],
)
def test_another_type_or_size_is_refused(images: Any, embedder: OnnxEmbedder) -> None:
    with pytest.raises(ValueError, match="fit_batch"):
        embedder.embed(images)


def test_threads_may_share_one_object(embedder: OnnxEmbedder) -> None:
    batches = [random_images(count) for count in range(1, 25)]
    wanted = [embedder.embed(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, alone in zip(pool.map(embedder.embed, batches), wanted, strict=True):
            np.testing.assert_array_equal(found, alone)


def test_torch_is_never_imported(bundle: Bundle) -> None:
    code = (
        "import sys; from pathlib import Path; import numpy as np;"
        "from deploy.runtimes import open_embedder;"
        "e = open_embedder(Path(sys.argv[1]), device='cpu');"
        "print(e.embed(np.zeros((2, 32, 32, 3), np.uint8)).shape);"
        "print(sorted({'torch', 'onnx', 'cv2', 'av', 'faiss'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle.folder)],
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["(2, 24)", "[]"]
    assert done.stderr == ""


def test_importing_the_runtimes_is_light() -> None:
    code = (
        "import sys, deploy.runtimes, deploy.tensorrt;"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'tensorrt'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="this ONNX Runtime has CUDA in it",
)
def test_cuda_without_a_cuda_build_is_missing(bundle: Bundle) -> None:
    with pytest.raises(MissingError, match="has no CUDA in it") as caught:
        OnnxEmbedder(bundle, device="cuda")
    assert "vr-toolkit[gpu]" in caught.value.mend


def pretend_cuda_build(monkeypatch: pytest.MonkeyPatch, gpus: list[Gpu]) -> None:
    """ONNX Runtime claims a CUDA provider that then cannot be loaded, as it really does."""
    claimed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: claimed)
    monkeypatch.setattr(deploy.runtimes.session, "list_gpus", lambda: gpus)
    real = onnxruntime.InferenceSession

    def falls_back(path: str, options: Any, providers: list[Any]) -> Any:
        (name, settings), last = providers
        assert [name, last] == claimed
        assert settings["use_tf32"] == "0"  # the graph says float32
        return real(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", falls_back)


def test_cuda_without_a_gpu_is_missing(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cuda_build(monkeypatch, [])
    with pytest.raises(MissingError, match="no NVIDIA GPU"):
        OnnxEmbedder(bundle, device="cuda")


def test_a_silent_fallback_from_cuda_is_missing(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_cuda_build(monkeypatch, [Gpu("H200", "sm90", "13.0")])
    with pytest.raises(MissingError, match="could not load"):
        OnnxEmbedder(bundle, device="cuda")


def test_auto_says_that_it_fell_back(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cuda_build(monkeypatch, [Gpu("H200", "sm90", "13.0")])
    assert OnnxEmbedder(bundle, device="auto").runtime == "onnxruntime cpu"


def test_an_unknown_device_or_no_thread_is_a_usage_error(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="0 threads"):
        OnnxEmbedder(bundle, device="cpu", threads=0)
    with pytest.raises(UsageError, match="tpu"):
        OnnxEmbedder(bundle, device="tpu")


def with_onnx(bundle: Bundle, folder: Path, content: bytes) -> Bundle:
    """A bundle whose hash is that of `content`: whoever made it, made it so."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(content)
    return replace(bundle, folder=folder, onnx_sha256=sha256_file(folder / "model.onnx"))


@pytest.mark.parametrize("size", [0, 1000])
def test_what_is_no_onnx_file_is_a_mismatch(size: int, bundle: Bundle, tmp_path: Path) -> None:
    cut = bundle.onnx.read_bytes()[:size]
    with pytest.raises(MismatchError):
        OnnxEmbedder(with_onnx(bundle, tmp_path / "cut", cut), device="cpu")


def test_an_operator_from_elsewhere_is_a_mismatch(bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(bundle.onnx)
    model.graph.node[0].op_type = "CastButOtherwise"
    foreign = with_onnx(bundle, tmp_path / "foreign", model.SerializeToString())
    with pytest.raises(MismatchError, match="CastButOtherwise"):
        OnnxEmbedder(foreign, device="cpu")


def test_a_foreign_graph_is_a_mismatch(bundle: Bundle, tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "other",
        [value("x", onnx.TensorProto.FLOAT, ["n", 4])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 4])],
    )
    model = onnx.helper.make_model(
        graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 20)]
    )
    foreign = with_onnx(bundle, tmp_path / "foreign", model.SerializeToString())
    with pytest.raises(MismatchError, match="no export of this network"):
        OnnxEmbedder(foreign, device="cpu")


def test_the_graph_of_another_training_is_a_mismatch(bundle: Bundle) -> None:
    """Same shapes, other weights: only the fingerprint inside tells them apart."""
    other = replace(bundle, card=replace(bundle.card, fingerprint="0" * 64))
    with pytest.raises(MismatchError, match="another network"):
        OnnxEmbedder(other, device="cpu")


def test_open_embedder_takes_onnx_for_a_bundle_and_torch_for_a_run(
    bundle: Bundle, run_folder: Path
) -> None:
    images = random_images(4)
    by_onnx = open_embedder(bundle.folder, device="cpu")
    by_torch = open_embedder(run_folder, device="cpu")
    assert (by_onnx.runtime, by_torch.runtime) == ("onnxruntime cpu", "torch cpu")
    np.testing.assert_allclose(by_onnx.embed(images), by_torch.embed(images), atol=1e-5)


def test_open_embedder_refuses_what_a_runtime_cannot_open(bundle: Bundle, run_folder: Path) -> None:
    with pytest.raises(UsageError, match="opens runs"):
        open_embedder(bundle.folder, "torch")
    with pytest.raises(UsageError, match="is a run"):
        open_embedder(run_folder, "onnx")
    with pytest.raises(UsageError, match="no runtime 'caffe'"):
        open_embedder(bundle.folder, "caffe")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not on the CPU"):
        open_embedder(bundle.folder, "tensorrt", device="cpu")
    with pytest.raises(UsageError, match="0 threads"):
        open_embedder(run_folder, "torch", threads=0)
    with pytest.raises(UsageError, match="tpu"):
        open_embedder(bundle.folder, device="tpu")


def test_open_embedder_checks_the_bundle(own_bundle: Path, run_folder: Path) -> None:
    """The parts of two exports put together by hand."""
    shutil.copyfile(run_folder / "model.safetensors", own_bundle / "model.onnx")
    with pytest.raises(MismatchError, match="replaced"):
        open_embedder(own_bundle)
    with pytest.raises(InputError, match="no bundle"):
        open_embedder(own_bundle / "nothing")


def test_a_bundle_of_a_run_on_disk_matches_its_network(bundle: Bundle, run_folder: Path) -> None:
    """The plain five lines of onnxruntime that the documentation shows."""
    session = onnxruntime.InferenceSession(
        bundle.folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    images = random_images(2)
    (embeddings,) = session.run(None, {"images": images})
    network, _ = load_model(run_folder)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(embeddings, wanted, atol=1e-5)


def test_a_graph_that_fails_only_when_it_runs_is_said(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 20]>
        g (uint8[batch, 4, 4, 3] images) => (float[rows, 7] embeddings) <int64[2] shape = {-1, 7}> {
            pixels = Cast <to = 1> (images)
            embeddings = Reshape (pixels, shape)
        }"""
    )
    onnx.save(model, tmp_path / "model.onnx")
    opened = open_session(tmp_path / "model.onnx", SessionSettings("cpu"))
    sevens = run_session(opened.session, np.ones((7, 4, 4, 3), np.uint8))
    assert sevens.shape == (48, 7)
    with pytest.raises(VrError, match="could not run the network") as caught:
        run_session(opened.session, np.ones((1, 4, 4, 3), np.uint8))
    assert "--verify" in caught.value.mend
