import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from deploy.bundle import Bundle
from deploy.onnx.lrn import NativeLrn, with_native_lrn
from deploy.onnx.make import OPSET, make_onnx, write_onnx
from toolkit.model_card import ModelCard
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.preprocess import Channels, Preprocessing

REPOSITORY = Path(__file__).parents[2]


def make(
    backbone: str, size: int, channels: Channels = "rgb", *, dim: int = 16, mean_image: bool = False
) -> tuple[EmbeddingNetwork, ModelCard]:
    torch.manual_seed(11)
    scale = 1.0 if mean_image else 1 / 255
    spec = Preprocessing(size, size, channels, scale)
    network = EmbeddingNetwork(backbone, spec, dim, mean_image=mean_image).eval()
    generator = torch.Generator().manual_seed(3)
    network.preprocess.mean.uniform_(0.2 / scale / 255, 0.6 * 255 * scale, generator=generator)
    return network, ModelCard(backbone, dim, spec, "f" * 64, {"run": "tests", "step": 1})


def random_images(count: int, size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def run_onnx(path: Path, images: NDArray[np.uint8]) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["embeddings"], {"images": images})[0]


def run_torch(network: nn.Module, images: NDArray[np.uint8]) -> Any:
    with torch.inference_mode():
        return network(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize(
    ("backbone", "size", "channels", "mean_image"),
    [
        ("small", 32, "rgb", False),
        ("small", 48, "gray", False),
        ("alexnet", 67, "bgr", True),  # the smallest AlexNet: its weights take 25 MB
        ("alexnet", 67, "gray", True),
    ],
)
def test_onnx_runtime_gives_what_torch_gives(
    backbone: str, size: int, channels: Channels, mean_image: bool, tmp_path: Path
) -> None:
    network, card = make(backbone, size, channels, mean_image=mean_image)
    write_onnx(make_onnx(network, card), tmp_path / "model.onnx")
    for count in (1, 3, 33):
        images = random_images(count, size)
        found, wanted = run_onnx(tmp_path / "model.onnx", images), run_torch(network, images)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)
    assert run_onnx(tmp_path / "model.onnx", random_images(0, size)).shape == (0, 16)


@pytest.mark.slow
def test_whole_alexnet_gives_what_torch_gives(tmp_path: Path) -> None:
    network, card = make("alexnet", 227, "bgr", dim=1024, mean_image=True)
    write_onnx(make_onnx(network, card), tmp_path / "model.onnx")
    images = random_images(2, 227)
    found, wanted = run_onnx(tmp_path / "model.onnx", images), run_torch(network, images)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_third_implementation_agrees(tmp_path: Path) -> None:
    """ONNX's reference evaluator is numpy throughout: neither torch nor ONNX Runtime."""
    from onnx.reference import ReferenceEvaluator

    network, card = make("small", 16, "bgr", dim=8)
    write_onnx(make_onnx(network, card), tmp_path / "model.onnx")
    images = random_images(2, 16)
    found = ReferenceEvaluator(str(tmp_path / "model.onnx")).run(None, {"images": images})[0]
    np.testing.assert_allclose(found, run_torch(network, images), atol=1e-4)


@pytest.mark.parametrize("channels", ["rgb", "bgr", "gray"])
def test_preprocessing_inside_the_graph_is_what_the_record_says(
    channels: Channels, tmp_path: Path
) -> None:
    """With a backbone that only flattens, the graph's output is its own preprocessing."""
    network, card = make("small", 16, channels, dim=3 * 16 * 16)
    network.backbone = nn.Flatten()
    network.preprocess.deviation.copy_(torch.tensor([0.2, 0.3, 0.4])[:, None, None])
    write_onnx(make_onnx(network, card), tmp_path / "model.onnx")
    images = random_images(2, 16)

    pixels = images.astype(np.float64)
    if channels == "bgr":
        pixels = pixels[..., ::-1]
    if channels == "gray":
        gray = 0.299 * pixels[..., 0] + 0.587 * pixels[..., 1] + 0.114 * pixels[..., 2]
        pixels = np.stack([gray] * 3, axis=-1)
    mean = network.preprocess.mean.numpy().reshape(3)
    features = ((pixels / 255 - mean) / [0.2, 0.3, 0.4]).transpose(0, 3, 1, 2).reshape(2, -1)
    wanted = features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(run_onnx(tmp_path / "model.onnx", images), wanted, atol=1e-6)


