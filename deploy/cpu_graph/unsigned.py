"""Signed 8-bit values as unsigned ones, and each ReLU as the clipping of what is quantised.

TensorRT takes only signed values with zero in the middle. ONNX Runtime is faster with
unsigned ones on processors with VNNI, and where zero is the least of them a ReLU costs
nothing: a layer, its ReLU and a pool are then one row of integer kernels.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy.cpu_graph.edit import GraphEditor

if TYPE_CHECKING:
    from onnx import NodeProto

_MIDDLE = 128
_SAME_STEP = 1e-6  # relative: 127 such steps reach equally far, but for rounding
# A value that is not negative stays so in these.
_KEEPS = frozenset(
    ("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "LRN", "Reshape", "Flatten")
) | {"Transpose", "Identity", "QuantizeLinear", "DequantizeLinear", "Concat", "Add", "Relu"}


def use_unsigned(editor: GraphEditor) -> None:
    """Give every int8 value with zero point 0 the type uint8; weights stay.

    Steps stay, so that every number that the signed type could hold stays the same. What is
    never negative begins at 0 and is clipped at 255 steps, not at 127; all else has its zero
    at 128.
    """
    for node in [node for node in editor.nodes if node.op_type == "Relu"]:
        _absorb(editor, node)
    for node in editor.nodes:
        if node.op_type == "QuantizeLinear" and _is_signed_pair(editor, node):
            zero = 0 if _is_not_negative(editor, node.input[0]) else _MIDDLE
            _set_zero(editor, node, zero)
    _drop_repeats(editor)


def _absorb(editor: GraphEditor, relu: "NodeProto") -> None:
    """Take out a ReLU that alone takes what was quantised, pools in between or not.

    relu(step * clip(q, -128, 127)) is step * clip(q, 0, 127).
    """
    pairs = _pairs_above(editor, relu.input[0])
    if not pairs or editor.is_result(relu.output[0]):
        return
    for quantize in pairs:
        _set_zero(editor, quantize, 0)
    editor.use_instead(relu.output[0], relu.input[0])
    editor.nodes = [node for node in editor.nodes if node is not relu]


def _pairs_above(editor: GraphEditor, value: str) -> "list[NodeProto]":
    """The QuantizeLinear of signed pairs that `value` went through last, pools between them.

    Each value on the way has one user, so that nobody misses the negative numbers.
    """
    found: list[NodeProto] = []
    while editor.only_user(value) is not None:
        dequantize = editor.maker(value)
        if dequantize is None or dequantize.op_type != "DequantizeLinear":
            break
        quantize = editor.maker(dequantize.input[0])
        if quantize is None or not _is_signed_pair(editor, quantize):
            break
        if editor.only_user(quantize.output[0]) is None:
            break
        found.append(quantize)
        pool = editor.maker(quantize.input[0])
        if pool is None or pool.op_type != "MaxPool" or not editor.only_user(pool.output[0]):
            break
        value = pool.input[0]
    return found


def _is_signed_pair(editor: GraphEditor, quantize: "NodeProto") -> bool:
    """Whether all that takes it turns it back in the same way."""
    users = editor.users(quantize.output[0])
    return _is_signed(editor, quantize) and all(
        user.op_type == "DequantizeLinear" and _is_signed(editor, user) for user in users
    )


def _is_signed(editor: GraphEditor, node: "NodeProto") -> bool:
    zero = _zero(editor, node)
    return zero is not None and zero.dtype == np.int8 and zero.size == 1 and not zero.any()


def _zero(editor: GraphEditor, node: "NodeProto") -> NDArray[Any] | None:
    return editor.array(node.input[2]) if len(node.input) == 3 else None


def _set_zero(editor: GraphEditor, quantize: "NodeProto", zero: int) -> None:
    # As many numbers as there were: TensorRT's files have scalars, others arrays of one.
    old = _zero(editor, quantize)
    assert old is not None
    content = np.full(old.shape, zero, np.uint8)
    name = editor.add_constant(f"{quantize.output[0]}.zero", content)
    for node in (quantize, *editor.users(quantize.output[0])):
        node.input[2] = name


def _is_not_negative(editor: GraphEditor, value: str) -> bool:
    waiting = [value]
    while waiting:
        node = editor.maker(waiting.pop())
        if node is None or node.op_type not in _KEEPS:
            return False
        if node.op_type in ("Concat", "Add"):
            waiting.extend(node.input)
        elif node.op_type != "Relu" and not _begins_at_zero(editor, node):
            waiting.append(node.input[0])
    return True


def _begins_at_zero(editor: GraphEditor, node: "NodeProto") -> bool:
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return False
    zero = _zero(editor, node)
    return zero is not None and zero.dtype == np.uint8 and not zero.any()


def _drop_repeats(editor: GraphEditor) -> None:
    """Take out each QuantizeLinear of what was just turned back from the same numbers."""
    for quantize in [node for node in editor.nodes if node.op_type == "QuantizeLinear"]:
        dequantize = editor.maker(quantize.input[0])
        if dequantize is None or dequantize.op_type != "DequantizeLinear":
            continue
        if _same_settings(editor, quantize, dequantize):
            editor.use_instead(quantize.output[0], dequantize.input[0])
    editor.drop_unused()


def _same_settings(editor: GraphEditor, one: "NodeProto", other: "NodeProto") -> bool:
    if list(one.attribute) != list(other.attribute) or not len(one.input) == len(other.input) == 3:
        return False
    for a, b in zip(one.input[1:], other.input[1:], strict=True):
        first, second = editor.array(a), editor.array(b)
        if first is None or second is None or first.dtype != second.dtype:
            return False
        if first.size != 1 or second.size != 1:
            return False
        # Pairs for several takers of one value differ in the last bit (deploy.precision.qdq).
        if not math.isclose(first.item(), second.item(), rel_tol=_SAME_STEP):
            return False
    return True
