"""Engines that are really built, by TensorRT-RTX, which needs no GPU for that.

It is the same code that builds with TensorRT. What the engines compute is not seen here: to
run them takes an RTX GPU.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from deploy.bundle import Bundle, read_bundle
from deploy.onnx.make import make_onnx, write_onnx
from deploy.precision import convert
from deploy.precision.calibration import Calibration
from deploy.proof.parity import Precision
from deploy.tensorrt import EngineSettings, Profile, build_engines
from deploy.tensorrt.loading import load_engine
from deploy.tensorrt.plan import PlanRequest, build_plan
from toolkit.errors import MismatchError, QualityGateError, VrError
from toolkit.model_card import ModelCard
from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.preprocess import Preprocessing

rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed here")

RTX = EngineSettings(target="tensorrt_rtx")
SIZES = {"alexnet": 67, "resnet18": 32}  # pixels: few, so that layers and exports are small
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


def make_model(name: str, size: int, dim: int) -> tuple[int, onnx.ModelProto]:
    """Number of parameters, and the fp32 graph with random weights."""
    torch.manual_seed(3)
    network = EmbeddingNetwork(name, Preprocessing(size, size), dim=dim).eval()
    card = ModelCard(name, dim, Preprocessing(size, size), "0" * 64, {})
    return sum(weights.numel() for weights in network.parameters()), make_onnx(network, card)


def random_patches(size: int) -> Calibration:
    random = np.random.default_rng(1)
    return Calibration(random.integers(0, 256, (32, size, size, 3), dtype=np.uint8), "0" * 64)


@pytest.fixture(scope="module", params=sorted(SIZES))
def network(request: pytest.FixtureRequest) -> tuple[str, int, onnx.ModelProto]:
    """Name, number of parameters and graph."""
    return request.param, *make_model(request.param, SIZES[request.param], 16)


def precisions_of(model: onnx.ModelProto) -> dict[str, int]:
    """How many Conv, Gemm and MatMul nodes there are of each precision, as ONNX has it."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    names = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16"}
    return dict(
        Counter(
            "int8" if set(node.input[:2]) <= dequantized else names[types[node.output[0]]]
            for node in graph.node
            if node.op_type in ("Conv", "Gemm", "MatMul")
        )
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_precision_of_the_graph_is_that_of_the_engine(
    precision: Precision, network: tuple[str, int, onnx.ModelProto], tmp_path: Path
) -> None:
    """As the parsed network says, and as the plan's size says."""
    name, parameters, model = network
    converted = convert(model, precision, random_patches(SIZES[name])).model
    write_onnx(converted, tmp_path / "model.onnx")
    plan = build_plan(rtx, PlanRequest(tmp_path / "model.onnx", precision, Profile(1, 8, 16)))
    assert plan.layers == precisions_of(converted)
    assert plan.layers[precision] >= {"alexnet": 7, "resnet18": 21}[name] - 1
    weights = parameters * BYTES[precision]
    assert 0.98 * weights < len(plan.content) < 1.1 * weights + 5_000_000
    for other in (other for other in BYTES if other != precision):
        with pytest.raises(QualityGateError, match=f"said to be {other}"):
            build_plan(rtx, PlanRequest(tmp_path / "model.onnx", other, Profile()))


def test_an_engine_of_a_bundle_is_built_and_kept(own_bundle: Path) -> None:
    bundle = read_bundle(own_bundle)
    (first,) = build_engines(bundle, RTX)
    version = rtx.__version__
    assert first.path.name == f"tensorrt_rtx-{version}-any-fp32-b1-32-128.plan"
    # A plan of strongly typed fp32 holds every weight in four bytes.
    assert first.path.stat().st_size > 0.9 * bundle.onnx.stat().st_size
    note = json.loads(first.path.with_suffix(".json").read_text())
    assert (note["sm"], note["gpu"], note["cuda"]) == ("any", "", "13")
    assert (set(note["layers"]), note["inspected"]) == ({"fp32"}, False)
    written = first.path.stat().st_mtime_ns
    (second,) = build_engines(bundle, RTX)
    assert (second.reused, second.path) == (True, first.path)
    assert second.path.stat().st_mtime_ns == written


def test_several_profiles_and_a_workspace(own_bundle: Path) -> None:
    settings = EngineSettings((Profile(1, 1, 1), Profile(2, 4, 8)), "tensorrt_rtx", 1 << 30)
    one, many = build_engines(read_bundle(own_bundle), settings)
    assert (one.key.profile, many.key.profile) == settings.profiles
    assert one.path.is_file()
    assert many.path.is_file()


def test_a_graph_of_fixed_batch(bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(bundle.onnx)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "model.onnx")
    plan = build_plan(rtx, PlanRequest(tmp_path / "model.onnx", "fp32", Profile(4, 4, 4)))
    assert len(plan.content) > 0.9 * bundle.onnx.stat().st_size


def test_a_truncated_file_is_a_mismatch(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(bundle.onnx.read_bytes()[:500])
    with pytest.raises(MismatchError, match="TensorRT cannot read"):
        build_plan(rtx, PlanRequest(tmp_path / "cut.onnx", "fp32", Profile()))


def test_a_foreign_file_is_a_mismatch(tmp_path: Path) -> None:
    """The parser makes an empty network of it, and says that all is well."""
    (tmp_path / "text.onnx").write_text("This is no graph.\n" * 20)
    with pytest.raises(MismatchError, match="no export of an embedding network"):
        build_plan(rtx, PlanRequest(tmp_path / "text.onnx", "fp32", Profile()))


def test_a_build_that_fails_inside_is_an_error(bundle: Bundle) -> None:
    """And no empty plan: the weights alone are larger than this workspace."""
    with pytest.raises(VrError, match="built no engine"):
        build_plan(rtx, PlanRequest(bundle.onnx, "fp32", Profile(), 1 << 20))


@pytest.mark.parametrize("content", [b"", b"no plan" * 100], ids=["empty", "foreign"])
def test_what_is_no_plan_is_not_loaded(content: bytes) -> None:
    with pytest.raises(MismatchError, match="no engine that TensorRT") as caught:
        load_engine(rtx, content, "x.plan")
    assert "vr export --trt" in caught.value.mend


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("Runtime", "deserialize_cuda_engine"),
        (
            "ICudaEngine",
            "num_io_tensors get_tensor_name get_tensor_dtype get_tensor_shape "
            "get_tensor_profile_shape create_execution_context create_engine_inspector",
        ),
        ("IExecutionContext", "set_input_shape set_tensor_address execute_async_v3"),
        ("EngineInspector", "execution_context get_engine_information"),
        ("IBuilderConfig", "create_timing_cache set_timing_cache get_timing_cache"),
        ("ITimingCache", "combine serialize"),
        ("LayerInformationFormat", "JSON"),
    ],
    ids=lambda value: value.split()[0],
)
def test_what_only_runs_on_a_gpu_has_these_names(kind: str, names: str) -> None:
    """The stand-ins of the other tests have them too."""
    assert [name for name in names.split() if not hasattr(getattr(rtx, kind), name)] == []


@pytest.mark.slow
def test_alexnet_of_full_size_in_every_precision(tmp_path: Path) -> None:
    _, model = make_model("alexnet", 227, 1024)
    for precision in BYTES:
        path = tmp_path / f"{precision}.onnx"
        write_onnx(convert(model, precision, random_patches(227)).model, path)
        plan = build_plan(rtx, PlanRequest(path, precision, Profile()))
        assert plan.layers[precision] >= 6
        assert 0.98 < len(plan.content) / path.stat().st_size < 1.1
        path.unlink()  # up to 190 MB
