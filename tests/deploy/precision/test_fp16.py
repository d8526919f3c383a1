"""float16: the numbers stay near, what would overflow does not, and every cast is in the graph."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from deploy.precision import Calibration, convert
from deploy.precision.fp16 import rounding_loss, to_fp16

Models = Callable[[str], onnx.ModelProto]
Runner = Callable[..., NDArray[np.float32]]
Maker = Callable[..., Any]


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values} | {
        tensor.name: tensor.data_type for tensor in graph.initializer
    }


def outputs_of(model: onnx.ModelProto, *kinds: str) -> dict[str, int]:
    types = types_of(model)
    return {n.name: types[n.output[0]] for n in model.graph.node if n.op_type in kinds}


@pytest.mark.parametrize("name", ["small", "alexnet", "resnet18"])
def test_embeddings_stay_near(
    name: str, model_of: Models, pictures: Maker, run_onnx: Runner
) -> None:
    model = model_of(name)
    size = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    half = convert(model, "fp16").model
    onnx.checker.check_model(half, full_check=True)
    images = pictures(5, size)
    found, wanted = run_onnx(half, images), run_onnx(model, images)
    assert found.dtype == np.float32
    assert (found * wanted).sum(axis=1).min() > 0.9999
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)


def test_numpy_computes_the_same_from_the_graph(
    model_of: Models, pictures: Maker, run_onnx: Runner
) -> None:
    half, images = convert(model_of("small"), "fp16").model, pictures(2, 32)
    by_numpy = ReferenceEvaluator(half).run(None, {"images": images})[0]
    assert (by_numpy * run_onnx(half, images)).sum(axis=1).min() > 0.9999


def test_layers_are_half_and_normalisations_are_not(model_of: Models) -> None:
    half = convert(model_of("alexnet"), "fp16").model
    layers = outputs_of(half, "Conv", "Gemm", "MaxPool")
    assert len(layers) == 10
    assert set(layers.values()) == {TensorProto.FLOAT16}
    kept = outputs_of(half, "LRN", "ReduceL2", "Div", "Sub")
    assert len([n for n in half.graph.node if n.op_type == "LRN"]) == 2
    assert set(kept.values()) == {TensorProto.FLOAT}


def test_histogram_of_colours_stays_in_float32(model_of: Models) -> None:
    half = convert(model_of("small"), "fp16").model
    types = types_of(half)
    colours = [n for n in half.graph.node if n.name.startswith("colors.")]
    assert len(colours) > 10
    assert {types[o] for n in colours for o in n.output} <= {TensorProto.FLOAT, TensorProto.INT64}


@pytest.mark.parametrize("name", ["small", "alexnet"])
def test_no_node_mixes_the_two_types(name: str, model_of: Models) -> None:
    """What a strongly typed builder demands."""
    half = convert(model_of(name), "fp16").model
    types = types_of(half)
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16}
    for node in half.graph.node:
        if node.op_type != "Cast":
            values = (*node.input, *node.output)
            assert len({types[v] for v in values if v and types[v] in floats}) <= 1, node.name


def test_signature_and_metadata_stay_and_the_input_is_not_changed(model_of: Models) -> None:
    model = model_of("small")
    before = model.SerializeToString(deterministic=True)
    first, again = (convert(model, "fp16") for _ in range(2))
    assert model.SerializeToString(deterministic=True) == before
    assert first.model.SerializeToString(deterministic=True) == again.model.SerializeToString(
        deterministic=True
    )
    for part in ("input", "output"):
        assert getattr(first.model.graph, part) == getattr(model.graph, part)
    assert first.model.metadata_props == model.metadata_props
    assert first.model.doc_string == model.doc_string
    assert first.note["float32"]["after the last layer"]


def two_layers(graph_of: Maker, first: float, second: float) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "a"], ["wide"], name="wide"),
        helper.make_node("Relu", ["wide"], ["cut"], name="cut"),
        helper.make_node("Gemm", ["cut", "b"], ["small"], name="small"),
        helper.make_node("Gemm", ["small", "c"], ["y"], name="last"),
    ]
    identity = np.eye(12, 4, dtype=np.float32)
    constants = {"a": first * np.eye(12, dtype=np.float32), "b": second * identity}
    return graph_of(nodes, {**constants, "c": np.eye(4, dtype=np.float32)})


def test_what_overflows_on_the_patches_stays_in_float32(
    graph_of: Maker, pictures: Maker, run_onnx: Runner
) -> None:
    model = two_layers(graph_of, 1000.0, 1e-3)  # 255000 in between: past float16's 65504
    images = np.full((3, 2, 2, 3), 255, np.uint8)
    with pytest.raises(RuntimeWarning, match="overflow"):
        ReferenceEvaluator(to_fp16(model)[0]).run(None, {"images": images})
    made = convert(model, "fp16", Calibration.of(images))
    found = ReferenceEvaluator(made.model).run(None, {"images": images})[0]
    np.testing.assert_allclose(found, run_onnx(model, images), rtol=2e-3)
    assert made.note["float32"]["its range"] == ["wide", "cut", "small"]
    assert outputs_of(made.model, "Gemm")["last"] == TensorProto.FLOAT16


@pytest.mark.parametrize(("bias", "kind"), [(1e-7, TensorProto.FLOAT16), (1e5, TensorProto.FLOAT)])
def test_a_bias_stays_in_float32_only_where_it_overflows(
    bias: float, kind: int, graph_of: Maker, run_onnx: Runner
) -> None:
    """Of 1e-7 float16 keeps one digit, but beside products of about 1 that is nothing."""
    nodes = [
        helper.make_node("Gemm", ["x", "a", "bias"], ["wide"], name="wide"),
        helper.make_node("Gemm", ["wide", "b"], ["y"], name="last"),
    ]
    constants = {
        "a": np.eye(12, dtype=np.float32),
        "bias": np.full(12, bias, np.float32),
        "b": np.eye(12, 4, dtype=np.float32) / max(bias, 1),
    }
    model = graph_of(nodes, constants)
    made, _ = to_fp16(model)
    assert outputs_of(made, "Gemm")["wide"] == kind
    images = np.random.default_rng(0).integers(1, 100, (3, 2, 2, 3), dtype=np.uint8)
    np.testing.assert_allclose(run_onnx(made, images), run_onnx(model, images), rtol=2e-3)


@pytest.mark.parametrize("weight", [1e5, 1e-7])
def test_weights_that_float16_cannot_hold_stay(
    weight: float, graph_of: Maker, run_onnx: Runner
) -> None:
    model = two_layers(graph_of, weight, 1 / weight)
    made, note = to_fp16(model)
    assert "wide" in note["float32"]["its weights"]
    images = np.random.default_rng(0).integers(0, 100, (3, 2, 2, 3), dtype=np.uint8)
    np.testing.assert_allclose(run_onnx(made, images), run_onnx(model, images), rtol=2e-3)


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-6, 1e-9])
def test_rounding_loss_is_its_definition(scale: float) -> None:
    weights = (np.random.default_rng(1).normal(0, scale, 500)).astype(np.float32)
    rounded = [float(np.float16(weight)) for weight in weights]
    error = sum((float(a) - b) ** 2 for a, b in zip(weights, rounded, strict=True))
    total = sum(float(a) ** 2 for a in weights)
    assert rounding_loss(weights) == pytest.approx((error / total) ** 0.5)


def test_rounding_loss_of_nothing_zeros_and_infinity() -> None:
    assert rounding_loss(np.zeros(0, np.float32)) == 0
    assert rounding_loss(np.zeros(5, np.float32)) == 0
    assert rounding_loss(np.array([1, -np.inf], np.float32)) == 0
    assert rounding_loss(np.array([1, 7e4], np.float32)) == np.inf


def test_float32_is_the_graph_itself(model_of: Models) -> None:
    made = convert(model_of("small"), "fp32")
    assert made.model is model_of("small")
    assert made.note == {}
