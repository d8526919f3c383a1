"""The input layer in fewer passes over the pixels, and over bytes where it only moves them.

What it does to a pixel is y[c] = scale[c] * x[order[c]] - shift[c]. The first convolution can
take over the order and the scale, so that one subtraction is left. The subtraction stays in
front of the convolution: where that pads with zeros, they are zeros of the same space.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy.cpu_graph.edit import GraphEditor, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

_TO_PLANES = [0, 3, 1, 2]


@dataclass(frozen=True, slots=True)
class _InputLayer:
    """The nodes from the graph's input on, and what they do.

    order: (channels,) where each channel comes from; scale: (channels, 1, 1); shift:
    (channels, 1, 1) or (channels, height, width); both float64.
    """

    nodes: "list[NodeProto]"
    order: NDArray[np.intp]
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]

    @property
    def result(self) -> str:
        """The value it gives."""
        value: str = self.nodes[-1].output[0]
        return value

    @property
    def keeps_order(self) -> bool:
        return bool((self.order == np.arange(len(self.order))).all())

    def scaled(self, factor: NDArray[np.float64]) -> "_InputLayer":
        return _InputLayer(self.nodes, self.order, self.scale * factor, self.shift * factor)


def fold_input(editor: GraphEditor) -> None:
    """Shorten the input layer; the graph stays as it is where that is not of the known form.

    Equal up to the rounding of float32. For ONNX Runtime: TensorRT takes uint8 for an input
    and for nothing but a cast, and here the bytes are transposed first.
    """
    layer = _read(editor)
    if layer is None:
        return
    weights = _only_convolution(editor, layer.result)
    if weights is None:
        _write(editor, layer, layer.order)
    elif weights in editor.constants and layer.scale.all():
        _fold_scale(editor, layer, weights)
    else:
        _fold_order(editor, layer, weights)


def _read(editor: GraphEditor) -> _InputLayer | None:
    from onnx import TensorProto

    cast = editor.only_user(editor.model.graph.input[0].name)
    if cast is None or cast.op_type != "Cast" or attribute(cast, "to", 0) != TensorProto.FLOAT:
        return None
    move = editor.only_user(cast.output[0])
    if move is None or move.op_type != "Transpose" or attribute(move, "perm", []) != _TO_PLANES:
        return None
    channels = editor.shapes[move.output[0]][1]
    if channels is None:
        return None
    ones = np.ones((channels, 1, 1))
    layer = _InputLayer([cast, move], np.arange(channels), ones, 0 * ones)
    while (node := editor.only_user(layer.result)) is not None:
        further = _extend(editor, layer, node)
        if further is None:
            break
        layer = further
    return layer


def _extend(editor: GraphEditor, layer: _InputLayer, node: "NodeProto") -> _InputLayer | None:
    """The layer with one node more; None where that does something else."""
    nodes = [*layer.nodes, node]
    if node.op_type == "Slice" and _reverses_channels(editor, node):
        return _InputLayer(nodes, layer.order[::-1], layer.scale[::-1], layer.shift[::-1])
    if node.op_type not in ("Mul", "Sub", "Div") or node.input[0] != layer.result:
        return None
    content = editor.array(node.input[1])
    if content is None or content.dtype != np.float32 or content.ndim not in (0, 1, 3):
        return None
    if content.size != 1 and (content.ndim != 3 or content.shape[0] != len(layer.order)):
        return None
    number = content.astype(np.float64)
    if node.op_type == "Sub":
        return _InputLayer(nodes, layer.order, layer.scale, layer.shift + number)
    factor = number if node.op_type == "Mul" else 1 / number
    if factor.size not in (1, len(layer.order)) or not np.isfinite(factor).all():
        return None
    further = layer.scaled(factor)
    return _InputLayer(nodes, further.order, further.scale, further.shift)


def _reverses_channels(editor: GraphEditor, node: "NodeProto") -> bool:
    found = [editor.array(value) for value in node.input[1:]]
    if len(found) != 4 or any(numbers is None or numbers.size != 1 for numbers in found):
        return False
    start, end, axis, step = (int(numbers.item()) for numbers in found if numbers is not None)
    channels = editor.shapes[node.output[0]][1] or 0
    return (axis, step) == (1, -1) and start in (-1, channels - 1) and end < -channels


def _only_convolution(editor: GraphEditor, value: str) -> str | None:
    """The weights of the convolution that alone takes a value, also through Q and DQ.

    They are the name of a constant, or of what a DequantizeLinear makes of one. None where
    something else takes the value, or the convolution has groups.
    """
    node = editor.only_user(value)
    for kind in ("QuantizeLinear", "DequantizeLinear"):
        if node is not None and node.op_type == kind and _is_per_tensor(editor, node):
            node = editor.only_user(node.output[0])
    if node is None or node.op_type != "Conv" or attribute(node, "group", 1) != 1:
        return None
    weights = node.input[1]
    if editor.only_user(weights) is None:
        return None
    if weights in editor.constants:
        return weights if editor.maker(node.input[0]) is editor.maker(value) else None
    dequantize = editor.maker(weights)
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return None
    is_stored = dequantize.input[0] in editor.constants and attribute(dequantize, "axis", 1) == 0
    return weights if is_stored and editor.only_user(dequantize.input[0]) else None


def _is_per_tensor(editor: GraphEditor, node: "NodeProto") -> bool:
    scale = editor.constants.get(node.input[1])
    return scale is not None and int(np.prod(list(scale.dims))) == 1


def _fold_scale(editor: GraphEditor, layer: _InputLayer, weights: str) -> None:
    """conv(W, scale * x[order] - shift) = conv(W * scale, x[order] - shift / scale)."""
    content = editor.array(weights)
    assert content is not None
    folded = np.empty(content.shape, np.float32)
    folded[:, layer.order] = content * layer.scale
    _replace_input(editor, weights, folded)
    shift = layer.shift / layer.scale
    _write(editor, _InputLayer(layer.nodes, layer.order, np.ones_like(layer.scale), shift), None)


def _fold_order(editor: GraphEditor, layer: _InputLayer, weights: str) -> None:
    """Quantised weights keep their steps, so that the scale stays where it is."""
    dequantize = editor.maker(weights)
    stored = weights if dequantize is None else dequantize.input[0]
    content = editor.array(stored)
    assert content is not None
    folded = np.empty_like(content)
    folded[:, layer.order] = content
    _replace_input(editor, stored, folded)
    _write(editor, layer, None)


def _replace_input(editor: GraphEditor, old: str, content: NDArray[Any]) -> None:
    editor.use_instead(old, editor.add_constant(f"{old}.folded", content))


def _write(editor: GraphEditor, layer: _InputLayer, order: NDArray[np.intp] | None) -> None:
    """The nodes anew. order: of the channels of the result; None for that of the picture."""
    from onnx import TensorProto, helper

    scale, shift = layer.scale, layer.shift
    if order is None:
        back = np.argsort(layer.order)
        scale, shift = scale[back], shift[back]
    steps: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Transpose", [], {"perm": _TO_PLANES}),
    ]
    if order is not None and not layer.keeps_order:
        steps.append(("Gather", [editor.add_constant("input.order", order)], {"axis": 1}))
    steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
    for kind, numbers, neutral in (("Mul", scale, 1.0), ("Sub", shift, 0.0)):
        if (numbers != neutral).any():
            name = editor.add_constant(f"input.{kind.lower()}.by", numbers.astype(np.float32))
            steps.append((kind, [name], {}))
    value, nodes = layer.nodes[0].input[0], []
    for place, (kind, inputs, settings) in enumerate(steps):
        last = place == len(steps) - 1
        output = layer.result if last else editor.free_name(f"input.{kind.lower()}")
        nodes.append(helper.make_node(kind, [value, *inputs], [output], name=output, **settings))
        value = output
    editor.replace(layer.nodes, nodes)
