"""Every kind of backbone leaves for ONNX and gives the same vectors there."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from deploy.onnx.make import make_onnx, write_onnx
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import load_model, save_model
from toolkit.preprocess import Preprocessing

VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
       "intermediate_size": 32, "image_size": 32, "patch_size": 16}  # fmt: skip
TINY: dict[str, dict[str, Any]] = {
    "vit": VIT,
    "dinov2": {**VIT, "image_size": 64},  # its position embeddings are interpolated
    "dinov3_vit": VIT,
    "convnextv2": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
}


def assert_same_in_onnx(backbone: str, folder: Path) -> onnx.ModelProto:
    torch.manual_seed(1)
    network = EmbeddingNetwork(backbone, Preprocessing(32, 32), 8).eval()
    for name, buffer in network.backbone.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    save_model(network, folder / "run", {})
    network, card = load_model(folder / "run")
    write_onnx(make_onnx(network, card), folder / "model.onnx")
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    for count in (1, 5):
        images: NDArray[np.uint8] = np.random.default_rng(count).integers(
            0, 256, (count, 32, 32, 3), dtype=np.uint8
        )
        with torch.inference_mode():
            wanted = network(torch.from_numpy(images)).numpy()
        found: Any = session.run(["embeddings"], {"images": images})[0]
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    return onnx.load(folder / "model.onnx")


@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_a_residual_network_is_the_same_in_onnx(name: str, tmp_path: Path) -> None:
    model = assert_same_in_onnx(name, tmp_path)
    nodes = [node.op_type for node in model.graph.node]
    assert nodes.count("Conv") == {"resnet18": 20, "resnet50": 53}[name]
    assert "BatchNormalization" not in nodes  # folded into the convolutions


@pytest.mark.parametrize(
    "kind",
    ["dinov2", *(pytest.param(k, marks=pytest.mark.slow) for k in TINY if k != "dinov2")],
)
def test_a_network_of_transformers_is_the_same_in_onnx(kind: str, tmp_path: Path) -> None:
    import transformers

    transformers.CONFIG_MAPPING[kind](**TINY[kind]).save_pretrained(tmp_path / "tiny")
    model = assert_same_in_onnx(f"hf:{tmp_path / 'tiny'}", tmp_path)
    assert {opset.domain for opset in model.opset_import} == {""}
