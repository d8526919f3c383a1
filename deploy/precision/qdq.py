"""8 bits in a graph: QuantizeLinear and DequantizeLinear around what shall run in int8.

A runtime that sees DequantizeLinear, a layer and QuantizeLinear in a row runs the layer in
int8; one that knows nothing of that gives the same numbers in float. Everything is symmetric
(zero stays zero), weights with a scale a channel, which is what TensorRT takes as well.
Biases stay in float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy.precision.graph import GraphView, read_constant, rebuild, weight_axis

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_TOP = 127  # -128 is not used, so that the steps are the same on both sides of zero
_ZERO = "int8.zero"
# ONNX Runtime turns a bias into int32 steps of input scale times weight scale.
_MOST_BIAS_STEPS = 2.0**30


@dataclass(frozen=True, slots=True)
class QuantizationPlan:
    """What becomes int8: layers by their places, values with the value whose range they take.

    A convolution whose result only goes through a ReLU has the range of what comes out
    there: what is cut off at zero needs no steps.
    """

    layers: frozenset[int]
    values: Mapping[str, str]

    @property
    def measured(self) -> tuple[str, ...]:
        """The values whose ranges have to be known."""
        return tuple(dict.fromkeys(self.values.values()))


def pool_first(model: "ModelProto") -> "ModelProto":
    """The same graph with each MaxPool before the ReLU that fed it.

    The greatest of the positive parts is the positive part of the greatest, to the bit. The
    pool can then follow the convolution in int8, and the ReLU has less to do.
    """
    import onnx

    view = GraphView.of(model)
    nodes = list(view.nodes)
    for i, relu in enumerate(view.nodes):
        user = view.only_user(relu.output[0]) if relu.op_type == "Relu" else None
        if user is None or nodes[user].op_type != "MaxPool" or len(nodes[user].output) > 1:
            continue
        pool, between = nodes[user], f"{nodes[user].output[0]}.before_relu"
        first, second = onnx.NodeProto(), onnx.NodeProto()
        first.CopyFrom(pool)
        second.CopyFrom(relu)
        first.input[0], first.output[0] = relu.input[0], between
        second.input[0], second.output[0] = between, pool.output[0]
        nodes[i], nodes[user] = first, second
    return rebuild(model, nodes, model.graph.initializer)


def plan_int8(model: "ModelProto") -> QuantizationPlan:
    """Every layer with weights but the last, what goes into one, and what lies between two.

    In float stay: the last layer, whose errors nothing evens out and which is small; what a
    MatMul gives, which is summed in float anyway; all that no layer, pool or residual sum
    takes part in.
    """
    view = GraphView.of(model)
    layers = view.layers()
    layers = [i for i in layers if view.behind([i]) & set(layers)]
    values: dict[str, str] = {}
    for i in layers:
        node = view.nodes[i]
        values[node.input[0]] = _range_of(view, node.input[0])
        if node.op_type != "MatMul":  # ONNX Runtime has these two in int8 only to int8
            values[node.output[0]] = _range_of(view, node.output[0])
    for node in view.nodes:
        _follow(view, node, values)
    return QuantizationPlan(frozenset(layers), values)


def _follow(view: GraphView, node: "NodeProto", values: dict[str, str]) -> None:
    """Pools and sums of what is in 8 bits stay there."""
    result = node.output[0]
    if result in view.results or not all(value in values for value in node.input):
        return
    if node.op_type == "MaxPool":
        values[result] = values[node.input[0]]
    elif node.op_type == "Add":
        values.setdefault(result, _range_of(view, result))


def _range_of(view: GraphView, value: str) -> str:
    """The value whose range this one takes: behind pools and ReLUs that alone take it."""
    user = view.only_user(value)
    if user is None or view.nodes[user].op_type not in ("MaxPool", "Relu"):
        return value
    return _range_of(view, view.nodes[user].output[0])


@dataclass(slots=True)
class _Draft:
    """The new graph as far as it goes. names: what a node takes in the place of a value."""

    view: GraphView
    plan: QuantizationPlan
    scales: Mapping[str, float]
    nodes: "list[NodeProto]" = field(default_factory=list)
    constants: "dict[str, TensorProto]" = field(default_factory=dict)
    names: dict[tuple[str, int], str] = field(default_factory=dict)

    def add(self, name: str, content: NDArray[Any] | np.generic) -> str:
        """A constant by this name; the same name is the same content."""
        from onnx import numpy_helper

        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(content, order="C"), name)
        return name

    def in_int8(self, i: int) -> bool:
        """Whether a node shall run on 8 bits, in and out."""
        node = self.view.nodes[i]
        if i in self.plan.layers:
            return True
        # What a ReLU gives is in float on the way to its Q: other nodes may take it so.
        fits = node.op_type in ("Add", "MaxPool")
        return fits and all(value in self.scales for value in (*node.input, node.output[0]))


def insert_qdq(
    model: "ModelProto", plan: QuantizationPlan, peaks: Mapping[str, float]
) -> "ModelProto":
    """The graph with the plan carried out.

    peaks: for each of plan.measured the absolute number that 127 stands for; beyond it is
    cut off.
    """
    import onnx

    scales = {value: scale_of(peaks[source]) for value, source in plan.values.items()}
    draft = _Draft(GraphView.of(model), plan, scales)
    for i, node in enumerate(draft.view.nodes):
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for place, value in enumerate(node.input):
            copy.input[place] = draft.names.get((value, i), value)
        if i in plan.layers:
            copy.input[1] = _quantize_weight(draft, node)
        draft.nodes.append(copy)
        if node.output[0] in scales:
            _quantize_value(draft, node.output[0], keep=not draft.in_int8(i))
    return rebuild(model, draft.nodes, [*model.graph.initializer, *draft.constants.values()])


def scale_of(peak: float) -> float:
    """The step of 8 bits for numbers up to `peak`; 1 where there are none but zeros.

    Rounded to 11 bits, so that the last bits of a sum, which the order of adding decides,
    do not change the graph.
    """
    step = peak / _TOP
    if step < np.finfo(np.float32).tiny:
        return 1.0
    mantissa, exponent = np.frexp(step)
    return float(np.ldexp(np.ceil(mantissa * 2048) / 2048, exponent))


def _quantize_value(draft: _Draft, value: str, *, keep: bool) -> None:
    """A pair of Q and DQ for each node that takes the value in 8 bits.

    One pair would do. But ONNX Runtime on x86 makes the type unsigned, for which alone it
    has fast layers, and does so only where one node reads a pair; and pairs that are the
    same it makes one. So their scales differ in the last bit. keep: the nodes in float take
    the value as it is.
    """
    from onnx import helper

    users = draft.view.users.get(value, ())
    takers = [i for i in users if draft.in_int8(i)]
    scale = np.float32(draft.scales[value])
    for number, i in enumerate(takers or users[:1]):
        suffix = f".{number + 1}" if number else ""
        base = f"{value if number else draft.plan.values[value]}{suffix}"
        inputs = [draft.add(f"{base}.scale", scale), draft.add(_ZERO, np.int8(0))]
        q, dq = f"{value}.q{suffix}", f"{value}.dq{suffix}"
        draft.nodes.append(helper.make_node("QuantizeLinear", [value, *inputs], [q], name=q))
        draft.nodes.append(helper.make_node("DequantizeLinear", [q, *inputs], [dq], name=dq))
        draft.names[value, i] = dq
        scale = np.nextafter(scale, np.float32(np.inf))
    for i in users:
        if not keep:
            draft.names.setdefault((value, i), f"{value}.dq")


def _quantize_weight(draft: _Draft, node: "NodeProto") -> str:
    """Add the weight of a layer in 8 bits, and return the value that it comes back as."""
    from onnx import helper

    weight = read_constant(draft.view.constants[node.input[1]])
    axis = weight_axis(node, weight.ndim)
    least = _least_scales(draft, node, weight.shape[axis])
    quantized, scales = quantize_channels(weight, axis, least)
    base = f"{node.output[0]}.weight"  # by the layer: two may share a weight, and not its axis
    inputs = [
        draft.add(f"{base}.int8", quantized),
        draft.add(f"{base}.scale", scales),
        draft.add(f"{base}.zero", np.zeros(len(scales), np.int8)),
    ]
    made = f"{base}.dq"
    draft.nodes.append(helper.make_node("DequantizeLinear", inputs, [made], name=made, axis=axis))
    return made


def quantize_channels(
    weight: NDArray[np.float32], axis: int, least: NDArray[np.float64]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A weight as int8 and a scale for each place on `axis`; no scale is under its `least`."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scales = np.abs(weight).max(axis=others) / np.float64(_TOP)
    scales = np.maximum(np.maximum(scales, least), np.finfo(np.float32).tiny).astype(np.float32)
    shape = [1] * weight.ndim
    shape[axis] = -1
    steps = np.rint(weight / scales.reshape(shape))
    return np.clip(steps, -_TOP, _TOP).astype(np.int8), scales


def _least_scales(draft: _Draft, node: "NodeProto", channels: int) -> NDArray[np.float64]:
    """Scales below these would need more than 32 bits for the bias, in steps of both scales.

    So it is with a channel whose weights are next to nothing beside its bias.
    """
    bias = node.input[2] if len(node.input) > 2 else ""
    if bias not in draft.view.constants:
        return np.zeros(channels)
    sizes = np.abs(read_constant(draft.view.constants[bias]).astype(np.float64)).reshape(-1)
    steps = draft.scales[node.input[0]] * _MOST_BIAS_STEPS
    return np.broadcast_to(sizes / steps, (channels,))
