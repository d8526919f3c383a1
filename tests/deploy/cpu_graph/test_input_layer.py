"""The input layer shortened: the same numbers as the graph before, by ONNX's own evaluator."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from deploy.cpu_graph.edit import GraphEditor
from deploy.cpu_graph.input_layer import fold_input

_FLIP = (
    "s = Slice (t, minus, least, channels, minus)",
    "a = Mul (s, scale)",
    "b = Sub (a, mean)",
    "c = Div (b, deviation)",
)
_PLAIN = ("a = Mul (t, scale)", "b = Sub (a, mean)", "c = Div (b, deviation)")
_CONV = "y = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (c, w)"
_PIXELS = np.random.default_rng(2).integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)


def _model(steps: tuple[str, ...], mean: NDArray[np.float32]) -> onnx.ModelProto:
    """The steps behind a cast and a transpose, from `t`; the result is `y`."""
    body = ["f = Cast <to = 1> (images)", "t = Transpose <perm = [0, 3, 1, 2]> (f)", *steps]
    model = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 20]>
        g (uint8[N, 5, 6, 3] images) => (float[N, C, H, W] y)
        <int64[1] minus = {{-1}}, int64[1] least = {{-9223372036854775807}},
         int64[1] channels = {{1}}, float scale = {{0.00392157}}, float step = {{0.02}},
         int8 zero = {{0}}>
        {{ {" ".join(body)} }}"""
    )
    rng = np.random.default_rng(3)
    quantised = rng.integers(-127, 128, (4, 3, 3, 3), dtype=np.int8)
    for name, content in {
        "mean": mean,
        "deviation": np.array([0.2, 0.25, 0.5], np.float32).reshape(3, 1, 1),
        "w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "wq": quantised,
        "wscale": np.array([0.1, 0.2, 0.3, 0.4], np.float32),
        "wzero": np.zeros(4, np.int8),
    }.items():
        model.graph.initializer.append(numpy_helper.from_array(content, name))
    used = {value for node in model.graph.node for value in node.input}
    unused = [tensor for tensor in model.graph.initializer if tensor.name not in used]
    for tensor in unused:
        model.graph.initializer.remove(tensor)
    return model


def _rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    editor = GraphEditor.of(model)
    fold_input(editor)
    made = editor.rebuild()
    onnx.checker.check_model(made, full_check=True)
    return made


def _run(model: onnx.ModelProto) -> NDArray[np.float32]:
    (y,) = ReferenceEvaluator(model).run(None, {"images": _PIXELS})
    return np.asarray(y)


def _kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


_MEANS = {
    "per channel": np.array([0.4, 0.5, 0.6], np.float32).reshape(3, 1, 1),
    "image": np.random.default_rng(4).random((3, 5, 6), dtype=np.float32),
}


@pytest.mark.parametrize("mean", sorted(_MEANS))
@pytest.mark.parametrize("order", [_FLIP, _PLAIN], ids=["bgr", "rgb"])
def test_a_convolution_takes_order_and_scale(mean: str, order: tuple[str, ...]) -> None:
    model = _model((*order, _CONV), _MEANS[mean])
    made = _rewritten(model)
    assert _kinds(made) == ["Transpose", "Cast", "Sub", "Conv"]
    np.testing.assert_allclose(_run(made), _run(model), rtol=1e-5, atol=1e-5)


def test_no_mean_leaves_no_subtraction() -> None:
    model = _model((*_FLIP, _CONV), np.zeros((3, 1, 1), np.float32))
    made = _rewritten(model)
    assert _kinds(made) == ["Transpose", "Cast", "Conv"]
    np.testing.assert_allclose(_run(made), _run(model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", [_FLIP, _PLAIN], ids=["bgr", "rgb"])
def test_quantised_weights_take_the_order_alone(order: tuple[str, ...]) -> None:
    quantised = (
        "q = QuantizeLinear (c, step, zero)",
        "d = DequantizeLinear (q, step, zero)",
        "v = DequantizeLinear <axis = 0> (wq, wscale, wzero)",
        "y = Conv (d, v)",
    )
    model = _model((*order, *quantised), _MEANS["image"])
    made = _rewritten(model)
    assert _kinds(made)[:4] == ["Transpose", "Cast", "Mul", "Sub"]
    assert "Slice" not in _kinds(made)
    # Only a pixel that rounding carries over the middle of a step may differ, by that step.
    before, after = _run(model), _run(made)
    assert np.mean(np.abs(before - after) > 1e-4) < 0.02


@pytest.mark.parametrize("order", [_FLIP, _PLAIN], ids=["bgr", "rgb"])
@pytest.mark.parametrize(
    "rest",
    [
        (_CONV.replace("y =", "z ="), "m = ReduceMean (c)", "y = Add (z, m)"),
        ("y = Conv <group = 3> (c, g)",),
        ("k = Relu (c)", "y = Conv (k, w)"),
    ],
    ids=["two users", "groups", "something between"],
)
def test_where_it_cannot_be_folded_the_values_stay(
    order: tuple[str, ...], rest: tuple[str, ...]
) -> None:
    model = _model((*order, *rest), _MEANS["image"])
    if "(c, g)" in rest[0]:
        weights = np.random.default_rng(5).normal(size=(3, 1, 2, 2)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weights, "g"))
    made = _rewritten(model)
    assert _kinds(made)[:2] == ["Transpose", "Gather" if order is _FLIP else "Cast"]
    np.testing.assert_allclose(_run(made), _run(model), rtol=1e-5, atol=1e-5)


def test_weights_that_something_else_takes_stay() -> None:
    model = _model(
        (*_FLIP, _CONV.replace("y =", "z ="), "n = ReduceMax (w)", "y = Add (z, n)"),
        _MEANS["image"],
    )
    np.testing.assert_allclose(_run(_rewritten(model)), _run(model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "steps",
    [
        ("c = Sqrt (t)", _CONV),
        ("s = Slice (t, minus, least, minus, minus)", "y = Conv (s, w)"),
        ("s = Sub (scale, t)", "y = Conv (s, w)"),
    ],
    ids=["another step", "the mirror image", "taken off the other way"],
)
def test_other_steps_stay(steps: tuple[str, ...]) -> None:
    model = _model(steps, _MEANS["image"])
    made = _rewritten(model)
    np.testing.assert_allclose(_run(made), _run(model), rtol=1e-6)
    assert _kinds(made)[2:] == _kinds(model)[2:]


def test_an_input_that_is_not_pixels_stays() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 20]>
        g (float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }"""
    )
    assert list(_rewritten(model).graph.node) == list(model.graph.node)
