"""The dense graph in ONNX Runtime against the dense network in torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from deploy.onnx.dense import make_dense_onnx
from deploy.onnx.make import GraphOptions, write_onnx
from toolkit.errors import UsageError
from toolkit.model_card import ModelCard
from toolkit.networks.dense import make_dense
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.preprocess import Preprocessing


def make(backbone: str, height: int, width: int) -> tuple[EmbeddingNetwork, ModelCard]:
    torch.manual_seed(11)
    spec = Preprocessing(height, width, "bgr")
    network = EmbeddingNetwork(backbone, spec, 16).eval()
    return network, ModelCard(backbone, 16, spec, "f" * 64, {"run": "tests"})


def pictures(count: int, height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.fixture(
    scope="module",
    params=[("small", 32, 37), ("alexnet", 67, 67), ("resnet18", 64, 33)],
    ids=lambda param: param[0],
)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[EmbeddingNetwork, ModelCard, Path]:
    network, card = make(*request.param)
    path = tmp_path_factory.mktemp("dense") / "dense.onnx"
    write_onnx(make_dense_onnx(network, card), path)  # with the checker's full check
    return network, card, path


def open_graph(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_pictures_of_any_size_give_what_torch_gives(
    made: tuple[EmbeddingNetwork, ModelCard, Path],
) -> None:
    network, _, path = made
    dense, session = make_dense(network), open_graph(path)
    grid = dense.grid
    for count, rows, columns, rest in ((1, 1, 1, 0), (2, 2, 3, 5), (1, 4, 1, 15), (3, 3, 5, 1)):
        height = grid.height + (rows - 1) * grid.stride + rest
        width = grid.width + (columns - 1) * grid.stride + rest
        images = pictures(count, height, width)
        with torch.inference_mode():
            wanted = dense(torch.from_numpy(images)).numpy()
        found = session.run(["embeddings"], {"images": images})[0]
        assert found.shape == (count, rows, columns, 16)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(found, axis=3), 1, atol=1e-3)


def test_sizes_are_symbols_and_nothing_of_the_trace_is_left(
    made: tuple[EmbeddingNetwork, ModelCard, Path],
) -> None:
    _, _, path = made
    session = open_graph(path)
    (images,), (embeddings,) = session.get_inputs(), session.get_outputs()
    assert (images.type, images.shape) == ("tensor(uint8)", ["batch", "height", "width", 3])
    assert embeddings.shape == ["batch", "rows", "columns", 16]
    model = onnx.load(path)
    kinds = [node.op_type for node in model.graph.node]
    assert "Reshape" not in kinds
    assert kinds.count("LRN") == (2 if "fc6" in {n.name for n in model.graph.node} else 0)


def test_the_metadata_hold_the_grid_and_the_network(
    made: tuple[EmbeddingNetwork, ModelCard, Path],
) -> None:
    network, card, path = made
    notes = open_graph(path).get_modelmeta().custom_metadata_map
    assert json.loads(notes["grid"]) == make_dense(network).grid.as_json()
    assert notes["fingerprint"] == card.fingerprint


def test_a_picture_smaller_than_a_window_is_an_error(
    made: tuple[EmbeddingNetwork, ModelCard, Path],
) -> None:
    """Whoever runs the graph without vr gets neither a made-up vector nor a crash."""
    network, _, path = made
    spec = network.preprocessing
    session = open_graph(path)
    for height, width in ((spec.height - 1, spec.width), (16, 16), (1, 300)):
        with pytest.raises(InvalidArgument, match="error_if_smaller_than_a_window"):
            session.run(["embeddings"], {"images": pictures(1, height, width)})


def test_the_same_network_gives_the_same_bytes(
    made: tuple[EmbeddingNetwork, ModelCard, Path], tmp_path: Path
) -> None:
    network, card, path = made
    if card.backbone != "alexnet":
        pytest.skip("once is enough, and this one is exported the fastest")
    write_onnx(make_dense_onnx(network, card), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_opset_and_stride_are_as_asked_for() -> None:
    network, card = make("small", 32, 32)
    model = make_dense_onnx(network, card, GraphOptions(opset=18), stride=48)
    assert [opset.version for opset in model.opset_import] == [18]
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"images": pictures(1, 32 + 2 * 48, 32 + 48 + 47)})[0]
    assert found.shape == (1, 3, 2, 16)
    with pytest.raises(UsageError, match="24 pixels apart"):
        make_dense_onnx(network, card, stride=24)


def test_a_third_implementation_agrees(made: tuple[EmbeddingNetwork, ModelCard, Path]) -> None:
    """ONNX's reference evaluator is NumPy throughout."""
    from onnx.reference import ReferenceEvaluator

    network, card, path = made
    if card.backbone != "small":
        pytest.skip("too slow in NumPy")
    images = pictures(1, 32 + 16, 37 + 16 + 9)
    found = ReferenceEvaluator(str(path)).run(None, {"images": images})[0]
    with torch.inference_mode():
        wanted = make_dense(network)(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)
