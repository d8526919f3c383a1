"""A graph in float16 where that is safe, with the casts in it: what a runtime gets is what runs.

In float32 stay: the input layer and all else that no weight has touched (a histogram of
colours), the normalisation at the end, every node that sums, squares or takes powers (LRN,
softmax, layer normalisation), layers whose weights float16 cannot hold, and what overflowed
on the patches that were looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy.precision.graph import GraphView, read_constant, rebuild

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

# What keeps its worth in float16 as long as inputs and outputs are in its range: ONNX and
# TensorRT both sum the products of a layer in float32.
_LAYERS = ("Conv", "Gemm", "MatMul", "BatchNormalization", "MaxPool", "AveragePool", "Pad")
_CURVES = (
    "Relu",
    "LeakyRelu",
    "Clip",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Erf",
    "Gelu",
)
_SUMS = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Where", "Identity")
_SAFE = frozenset((*_LAYERS, *_CURVES, *_SUMS))
# They move numbers and change none: they take the type of what comes in.
_SHAPES = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Expand")
_MOVES = frozenset((*_SHAPES, "Slice", "Gather", "Concat", "Split"))
# Beyond the largest float16 by less than rounding could carry a patch that was not looked at.
_LIMIT = float(np.finfo(np.float16).max) / 4
# Rounding to 11 bits costs 2e-4 of a weight; a tensor that loses more lies below float16's
# normal numbers.
_MOST_LOSS = 1e-3
_BIAS = 2  # the place of a bias among the inputs of Conv and Gemm
_BLOCK = 1 << 20  # weights at a time: a layer of them in float64 would be large


@dataclass(slots=True)
class _Casts:
    """The graph in the making: each value at most once in each of the two types."""

    view: GraphView
    halves: set[str]  # values that are float16 in the new graph
    nodes: "list[NodeProto]" = field(default_factory=list)
    constants: "dict[str, TensorProto]" = field(default_factory=dict)
    cast: set[str] = field(default_factory=set)


def to_fp16(
    model: "ModelProto", peaks: Mapping[str, float] | None = None
) -> "tuple[ModelProto, dict[str, Any]]":
    """The model in float16, and which nodes stayed in float32 and why.

    model: in float32, with its shapes inferred. peaks: the greatest absolute number of
    values by their names, where they were looked at; what comes near float16's end stays
    in float32. Input, output and metadata are as before.
    """
    view = GraphView.of(model)
    kept = _keep(view, peaks or {})
    halves = {
        value
        for i, node in enumerate(view.nodes)
        if i not in kept
        for value in node.output
        if _is_float(view, value)
    }
    casts = _Casts(view, halves)
    for i, node in enumerate(view.nodes):
        _add_node(casts, node, half=i not in kept)
    constants = [*model.graph.initializer, *casts.constants.values()]
    return rebuild(model, casts.nodes, constants), _describe(view, kept)


def float_values(model: "ModelProto") -> list[str]:
    """The names of all values between the nodes that are float32."""
    view = GraphView.of(model)
    return [value for value in view.makers if _is_float(view, value)]


def _keep(view: GraphView, peaks: Mapping[str, float]) -> dict[int, str]:
    """The nodes that stay in float32, with the reason."""
    layers = view.layers()
    behind, before = view.behind(layers), view.before(layers)
    kept: dict[int, str] = {}
    for i, node in enumerate(view.nodes):
        if i not in layers and (i not in behind or i not in before):
            kept[i] = "no weight before it" if i not in behind else "after the last layer"
        elif node.op_type not in _SAFE | _MOVES:
            kept[i] = "its kind"
        elif any(_does_not_fit(view, value, place) for place, value in enumerate(node.input)):
            kept[i] = "its weights"
        elif any(peaks.get(value, 0.0) > _LIMIT for value in (*node.input, *node.output)):
            kept[i] = "its range"
    for i, node in enumerate(view.nodes):  # in order: what feeds a node is judged before it
        if i not in kept and node.op_type in _MOVES and not _moves_halves(view, node, kept):
            kept[i] = "moves float32"
    return kept


def _moves_halves(view: GraphView, node: "NodeProto", kept: Mapping[int, str]) -> bool:
    makers = [view.makers[v] for v in node.input if v in view.makers and _is_float(view, v)]
    return any(i not in kept for i in makers)


def _does_not_fit(view: GraphView, value: str, place: int) -> bool:
    if value not in view.constants or not _is_float(view, value):
        return False
    loss = rounding_loss(read_constant(view.constants[value]))
    # A layer's bias is added to its products: one that is all but zero loses nothing there.
    return loss == float("inf") if place == _BIAS else loss > _MOST_LOSS


def rounding_loss(weights: NDArray[np.float32]) -> float:
    """The root of the mean square error of rounding to float16, over that of the weights.

    Infinite where one of them is beyond float16; infinities, which float16 has, do not count.
    """
    flat = weights.reshape(-1)
    error = total = 0.0
    for start in range(0, flat.size, _BLOCK):
        exact = flat[start : start + _BLOCK].astype(np.float64)
        exact = exact[np.isfinite(exact)]
        if exact.size and np.abs(exact).max() > np.finfo(np.float16).max:
            return float("inf")
        error += float(np.square(exact.astype(np.float16) - exact).sum())
        total += float(np.square(exact).sum())
    return float(np.sqrt(error / total)) if total else 0.0


def _is_float(view: GraphView, value: str) -> bool:
    from onnx import TensorProto

    return view.types.get(value) == int(TensorProto.FLOAT)


def _add_node(casts: _Casts, node: "NodeProto", *, half: bool) -> None:
    """Append a copy of the node, behind the casts that its inputs need."""
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for place, value in enumerate(node.input):
        if value and _is_float(casts.view, value) and (value in casts.halves) != half:
            copy.input[place] = _converted(casts, value, half=half)
    casts.nodes.append(copy)


def _converted(casts: _Casts, value: str, *, half: bool) -> str:
    """The name of the value in the other type; it is made where it is asked for first."""
    from onnx import TensorProto, helper, numpy_helper

    name = f"{value}.{'fp16' if half else 'fp32'}"
    if name in casts.cast:
        return name
    casts.cast.add(name)
    if value in casts.view.constants:
        content = read_constant(casts.view.constants[value]).astype(np.float16)
        casts.constants[name] = numpy_helper.from_array(content, name)
    else:
        kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        casts.nodes.append(helper.make_node("Cast", [value], [name], name=name, to=kind))
    return name


def _describe(view: GraphView, kept: Mapping[int, str]) -> dict[str, Any]:
    reasons: dict[str, list[str]] = {}
    for i, reason in sorted(kept.items()):
        node = view.nodes[i]
        if _gives_numbers(view, node):
            reasons.setdefault(reason, []).append(node.name or node.output[0])
    halves = [i for i, n in enumerate(view.nodes) if i not in kept and _gives_numbers(view, n)]
    return {"method": "float16", "float16_nodes": len(halves), "float32": reasons}


def _gives_numbers(view: GraphView, node: "NodeProto") -> bool:
    """Rather than shapes or truth values."""
    return any(_is_float(view, value) for value in node.output)
