"""Signed 8-bit values as unsigned ones: the same numbers up to 127 steps, to the bit."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from deploy.cpu_graph.edit import GraphEditor
from deploy.cpu_graph.unsigned import use_unsigned

STEP = 0.5
_PAIR = "{0}q = QuantizeLinear ({0}, step, zero) {0}d = DequantizeLinear ({0}q, step, zero) "
_POOL = "{0} = MaxPool <kernel_shape = [2, 2], strides = [1, 1], pads = [0, 0, 1, 1]> ({1}) "


def _model(body: str, kind: str = "int8", zero: int = 0) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 20]>
        g (float[N, 1, 4, 4] x) => (float[N, 1, 4, 4] y)
        <float step = {{{STEP}}}, float other = {{0.25}}, {kind} zero = {{{zero}}}> {{ {body} }}"""
    )


def _rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    editor = GraphEditor.of(model)
    use_unsigned(editor)
    made = editor.rebuild()
    onnx.checker.check_model(made, full_check=True)
    return made


def _run(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(ReferenceEvaluator(model).run(None, {"x": x})[0])


def _values(low: float, high: float) -> NDArray[np.float32]:
    return np.random.default_rng(7).uniform(low, high, (50, 1, 4, 4)).astype(np.float32)


def _zeros(model: onnx.ModelProto) -> list[int]:
    """The zero points, in the order of the nodes; each is unsigned."""
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    found = [constants[n.input[2]] for n in model.graph.node if n.op_type.endswith("izeLinear")]
    assert {zero.dtype.name for zero in found} == {"uint8"}
    return [int(zero) for zero in found]


def _kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


_AFTER_RELU = "a = Relu (x) " + _PAIR.format("a") + "y = Identity (ad)"
_BEFORE_RELU = _PAIR.format("x") + "y = Relu (xd)"
_POOL_BETWEEN = _PAIR.format("x") + _POOL.format("m", "xd") + _PAIR.format("m") + "y = Relu (md)"


@pytest.mark.parametrize(
    "body",
    [_AFTER_RELU, _BEFORE_RELU, _POOL_BETWEEN],
    ids=["behind a ReLU", "before the ReLU of the result", "a pool between"],
)
def test_every_number_in_the_signed_range_stays(body: str) -> None:
    model = _model(body)
    inside = _values(-63, 127.4 * STEP)
    np.testing.assert_array_equal(_run(_rewritten(model), inside), _run(model, inside))


def test_a_relu_behind_what_is_quantised_goes() -> None:
    model = _model(_POOL_BETWEEN.replace("y =", "r =") + " y = Sqrt (r)")
    made = _rewritten(model)
    assert "Relu" not in _kinds(made)
    assert set(_zeros(made)) == {0}
    inside = _values(-80, 127.4 * STEP)
    np.testing.assert_array_equal(_run(made, inside), _run(model, inside))


def test_what_was_clipped_reaches_twice_as_far() -> None:
    model = _model(_AFTER_RELU)
    high = np.full((1, 1, 4, 4), 100.0, np.float32)
    assert _run(model, high).max() == 127 * STEP
    assert _run(_rewritten(model), high).max() == 100.0
    assert _run(_rewritten(model), 10 * high).max() == 255 * STEP


@pytest.mark.parametrize(
    "body",
    [
        _PAIR.format("x") + "y = Identity (xd)",
        "a = Relu (x) r = Sub (a, x) " + _PAIR.format("r") + "y = Identity (rd)",
        "a = Relu (x) r = Add (a, x) " + _PAIR.format("r") + "y = Identity (rd)",
        _PAIR.format("x") + "r = Relu (xd) y = Add (r, xd)",
    ],
    ids=["signed", "a difference", "a sum with a signed part", "taken before the ReLU too"],
)
def test_what_may_be_negative_keeps_every_number(body: str) -> None:
    model = _model(body)
    made = _rewritten(model)
    assert set(_zeros(made)) == {128}
    values = _values(-300, 300)
    np.testing.assert_array_equal(_run(made, values), _run(model, values))


def test_a_sum_of_two_that_are_not_negative() -> None:
    parts = "a = Relu (x) " + _POOL.format("b", "a") + "r = Add (a, b) "
    assert set(_zeros(_rewritten(_model(parts + _PAIR.format("r") + "y = Identity (rd)")))) == {0}


@pytest.mark.parametrize(
    ("kind", "zero"), [("int8", -128), ("uint8", 3)], ids=["another zero point", "unsigned"]
)
def test_others_stay(kind: str, zero: int) -> None:
    model = _model(_AFTER_RELU, kind, zero)
    assert list(_rewritten(model).graph.node) == list(model.graph.node)


def test_quantised_again_in_the_same_steps_is_once() -> None:
    model = _model("a = Relu (x) " + _PAIR.format("a") + _PAIR.format("ad") + "y = Sqrt (add)")
    made = _rewritten(model)
    assert _kinds(made) == ["Relu", "QuantizeLinear", "DequantizeLinear", "Sqrt"]
    inside = _values(-80, 127.4 * STEP)
    np.testing.assert_array_equal(_run(made, inside), _run(model, inside))


def test_quantised_again_in_other_steps_is_twice() -> None:
    again = _PAIR.format("ad").replace("step", "other")
    made = _rewritten(_model("a = Relu (x) " + _PAIR.format("a") + again + "y = Sqrt (add)"))
    assert _kinds(made).count("QuantizeLinear") == 2
