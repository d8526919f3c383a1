"""Whole networks in the CPU's form beside the form of their bundle, and how that form is kept."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from deploy.bundle import Bundle
from deploy.cpu_graph import for_onnxruntime_cpu
from deploy.cpu_graph.kept import cpu_graph
from deploy.onnx.make import make_onnx, write_onnx
from deploy.onnx.weights import without_weights
from deploy.precision.qdq import insert_qdq, plan_int8, pool_first
from deploy.precision.ranges import measure_histograms
from deploy.runtimes.onnx import OnnxEmbedder
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.networks.saved import save_model
from toolkit.preprocess import Preprocessing

_SIZE = 67


def _exported(folder: Path, backbone: str, preprocessing: Preprocessing) -> onnx.ModelProto:
    torch.manual_seed(3)
    network = EmbeddingNetwork(backbone, preprocessing, 24, mean_image=backbone == "alexnet")
    if backbone == "alexnet":
        torch.nn.init.uniform_(network.preprocess.mean, 90, 160)
    card = save_model(network.eval(), folder, {})
    return make_onnx(network, card)


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    preprocessing = Preprocessing(_SIZE, _SIZE, channels="bgr", scale=1.0)
    return _exported(tmp_path_factory.mktemp("alexnet"), "alexnet", preprocessing)


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    rng = np.random.default_rng(8)
    coarse = rng.integers(0, 256, (6, 5, 5, 3), dtype=np.uint8)
    large = coarse.repeat(14, axis=1).repeat(14, axis=2)[:, :_SIZE, :_SIZE]
    return np.clip(large + rng.normal(0, 9, large.shape), 0, 255).astype(np.uint8)


def _run(model: onnx.ModelProto | bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": images})[0])


def _compare(model: onnx.ModelProto, images: NDArray[np.uint8]) -> onnx.ModelProto:
    """Rewrite, check all that must stay, and return what came of it."""
    before = model.SerializeToString(deterministic=True)
    made = for_onnxruntime_cpu(model)
    assert model.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(made, full_check=True)
    assert made.graph.input == model.graph.input
    assert made.graph.output == model.graph.output
    assert made.metadata_props == model.metadata_props
    assert made.opset_import == model.opset_import
    np.testing.assert_allclose(_run(made, images), _run(model, images), atol=1e-6)
    return made


def test_alexnet(alexnet: onnx.ModelProto, pictures: NDArray[np.uint8]) -> None:
    made = _compare(alexnet, pictures)
    kinds = [node.op_type for node in made.graph.node]
    assert kinds[:4] == ["Transpose", "Cast", "Sub", "Conv"]
    assert "LRN" not in kinds
    assert "Slice" not in kinds


@pytest.mark.parametrize(
    "channels",
    [
        "bgr",
        pytest.param("rgb", marks=pytest.mark.slow),
        pytest.param("gray", marks=pytest.mark.slow),
    ],
)
def test_a_network_whose_input_goes_two_ways(
    channels: str, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    preprocessing = Preprocessing(_SIZE, _SIZE, channels=channels)  # type: ignore[arg-type]
    _compare(_exported(tmp_path, "small", preprocessing), pictures)


@pytest.mark.slow
def test_resnet18(pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    model = _exported(tmp_path, "resnet18", Preprocessing(_SIZE, _SIZE, channels="bgr"))
    made = _compare(model, pictures)
    assert [n.op_type for n in made.graph.node][:4] == ["Transpose", "Cast", "Sub", "Conv"]


def test_int8_stays_in_integers_and_near(
    alexnet: onnx.ModelProto, pictures: NDArray[np.uint8]
) -> None:
    pooled = pool_first(alexnet)
    plan = plan_int8(pooled)
    ranges = measure_histograms(pooled, plan.measured, pictures)
    peaks = {value: float(histogram.peak) for value, histogram in ranges.items()}
    signed = insert_qdq(pooled, plan, peaks)
    made = for_onnxruntime_cpu(signed)
    onnx.checker.check_model(made, full_check=True)
    convolutions = [n for n in made.graph.node if n.op_type == "Conv"]
    for node in convolutions:  # what ONNX Runtime takes for an integer convolution
        (user,) = [n for n in made.graph.node if node.output[0] in n.input]
        assert user.op_type == "QuantizeLinear"
    assert len(convolutions) == 5
    # The ranges hold these pictures, so that nothing is clipped: what differs is rounding, and
    # the few steps that it carries numbers over.
    cosines = (_run(made, pictures) * _run(signed, pictures)).sum(axis=1)
    assert cosines.min() > 0.9999


def test_twice_gives_the_same_bytes(alexnet: onnx.ModelProto) -> None:
    once, again = (for_onnxruntime_cpu(alexnet).SerializeToString(True) for _ in range(2))
    assert once == again


def _skeleton(file: Path) -> bytes:
    graph = without_weights(memoryview(file.read_bytes()), file.name)
    assert graph is not None
    return graph


def _kept(folder: Path) -> list[Path]:
    return sorted((folder / "engines").iterdir())


def test_the_bundle_carries_it_and_runs_it(bundle: Bundle) -> None:
    names = [path.name for path in _kept(bundle.folder)]
    assert names == ["model.cpu.graph", "model.cpu.graph.json"]
    content = (bundle.engines / "model.cpu.graph").read_bytes()
    assert cpu_graph(bundle.onnx, _skeleton(bundle.onnx), make=False) == content


@pytest.mark.parametrize("damage", ["cut", "note", "other model", "gone", "no folder"])
def test_what_does_not_fit_is_made_anew(own_bundle: Path, damage: str) -> None:
    file, kept = own_bundle / "model.onnx", own_bundle / "engines" / "model.cpu.graph"
    graph, good = _skeleton(file), kept.read_bytes()
    if damage == "cut":
        kept.write_bytes(good[:-1])
    elif damage == "note":
        kept.with_name(f"{kept.name}.json").write_text("{")
    elif damage == "other model":
        note = kept.with_name(f"{kept.name}.json")
        note.write_text(json.dumps({**json.loads(note.read_text()), "key": "0" * 64}))
    else:
        shutil.rmtree(kept.parent)
        if damage == "gone":
            kept.parent.mkdir()
    assert cpu_graph(file, graph, make=False) == graph
    assert cpu_graph(file, graph) == good
    assert kept.read_bytes() == good
    assert cpu_graph(file, graph, make=False) == good


def test_nothing_is_kept_of_a_damaged_model(own_bundle: Path) -> None:
    """Its skeleton is that of the whole one, and would be taken for it after a repair."""
    file = own_bundle / "model.onnx"
    graph, content = _skeleton(file), bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    assert _skeleton(file) == graph
    for path in _kept(own_bundle):
        path.unlink()
    cpu_graph(file, graph)
    assert _kept(own_bundle) == []


@pytest.mark.parametrize("name", ["model.cpu.graph", "model.cpu.graph.json"])
def test_a_pipe_among_what_is_kept_is_not_waited_for(own_bundle: Path, name: str) -> None:
    graph = _skeleton(own_bundle / "model.onnx")
    (own_bundle / "engines" / name).unlink()
    os.mkfifo(own_bundle / "engines" / name)
    assert cpu_graph(own_bundle / "model.onnx", graph, make=False) == graph


def test_where_nothing_can_be_kept_it_runs_all_the_same(
    own_bundle: Path, bundle: Bundle, patches: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    from deploy.bundle import read_bundle

    shutil.rmtree(own_bundle / "engines")
    (own_bundle / "engines").write_bytes(b"")  # in the way, also for those who may write anywhere
    here, there = OnnxEmbedder(read_bundle(own_bundle), "cpu"), OnnxEmbedder(bundle, "cpu")
    np.testing.assert_array_equal(here.embed(patches[0]), there.embed(patches[0]))
    assert (own_bundle / "engines").read_bytes() == b""


@pytest.mark.parametrize("producer", ["", "pytorch"])
def test_what_others_made_stays(tmp_path: Path, producer: str) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 20]>
        g (float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }"""
    )
    model.producer_name = producer
    write_onnx(model, tmp_path / "model.onnx")
    graph = _skeleton(tmp_path / "model.onnx")
    assert cpu_graph(tmp_path / "model.onnx", graph) == graph


def test_what_is_no_graph_stays(tmp_path: Path) -> None:
    assert cpu_graph(tmp_path / "model.onnx", b"\xff\xff no graph") == b"\xff\xff no graph"
