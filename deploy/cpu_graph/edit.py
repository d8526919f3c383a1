"""An ONNX graph while it is being rewritten: who makes a value, who takes it, what replaces it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


@dataclass(slots=True)
class GraphEditor:
    """Nodes in an order in which they can run, and the constants by name.

    The nodes are the editor's own and may be changed; constants are replaced, never changed.
    """

    model: "ModelProto"
    nodes: "list[NodeProto]"
    constants: "dict[str, TensorProto]"
    shapes: dict[str, tuple[int | None, ...]]
    types: dict[str, int]
    folder: Path | None = None

    @classmethod
    def of(cls, model: "ModelProto", folder: Path | None = None) -> Self:
        """Take a model apart; it stays as it is. folder: of weights that are not inside."""
        import onnx

        if not model.graph.value_info:
            model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        graph = model.graph
        nodes = []
        for node in graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            nodes.append(copy)
        tensors = {
            value.name: value.type.tensor_type
            for value in (*graph.input, *graph.value_info, *graph.output)
        }
        return cls(
            model,
            nodes,
            {tensor.name: tensor for tensor in graph.initializer},
            {name: _sizes(tensor) for name, tensor in tensors.items()},
            {name: tensor.elem_type for name, tensor in tensors.items()},
            folder,
        )

    def maker(self, value: str) -> "NodeProto | None":
        """The node that gives a value; None for a constant or the graph's input."""
        return next((node for node in self.nodes if value in node.output), None)

    def users(self, value: str) -> "list[NodeProto]":
        """The nodes that take a value."""
        return [node for node in self.nodes if value in node.input]

    def only_user(self, value: str) -> "NodeProto | None":
        """The one node that takes a value; None where there are more, or it is a result."""
        users = self.users(value)
        return users[0] if len(users) == 1 and not self.is_result(value) else None

    def array(self, value: str) -> NDArray[Any] | None:
        """A constant as an array; None where the value is none."""
        from onnx import numpy_helper

        tensor = self.constants.get(value)
        if tensor is None:
            return None
        return np.asarray(numpy_helper.to_array(tensor, str(self.folder or "")))

    def add_constant(self, name: str, content: NDArray[Any]) -> str:
        """A new constant, under this name or one like it that is free."""
        from onnx import numpy_helper

        free = self.free_name(name)
        self.constants[free] = numpy_helper.from_array(np.asarray(content, order="C"), free)
        return free

    def free_name(self, name: str) -> str:
        """The name, with a number behind it where it is taken."""
        taken = {value for node in self.nodes for value in (*node.input, *node.output)}
        taken |= self.constants.keys()
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name}.{number}"
        return free

    def replace(self, old: "Sequence[NodeProto]", new: "Iterable[NodeProto]") -> None:
        """Put new nodes in the place of the last of the old ones."""
        gone = {id(node) for node in old}
        place = next(i for i, node in enumerate(self.nodes) if node is old[-1])
        self.nodes[place + 1 : place + 1] = new
        self.nodes = [node for node in self.nodes if id(node) not in gone]

    def use_instead(self, old: str, new: str) -> None:
        """Let the nodes that take `old` take `new`."""
        for node in self.users(old):
            for place, value in enumerate(node.input):
                if value == old:
                    node.input[place] = new

    def is_result(self, value: str) -> bool:
        """Whether a value is one of the graph's outputs."""
        return any(value == result.name for result in self.model.graph.output)

    def drop_unused(self) -> None:
        """Take out the nodes whose values nobody takes."""
        wanted = {result.name for result in self.model.graph.output}
        kept = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]

    def rebuild(self) -> "ModelProto":
        """A new model of the nodes and of those constants that they use.

        The shapes between are left out: whoever needs them infers them.
        """
        import onnx

        used = {value for node in self.nodes for value in node.input}
        made = onnx.ModelProto()
        for field, content in self.model.ListFields():
            if isinstance(content, int | str):
                setattr(made, field.name, content)
            elif field.name != "graph":
                getattr(made, field.name).extend(content)
        graph = made.graph
        graph.name, graph.doc_string = self.model.graph.name, self.model.graph.doc_string
        graph.node.extend(self.nodes)
        graph.initializer.extend(t for name, t in self.constants.items() if name in used)
        graph.input.extend(self.model.graph.input)
        graph.output.extend(self.model.graph.output)
        return made


def attribute(node: "NodeProto", name: str, default: Any) -> Any:
    """The value of a node's attribute, the default where it has none of this name."""
    from onnx import helper

    for each in node.attribute:
        if each.name == name:
            return helper.get_attribute_value(each)
    return default


def _sizes(tensor: Any) -> tuple[int | None, ...]:
    return tuple(
        size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim
    )