def naive_lrn(x: NDArray[np.float32], size: int, alpha: float, beta: float) -> Any:
    """Krizhevsky et al. 2012, section 3.3, with alpha over the window as Caffe has it."""
    y = np.empty_like(x)
    for channel in range(x.shape[1]):
        low, high = max(0, channel - size // 2), min(x.shape[1], channel + size // 2 + 1)
        energy = (x[:, low:high] ** 2).sum(axis=1)
        y[:, channel] = x[:, channel] / (1 + alpha / size * energy) ** beta
    return y


class LrnOnly(nn.Module):
    """As a backbone: 3 channels through one normalisation that bends the values strongly."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = nn.LocalResponseNorm(size, alpha=3.0, beta=0.75)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.norm(x).flatten(1)
        return result


@pytest.mark.parametrize("size", [3, 4])
def test_local_response_normalisation_equals_torch(size: int, tmp_path: Path) -> None:
    network, card = make("small", 16, dim=3 * 16 * 16)
    network.backbone = LrnOnly(size)
    write_onnx(make_onnx(network, card), tmp_path / "model.onnx")
    images = random_images(3, 16)
    found = run_onnx(tmp_path / "model.onnx", images)
    np.testing.assert_allclose(found, run_torch(network, images), atol=1e-6)

    nodes = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert nodes.count("LRN") == size % 2  # even windows lie differently in torch and ONNX
    if size == 3:
        x = network.preprocess(torch.from_numpy(images)).numpy()
        y = naive_lrn(x, 3, 3.0, 0.75).reshape(3, -1)
        np.testing.assert_allclose(found, y / np.linalg.norm(y, axis=1, keepdims=True), atol=1e-5)


def test_alexnet_has_two_native_lrn_nodes_and_keeps_its_own_layers(tmp_path: Path) -> None:
    network, card = make("alexnet", 67, "bgr", mean_image=True)
    write_onnx(make_onnx(network, card), tmp_path / "model.onnx")
    nodes = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert nodes.count("LRN") == 2
    assert "AveragePool" not in nodes
    assert not any(isinstance(layer, NativeLrn) for layer in network.modules())


def test_twin_shares_the_weights() -> None:
    network, _ = make("alexnet", 67)
    twin = with_native_lrn(network)
    addresses = [weight.data_ptr() for weight in network.state_dict().values()]
    assert addresses == [weight.data_ptr() for weight in twin.state_dict().values()]


def test_signature_metadata_and_opset(bundle: Bundle) -> None:
    model = onnx.load(bundle.onnx)
    onnx.checker.check_model(model, full_check=True)
    (images,), (embeddings,) = model.graph.input, model.graph.output

    def shape(value: Any) -> list[Any]:
        return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]

    assert (images.name, shape(images)) == ("images", ["batch", 32, 32, 3])
    assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert (embeddings.name, shape(embeddings)) == ("embeddings", ["batch", 24])
    assert embeddings.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert {d for value in model.graph.value_info for d in shape(value)[:1]} >= {"batch"}
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert notes["fingerprint"] == bundle.card.fingerprint
    assert notes["backbone"] == "small"
    assert json.loads(notes["preprocessing"]) == bundle.card.preprocessing.as_json()
    assert json.loads(notes["lineage"]) == {"run": "tests", "step": 3}


def test_uint8_goes_into_a_cast_and_nothing_else(bundle: Bundle) -> None:
    """TensorRT takes uint8 only so: a transpose of it is refused by its parser."""
    graph = onnx.load(bundle.onnx).graph
    assert [node.op_type for node in graph.node if "images" in node.input] == ["Cast"]


def test_same_run_gives_the_same_bytes_in_another_process(
    bundle: Bundle, run_folder: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from deploy.onnx.make import make_onnx, write_onnx;"
        "from toolkit.networks.saved import load_model;"
        "write_onnx(make_onnx(*load_model(Path(sys.argv[1]))), Path(sys.argv[2]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(run_folder), str(tmp_path / "there.onnx")],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "99"},
        check=True,
    )
    content = bundle.onnx.read_bytes()
    assert content == (tmp_path / "there.onnx").read_bytes()
    for trace in (str(REPOSITORY), "stack_trace", "site-packages", torch.__version__):
        assert trace.encode() not in content


def test_export_is_silent_and_leaves_the_network_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    network, card = make("small", 16)
    network.train()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    write_onnx(make_onnx(network, card), tmp_path / "model.onnx")
    assert network.training
    assert all(torch.equal(before[n], weight) for n, weight in network.state_dict().items())
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
