"""Names in a graph follow the modules: checked against the torch module tree itself."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from deploy.onnx.make import make_onnx
from toolkit.model_card import ModelCard
from toolkit.networks.backbones import backbone_defaults
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.preprocess import Preprocessing

Graphs = Callable[[str], tuple[EmbeddingNetwork, onnx.ModelProto]]


@pytest.fixture(scope="module")
def graphs() -> Graphs:
    """Each backbone and its graph, traced once."""
    made: dict[str, tuple[EmbeddingNetwork, onnx.ModelProto]] = {}

    def graph(backbone: str) -> tuple[EmbeddingNetwork, onnx.ModelProto]:
        if backbone not in made:
            torch.manual_seed(3)
            spec = Preprocessing(67, 67, "bgr")
            mean_image = backbone_defaults(backbone).mean_image
            network = EmbeddingNetwork(backbone, spec, 8, mean_image=mean_image).eval()
            for tensor in (*network.parameters(), *network.buffers()):
                if tensor.is_floating_point():  # equal tensors would be one in the graph
                    tensor.data.uniform_(0.5, 1.5)
            card = ModelCard(backbone, 8, spec, "f" * 64, {})
            made[backbone] = network, make_onnx(network, card)
        return made[backbone]

    return graph


def test_alexnet_reads_like_its_prototxt(graphs: Graphs) -> None:
    _, model = graphs("alexnet")
    names = [node.name for node in model.graph.node if not node.name.startswith("preprocess.")]
    assert " ".join(names) == (
        "conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2 conv3 relu3 conv4 relu4 conv5 relu5 "
        "pool3 reshape fc6 relu6 fc7 relu7 normalise.reducel2 normalise.add normalise.div"
    )


@pytest.mark.parametrize("backbone", ["alexnet", "small", "resnet18"])
def test_every_layer_with_weights_is_named_by_its_module(backbone: str, graphs: Graphs) -> None:
    network, model = graphs(backbone)
    layers = {
        name.removeprefix("backbone."): layer
        for name, layer in network.named_modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
    }
    weighted = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert {node.name for node in weighted} == set(layers)
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for node in weighted:
        assert list(node.input[1:]) == [f"{node.name}.weight", f"{node.name}.bias"]
        weight: Any = layers[node.name].weight
        assert shapes[node.input[1]] == list(weight.shape)


def test_the_weights_of_alexnet_lie_under_their_own_names(graphs: Graphs) -> None:
    network, model = graphs("alexnet")
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for name, weight in network.backbone.state_dict().items():
        np.testing.assert_array_equal(tensors[name], weight.numpy())


@pytest.mark.parametrize("backbone", ["alexnet", "small", "resnet18"])
def test_names_are_unique_and_none_is_the_exporters(backbone: str, graphs: Graphs) -> None:
    graph = graphs(backbone)[1].graph
    nodes = [node.name for node in graph.node]
    assert len(set(nodes)) == len(nodes)
    made = [value for node in graph.node for value in node.output]
    values = [*made, *(tensor.name for tensor in graph.initializer)]
    assert len(set(values)) == len(values)
    assert made == [*nodes[:-1], "embeddings"]  # a node gives its name to what it makes
    numbered = re.compile(r"^val_|^node_|_symbolic|_to_copy|getitem|_\d{2,}$|backbone\.")
    assert [name for name in (*nodes, *values) if numbered.search(name)] == []


def test_what_has_no_module_is_named_too(tmp_path: Path) -> None:
    """A backbone of one function: its node is named by its kind."""

    class Doubled(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) * 3

    spec = Preprocessing(16, 16)
    network = EmbeddingNetwork("small", spec, 768).eval()
    network.backbone = Doubled()
    model = make_onnx(network, ModelCard("small", 768, spec, "f" * 64, {}))
    names = [node.name for node in model.graph.node]
    assert "mul" in names
    assert {t.name for t in model.graph.initializer} >= {"mul.constant", "preprocess.mean"}
