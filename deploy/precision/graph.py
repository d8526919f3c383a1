"""What feeds what in an ONNX graph: the questions that a change of precision asks."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_LAYERS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True)
class GraphView:
    """A graph as it stood when the view was taken; nodes go by their place in it.

    constants: the weights by name; makers: value to the node that gives it; users: value to
    the nodes that take it; types: value to its ONNX element type.
    """

    nodes: "Sequence[NodeProto]"
    constants: "Mapping[str, TensorProto]"
    makers: Mapping[str, int]
    users: Mapping[str, Sequence[int]]
    types: Mapping[str, int]
    results: frozenset[str]

    @classmethod
    def of(cls, model: "ModelProto") -> "GraphView":
        """Takes a model whose shapes are inferred; every value has to have its type."""
        graph = model.graph
        users: dict[str, list[int]] = defaultdict(list)
        for place, node in enumerate(graph.node):
            for value in dict.fromkeys(node.input):
                users[value].append(place)
        typed = (*graph.input, *graph.value_info, *graph.output)
        return cls(
            nodes=list(graph.node),
            constants={tensor.name: tensor for tensor in graph.initializer},
            makers={value: i for i, node in enumerate(graph.node) for value in node.output},
            users=dict(users),
            types={
                **{value.name: value.type.tensor_type.elem_type for value in typed},
                **{tensor.name: tensor.data_type for tensor in graph.initializer},
            },
            results=frozenset(value.name for value in graph.output),
        )

    def layers(self) -> list[int]:
        """The nodes that multiply by weights: convolutions and matrix products."""
        return [i for i, node in enumerate(self.nodes) if self.is_layer(node)]

    def is_layer(self, node: "NodeProto") -> bool:
        """Whether its second factor is a constant of the graph, of two axes at least."""
        if node.op_type not in _LAYERS or node.input[1] not in self.constants:
            return False
        return len(self.constants[node.input[1]].dims) >= 2

    def behind(self, starts: Iterable[int]) -> set[int]:
        """All nodes that something from these nodes reaches, without themselves."""
        return self._walk(starts, lambda i: self._takers(self.nodes[i].output))

    def before(self, starts: Iterable[int]) -> set[int]:
        """All nodes that reach one of these, without themselves."""
        return self._walk(
            starts, lambda i: [self.makers[v] for v in self.nodes[i].input if v in self.makers]
        )

    def only_user(self, value: str) -> int | None:
        """The one node that takes a value, None where there are more or it is a result."""
        users = self.users.get(value, ())
        return users[0] if len(users) == 1 and value not in self.results else None

    def _takers(self, values: Iterable[str]) -> list[int]:
        return [i for value in values for i in self.users.get(value, ())]

    @staticmethod
    def _walk(starts: Iterable[int], step: Callable[[int], Iterable[int]]) -> set[int]:
        found: set[int] = set()
        waiting = list(starts)
        while waiting:
            for i in step(waiting.pop()):
                if i not in found:
                    found.add(i)
                    waiting.append(i)
        return found


def weight_axis(node: "NodeProto", rank: int) -> int:
    """The axis of a layer's weight that its output channels lie along."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "MatMul":
        return rank - 1
    return 0 if attribute(node, "transB", 0) else 1


def attribute(node: "NodeProto", name: str, default: Any) -> Any:
    """The value of a node's attribute."""
    from onnx import helper

    for each in node.attribute:
        if each.name == name:
            return helper.get_attribute_value(each)
    return default


def read_constant(tensor: "TensorProto") -> NDArray[Any]:
    """A weight as an array."""
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(tensor))


def rebuild(
    model: "ModelProto", nodes: "Iterable[NodeProto]", constants: "Iterable[TensorProto]"
) -> "ModelProto":
    """The model with these nodes, and those of the constants that they use, in their order.

    Signature and metadata stay; shapes and types are inferred anew.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(_without_body(model))
    made.graph.node.extend(nodes)
    used = {value for node in made.graph.node for value in node.input}
    made.graph.initializer.extend(tensor for tensor in constants if tensor.name in used)
    inferred: ModelProto = onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)
    return inferred


def _without_body(model: "ModelProto") -> "ModelProto":
    """All but nodes, weights and inferred shapes; weights are too large to copy for nothing."""
    import onnx

    shell = onnx.ModelProto()
    for descriptor, content in model.ListFields():
        if descriptor.name != "graph":
            _copy_field(shell, descriptor.name, content)
    for descriptor, content in model.graph.ListFields():
        if descriptor.name not in ("node", "initializer", "value_info"):
            _copy_field(shell.graph, descriptor.name, content)
    return shell


def _copy_field(target: Any, name: str, content: Any) -> None:
    if isinstance(content, str | int):
        setattr(target, name, content)
    else:
        getattr(target, name).MergeFrom(content)
