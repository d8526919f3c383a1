"""The forms that a graph may take: opset, batch, size; and what opens it."""

import json
import re
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

from deploy.bundle import Bundle
from deploy.export import Evidence, export_bundle
from deploy.onnx.make import MAX_BATCH, OPSETS, GraphOptions, make_onnx, write_onnx
from deploy.onnx.resize import check_size, load_at_size
from deploy.runtimes.onnx import OnnxEmbedder
from deploy.settings import ExportSettings
from toolkit.errors import MismatchError, UsageError
from toolkit.model_card import ModelCard
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import fingerprint, save_model
from toolkit.preprocess import Preprocessing

Patches = tuple[NDArray[np.uint8], NDArray[np.uint8]]
DOCS = Path(__file__).parents[2] / "docs"


def small() -> tuple[EmbeddingNetwork, ModelCard]:
    torch.manual_seed(2)
    spec = Preprocessing(32, 32)
    network = EmbeddingNetwork("small", spec, 8).eval()
    return network, ModelCard("small", 8, spec, "f" * 64, {"run": "tests"})


def pictures(count: int, size: int = 32) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def open_session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("opset", [OPSETS[0], 22, OPSETS[-1]])
def test_every_opset_gives_what_torch_gives(opset: int, tmp_path: Path) -> None:
    network, card = small()
    write_onnx(make_onnx(network, card, GraphOptions(opset)), tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
    images = pictures(3)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(images)).numpy()
    found = open_session(tmp_path / "m.onnx").run(None, {"images": images})[0]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 5])
def test_a_fixed_batch_is_in_the_graph(batch: int, tmp_path: Path) -> None:
    network, card = small()
    write_onnx(make_onnx(network, card, GraphOptions(batch=batch)), tmp_path / "m.onnx")
    session = open_session(tmp_path / "m.onnx")
    assert session.get_inputs()[0].shape == [batch, 32, 32, 3]
    assert session.get_outputs()[0].shape == [batch, 8]
    images = pictures(batch)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(session.run(None, {"images": images})[0], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"opset": OPSETS[0] - 1}, "--opset 17"),
        ({"opset": OPSETS[-1] + 1}, "--opset 26"),
        ({"batch": 0}, "--batch 0"),
        ({"batch": MAX_BATCH + 1}, "--batch 4097"),
    ],
)
def test_an_impossible_form_names_its_flag(options: dict[str, int], flag: str) -> None:
    with pytest.raises(UsageError, match=flag):
        GraphOptions(**options)


@pytest.mark.parametrize("size", [15, 4097, 0, -1])
def test_an_impossible_size_names_its_flag(size: int) -> None:
    with pytest.raises(UsageError, match="--size"):
        ExportSettings(size=size)


def test_what_the_tools_look_for_is_where_they_look(bundle: Bundle) -> None:
    model = onnx.load(bundle.onnx)
    assert (model.producer_name, model.domain, model.model_version) == ("vr", "vr", 1)
    assert re.fullmatch(r"\d+\.\d+.*", model.producer_version)
    assert "32, 32, 3" in model.graph.input[0].doc_string
    assert "length 1" in model.graph.output[0].doc_string
    inferred = {value.name for value in model.graph.value_info}
    assert inferred == {name for node in model.graph.node[:-1] for name in node.output}


@pytest.fixture(scope="module")
def fixed(run_folder: Path, patches: Patches, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of 48 px, for 4 pictures at a time."""
    larger = tuple(np.repeat(np.repeat(side, 2, 1), 2, 2)[:, :48, :48] for side in patches)
    settings = ExportSettings(size=48, graph=GraphOptions(19, batch=4))
    out = tmp_path_factory.mktemp("fixed") / "exported"
    evidence = Evidence(tracks=np.arange(12) // 3)
    return export_bundle(run_folder, out, *larger, settings, evidence).bundle


def test_another_size_is_another_network(fixed: Bundle, run_folder: Path) -> None:
    run = ModelCard.read(run_folder)
    assert (fixed.card.preprocessing.height, fixed.card.preprocessing.width) == (48, 48)
    assert fixed.card.lineage == {**run.lineage, "resized_from": run.fingerprint}
    network, card = load_at_size(run_folder, 48)
    assert card == fixed.card
    weights = network.state_dict()
    assert card.fingerprint == fingerprint(weights, card.preprocessing) != run.fingerprint
    for name, tensor in load_at_size(run_folder, None)[0].state_dict().items():
        assert torch.equal(weights[name], tensor)


def test_its_vectors_are_those_of_the_same_weights_at_that_size(
    fixed: Bundle, run_folder: Path
) -> None:
    images = pictures(7, 48)
    embedder = OnnxEmbedder(fixed, "cpu")
    with torch.inference_mode():  # mean pooling: the network of 32 px runs at 48 px as it is
        wanted = load_at_size(run_folder, None)[0](torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(embedder.embed(images), wanted, atol=1e-5)


def test_the_form_stands_in_the_card(fixed: Bundle) -> None:
    content = json.loads((fixed.folder / "model.json").read_text())
    assert (content["opset"], content["batch"], content["precision"]) == (19, 4, "fp32")
    assert content["quantization"] == {}
    assert "dense" not in content
    assert (fixed.opset, fixed.batch, fixed.dense) == (19, 4, False)


def test_the_size_of_the_run_is_no_other_size(run_folder: Path) -> None:
    assert (
        load_at_size(run_folder, 32)[1] == check_size(run_folder, 32) == ModelCard.read(run_folder)
    )


def test_a_mean_image_keeps_its_size_and_torch_is_not_needed_to_say_so(tmp_path: Path) -> None:
    spec = Preprocessing(67, 67, "bgr")
    save_model(EmbeddingNetwork("small", spec, 8, mean_image=True), tmp_path, {})
    with pytest.raises(UsageError, match="67x67 pixels: it takes off a mean image") as caught:
        check_size(tmp_path, 80)
    assert "--size" in caught.value.mend
    code = (
        "import sys; from pathlib import Path; from deploy.onnx.resize import check_size\n"
        "try: check_size(Path(sys.argv[1]), 80)\n"
        "except Exception as error: print(error.exit_code, 'torch' in sys.modules)"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert done.stdout == "2 False\n"


def test_a_layer_made_for_one_size_is_a_usage_error(tmp_path: Path) -> None:
    spec = Preprocessing(67, 67, "bgr")
    save_model(EmbeddingNetwork("alexnet", spec, 8), tmp_path, {})
    with pytest.raises(UsageError, match="made for that size"):
        load_at_size(tmp_path, 131)


def test_the_size_of_a_damaged_run_is_a_mismatch(tmp_path: Path) -> None:
    save_model(EmbeddingNetwork("small", Preprocessing(32, 32), 8), tmp_path, {})
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(MismatchError):
        load_at_size(tmp_path, 48)


@pytest.mark.parametrize("page", ["deploy.md", "formats.md"])
def test_the_five_lines_of_the_docs_open_a_bundle(page: str, bundle: Bundle) -> None:
    """Run as they stand, in a folder with a bundle, with plain ONNX Runtime."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    (code,) = [block for block in blocks if "InferenceSession" in block]
    check = "\nimport sys; print(embeddings.shape, embeddings.dtype, 'deploy' in sys.modules)"
    arguments = [sys.executable, "-c", code + check]
    done = subprocess.run(
        arguments, cwd=bundle.folder.parent, check=True, capture_output=True, text=True
    )
    assert done.stdout.endswith("24) float32 False\n")
