"""Graphs of small networks and pictures to calibrate them on, made once."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deploy.onnx.make import make_onnx
from deploy.precision import Calibration
from toolkit.model_card import ModelCard
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.preprocess import Channels, Preprocessing

Images = NDArray[np.uint8]
SIZES: dict[str, tuple[int, Channels]] = {
    "small": (32, "rgb"),
    "resnet18": (32, "rgb"),
    "alexnet": (67, "bgr"),
}


def _make_model(name: str, size: int, channels: Channels = "rgb") -> onnx.ModelProto:
    """With random weights and the statistics of a network that was trained."""
    torch.manual_seed(11)
    spec = Preprocessing(size, size, channels)
    network = EmbeddingNetwork(name, spec, 16).eval()
    for key, buffer in network.backbone.named_buffers():
        if key.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return make_onnx(network, ModelCard(name, 16, spec, "f" * 64, {"run": "tests"}))


@pytest.fixture(scope="session")
def make_model() -> Callable[..., onnx.ModelProto]:
    """make_model(name, size): the graph of any backbone."""
    return _make_model


@pytest.fixture(scope="session")
def model_of() -> Callable[[str], onnx.ModelProto]:
    """The graph of a backbone in float32; not to be changed by a test."""
    return cache(lambda name: _make_model(name, *SIZES[name]))


@pytest.fixture(scope="session")
def pictures() -> Callable[..., Images]:
    """pictures(count, size, seed): coloured blotches of several sizes, no two alike."""

    def make(count: int, size: int, seed: int = 0) -> Images:
        random = np.random.default_rng(seed)
        made = np.zeros((count, size, size, 3))
        for cell in (4, 9, 32):
            side = -(-size // cell)
            blotches = random.random((count, side, side, 3)).repeat(cell, 1).repeat(cell, 2)
            made += blotches[:, :size, :size]
        return np.asarray(made * 85, np.uint8)

    return make


@pytest.fixture(scope="session")
def calibration_of(pictures: Callable[..., Images]) -> Callable[[str], Calibration]:
    return cache(lambda name: Calibration.of(pictures(48, SIZES[name][0])))


@pytest.fixture(scope="session")
def run_onnx() -> Callable[..., NDArray[np.float32]]:
    """run_onnx(model, images, plain=False): the embeddings; plain: without optimisations."""

    def run(model: onnx.ModelProto, images: Images, *, plain: bool = False) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if plain:
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run(None, {"images": images})[0]

    return run


@pytest.fixture(scope="session")
def graph_of() -> Callable[..., onnx.ModelProto]:
    """graph_of(nodes, constants): a model of 2x2 pictures with 12 numbers in "x" to 4 in "y"."""

    def make(
        nodes: list[onnx.NodeProto], constants: dict[str, NDArray[Any]], batch: int | str = "batch"
    ) -> onnx.ModelProto:
        first = [
            helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["floats", "flat"], ["x"]),
        ]
        last = helper.make_node("Identity", ["y"], ["embeddings"])
        graph = helper.make_graph(
            [*first, *nodes, last],
            "test",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, [batch, 2, 2, 3])],
            [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, [batch, 4])],
            [
                numpy_helper.from_array(np.array([-1, 12]), "flat"),
                *(numpy_helper.from_array(array, key) for key, array in constants.items()),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)

    return make
