"""Local response normalisation taken apart, against a loop over the definition."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from deploy.cpu_graph.edit import GraphEditor
from deploy.cpu_graph.lrn import rewrite_lrn


def _model(channels: int | str, attributes: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 20]>
        g (float[N, {channels}, 3, 2] x) => (float[N, {channels}, 3, 2] y)
        {{ y = LRN <{attributes}> (x) }}"""
    )


def _rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    editor = GraphEditor.of(model)
    rewrite_lrn(editor)
    made = editor.rebuild()
    onnx.checker.check_model(made, full_check=True)
    return made


def _loop(x: NDArray[np.float32], size: int, alpha: float, bias: float) -> NDArray[np.float64]:
    """ONNX's definition, number by number."""
    y = np.empty(x.shape, np.float64)
    for n, c, i, j in np.ndindex(x.shape):
        first = max(0, c - (size - 1) // 2)
        last = min(x.shape[1] - 1, c + -(-(size - 1) // 2))
        total = sum(float(x[n, k, i, j]) ** 2 for k in range(first, last + 1))
        y[n, c, i, j] = x[n, c, i, j] / (bias + alpha / size * total) ** 0.75
    return y


@pytest.mark.parametrize(
    ("channels", "size", "alpha", "bias"),
    [(7, 5, 1e-4, 1.0), (7, 3, 0.5, 2.0), (6, 4, 0.1, 1.0), (2, 5, 0.3, 1.0), (1, 1, 1.0, 1.0)],
)
def test_roots_equal_the_definition(channels: int, size: int, alpha: float, bias: float) -> None:
    made = _rewritten(
        _model(channels, f"alpha = {alpha}, beta = 0.75, bias = {bias}, size = {size}")
    )
    assert "LRN" not in [node.op_type for node in made.graph.node]
    x = np.random.default_rng(1).normal(0, 30, (2, channels, 3, 2)).astype(np.float32)
    (y,) = ReferenceEvaluator(made).run(None, {"x": x})
    np.testing.assert_allclose(y, _loop(x, size, alpha, bias), rtol=1e-6)


def test_no_picture() -> None:
    made = _rewritten(_model(4, "size = 3"))
    (y,) = ReferenceEvaluator(made).run(None, {"x": np.zeros((0, 4, 3, 2), np.float32)})
    assert y.shape == (0, 4, 3, 2)


@pytest.mark.parametrize(
    ("channels", "attributes"), [(4, "beta = 0.5, size = 3"), ("C", "beta = 0.75, size = 3")]
)
def test_another_power_or_unknown_channels_stay(channels: int | str, attributes: str) -> None:
    model = _model(channels, attributes)
    assert list(_rewritten(model).graph.node) == list(model.graph.node)
