"""Precisions read off networks and engines: the first of stand-ins, the second of text.

test_rtx_engines.py reads them off networks that a real TensorRT has parsed.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.proof.parity import Precision
from deploy.tensorrt.inspect import check_built, count_built
from deploy.tensorrt.layers import check_precision, count_precisions
from toolkit.errors import QualityGateError

ONNX = Path("model.onnx")


def dequantized(fakes: Any, name: str, through: str = "") -> tuple[list[Any], Any]:
    """The layers that bring an int8 tensor to float32, perhaps `through` another, and it."""
    types = fakes.DataType
    quantized = fakes.tensor(f"{name}8", types.INT8)
    whole = fakes.tensor(f"{name}32", types.FLOAT)
    layers = [fakes.Layer("DEQUANTIZE", [quantized], whole)]
    if through:
        moved = fakes.tensor(f"{name}moved", types.FLOAT)
        layers.append(fakes.Layer(through, [whole], moved))
        whole = moved
    return layers, whole


@pytest.mark.parametrize("through", ["", "SHUFFLE", "CAST"])
def test_products_of_dequantized_tensors_are_int8(through: str, trt: Any, fakes: Any) -> None:
    picture, a = dequantized(fakes, "a")
    weights, w = dequantized(fakes, "w", through)
    out = fakes.tensor("out", fakes.DataType.FLOAT)
    product = fakes.Layer("CONVOLUTION", [a, w], out)
    assert count_precisions(trt, fakes.Network([*picture, *weights, product])) == {"int8": 1}


def test_one_dequantized_factor_is_not_enough(trt: Any, fakes: Any) -> None:
    """Weights alone in int8 are multiplied in float32: smaller, but no faster."""
    types = fakes.DataType
    weights, w = dequantized(fakes, "w")
    a, out = fakes.tensor("a", types.FLOAT), fakes.tensor("out", types.FLOAT)
    whole = [*weights, fakes.Layer("MATRIX_MULTIPLY", [a, w], out)]
    assert count_precisions(trt, fakes.Network(whole)) == {"fp32": 1}
    picture, b = dequantized(fakes, "b")
    inner = [*picture, fakes.Layer("CONVOLUTION", [b], out)]  # its kernel is no tensor
    assert count_precisions(trt, fakes.Network(inner)) == {"fp32": 1}


def test_an_integer_that_was_never_quantized_is_no_int8(trt: Any, fakes: Any) -> None:
    types = fakes.DataType
    raw = fakes.tensor("raw", types.INT8)
    a, out = fakes.tensor("a", types.FLOAT), fakes.tensor("out", types.FLOAT)
    layers = [fakes.Layer("CAST", [raw], a), fakes.Layer("CONVOLUTION", [a, a], out)]
    assert count_precisions(trt, fakes.Network(layers)) == {"fp32": 1}


def test_layers_that_do_not_multiply_do_not_count(trt: Any, fakes: Any) -> None:
    assert count_precisions(trt, fakes.plain_network()) == {"fp32": 2}
    assert count_precisions(trt, fakes.Network([])) == {}


@pytest.mark.parametrize(
    ("counts", "asked"),
    [
        ({"fp32": 7}, "fp32"),
        ({}, "fp32"),
        ({"fp16": 7}, "fp16"),
        ({"fp16": 4, "fp32": 4}, "fp16"),
        ({"int8": 5, "fp16": 1, "fp32": 1}, "int8"),
    ],
)
def test_a_network_of_the_precision_passes(counts: dict[str, int], asked: Precision) -> None:
    check_precision(counts, asked, ONNX)


@pytest.mark.parametrize(
    ("counts", "asked"),
    [
        ({"fp32": 6, "fp16": 1}, "fp32"),
        ({"bf16": 1}, "fp32"),
        ({"fp32": 7}, "fp16"),
        ({"fp16": 3, "fp32": 4}, "fp16"),
        ({"fp32": 7}, "int8"),
        ({"fp16": 7}, "int8"),
        ({}, "int8"),
    ],
)
def test_a_network_of_another_precision_is_refused(
    counts: dict[str, int], asked: Precision
) -> None:
    with pytest.raises(QualityGateError, match=rf"said to be {asked}") as caught:
        check_precision(counts, asked, ONNX)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("said", "precision"),
    [
        ("Row major linear FP32", "fp32"),
        ("Float", "fp32"),
        ("Channel major FP16 format where C % 8 == 0", "fp16"),
        ("Half", "fp16"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("BF16", "bf16"),
        ("UInt8", "opaque"),
        ("N/A due to dynamic shapes", "opaque"),
    ],
)
def test_what_the_inspector_calls_its_types(said: str, precision: str, fakes: Any) -> None:
    assert count_built(fakes.information(said)) == {precision: 1}


def test_the_lowest_type_is_that_of_the_layer() -> None:
    layer = {
        "Name": "conv1",
        "LayerType": "CaskConvolution",
        "Inputs": [{"Format/Datatype": "Row major linear FP32"}],
        "Outputs": [{"Format/Datatype": "Row major linear FP32"}],
        "Weights": {"Type": "Int8", "Count": 64},
    }
    assert count_built(json.dumps({"Layers": [layer]})) == {"int8": 1}


def test_a_fused_layer_hides_what_is_inside() -> None:
    layer = {
        "Name": "{ForeignNode[conv1...normalise]}",
        "LayerType": "Myelin",
        "Inputs": [{"Format/Datatype": "UInt8"}],
        "Outputs": [{"Format/Datatype": "Float"}],
    }
    assert count_built(json.dumps({"Layers": [layer]})) == {"opaque": 1}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"Layers": 3}', "null"])
def test_an_inspector_that_says_something_else_tells_nothing(text: str) -> None:
    assert count_built(text) == {}


@pytest.mark.parametrize(
    ("counts", "asked", "told"),
    [
        ({"fp32": 3}, "fp32", True),
        ({"fp16": 5, "fp32": 2}, "fp16", True),
        ({"int8": 5, "fp16": 2, "fp32": 1}, "int8", True),
        ({"fp32": 3, "opaque": 1}, "fp32", False),
        ({"opaque": 1}, "fp16", False),
        ({"fp32": 1, "opaque": 1}, "int8", False),
        ({}, "fp16", False),
    ],
)
def test_an_engine_of_the_precision_passes(
    counts: dict[str, int], asked: Precision, told: bool
) -> None:
    assert check_built(counts, asked, ONNX) is told


@pytest.mark.parametrize(
    ("counts", "asked"),
    [
        ({"fp32": 3, "fp16": 1}, "fp32"),
        ({"fp32": 3}, "fp16"),
        ({"fp16": 3, "int8": 1}, "fp16"),
        ({"fp32": 2, "fp16": 3}, "int8"),
        ({"opaque": 3, "int8": 1}, "fp32"),
    ],
)
def test_an_engine_of_another_precision_is_an_error(
    counts: dict[str, int], asked: Precision
) -> None:
    with pytest.raises(QualityGateError, match=f"not {asked}"):
        check_built(counts, asked, ONNX)
