"""Pooling that rounds up where nothing is rounded: the same numbers to the bit."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from deploy.cpu_graph.edit import GraphEditor, attribute
from deploy.cpu_graph.pooling import floor_pools


def _model(rows: int | str, attributes: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 20]>
        g (float[N, 2, {rows}, 7] x) => (float[N, 2, H, W] y)
        {{ y = MaxPool <{attributes}> (x) }}"""
    )


@pytest.mark.parametrize(
    ("rows", "attributes", "rounds"),
    [
        (7, "kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1", False),
        (8, "kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1", True),
        (6, "kernel_shape = [2, 3], strides = [2, 2], ceil_mode = 1", False),
        (8, "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 0, 0, 0], ceil_mode = 1", False),
        (7, "kernel_shape = [3, 3], strides = [3, 2], dilations = [2, 1], ceil_mode = 1", True),
        (7, "kernel_shape = [3, 3], ceil_mode = 1", False),
    ],
)
def test_floor_where_it_is_the_same(rows: int, attributes: str, rounds: bool) -> None:
    model = _model(rows, attributes)
    editor = GraphEditor.of(model)
    floor_pools(editor)
    made = editor.rebuild()
    assert attribute(made.graph.node[0], "ceil_mode", 0) == rounds
    x = np.random.default_rng(6).normal(size=(2, 2, rows, 7)).astype(np.float32)
    results = [ReferenceEvaluator(each).run(None, {"x": x})[0] for each in (model, made)]
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    ("rows", "attributes"),
    [
        ("R", "kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1"),
        (7, 'kernel_shape = [3, 3], auto_pad = "SAME_UPPER", ceil_mode = 1'),
    ],
    ids=["unknown size", "padding of its own"],
)
def test_what_is_not_known_stays(rows: int | str, attributes: str) -> None:
    editor = GraphEditor.of(_model(rows, attributes))
    floor_pools(editor)
    assert attribute(editor.nodes[0], "ceil_mode", 0) == 1
