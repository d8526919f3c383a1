"""The dense graph: one pass over a large picture gives the vector of every window in it.

The network is traced on a picture of fixed size, and the size is then taken out again. That
is right because nothing in a dense network depends on it: convolutions, poolings and what is
done to each value alone. Only the cut to whole windows does, and it is written here, in
ONNX's own nodes.
"""

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from deploy.onnx.make import INPUT, OUTPUT, GraphOptions, describe, make_graph
from toolkit.model_card import ModelCard
from toolkit.networks.dense_grid import Grid

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from toolkit.networks.embedder import EmbeddingNetwork

GRID_KEY = "grid"  # of the metadata: the windows, as JSON
_WHOLE = "whole"  # the picture, cut to whole windows
_TOO_SMALL = "error_if_smaller_than_a_window"
# Of these kinds a node does the same at every place of the picture, however large that is.
_LOCAL = {
    *("Add", "Sub", "Mul", "Div", "Neg", "Pow", "Sqrt", "Cast", "Relu"),
    *("Conv", "MaxPool", "AveragePool", "LRN", "Softmax", "ReduceL2"),
    *("Concat", "Gather", "Slice", "Transpose"),
}


def make_dense_onnx(
    network: "EmbeddingNetwork",
    card: ModelCard,
    options: GraphOptions | None = None,
    stride: int | None = None,
) -> "ModelProto":
    """The network (on the CPU) over large pictures, as an ONNX graph in float32.

    Input `images`: uint8 [batch, height, width, 3] RGB of any size from one window on;
    output `embeddings`: float32 [batch, rows, columns, dim], each vector of length 1. The
    metadata holds the grid of windows. stride: pixels between windows, a multiple of the
    backbone's own. Raises UsageError for another stride, and for a backbone that is not
    convolutional throughout.
    """
    from toolkit.networks.dense import make_dense

    dense = make_dense(network, stride)
    grid = dense.grid
    # Several windows both ways and not as many: with one, a constant could hide in the graph.
    size = grid.height + grid.stride, grid.width + 2 * grid.stride
    model = make_graph(dense, size, options or GraphOptions())
    _check_local(model)
    _cut_to_windows(model, grid)
    _name_axes(model, card)
    model = describe(model, card)
    model.doc_string = f"{card.backbone}: every window of a picture to a vector of length 1"
    model.graph.input[0].doc_string = (
        "RGB pictures, uint8 [batch, height, width, 3], of any size from "
        f"{grid.height}x{grid.width} on; scaling, mean and channel order are inside"
    )
    model.graph.output[0].doc_string = (
        f"float32 [batch, rows, columns, {card.dim}]: one vector of length 1 for each window "
        f"of {grid.height}x{grid.width} pixels, {grid.stride} apart"
    )
    model.metadata_props.add(key=GRID_KEY, value=json.dumps(grid.as_json(), sort_keys=True))
    return model


def _check_local(model: "ModelProto") -> None:
    foreign = {node.op_type for node in model.graph.node} - _LOCAL
    assert not foreign, f"the dense graph may depend on the size it was traced with: {foreign}"


def _cut_to_windows(model: "ModelProto", grid: Grid) -> None:
    """Put before all else: images[:, :whole height, :whole width]."""
    graph = model.graph
    for node in graph.node:
        node.input[:] = [_WHOLE if name == INPUT else name for name in node.input]
    nodes, constants = _cutting(grid)
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    graph.initializer.extend(constants)


def _cutting(grid: Grid) -> tuple[list["NodeProto"], list[Any]]:
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, *values: int) -> Any:
        return numpy_helper.from_array(np.array(values, np.int64), f"{_WHOLE}.{name}")

    constants = [
        constant("window", grid.height, grid.width),
        constant("strides", grid.stride),
        constant("zero", 0),
        constant("starts", 0, 0),
        constant("axes", 1, 2),
    ]
    # A picture that is smaller than a window would make ONNX Runtime divide by zero, which
    # ends the process. Here it makes it look for a second stride, of which there is none: an
    # error, in which the name of the node says what is wrong.
    steps = [
        ("Shape", [INPUT], "size", {"start": 1, "end": 3}),
        ("Sub", [f"{_WHOLE}.size", f"{_WHOLE}.window"], "room", {}),
        ("Less", [f"{_WHOLE}.room", f"{_WHOLE}.zero"], "lacks", {}),
        ("Cast", [f"{_WHOLE}.lacks"], "which", {"to": TensorProto.INT64}),
        ("Gather", [f"{_WHOLE}.strides", f"{_WHOLE}.which"], _TOO_SMALL, {}),
        ("Mod", [f"{_WHOLE}.room", f"{_WHOLE}.{_TOO_SMALL}"], "rest", {}),
        ("Sub", [f"{_WHOLE}.size", f"{_WHOLE}.rest"], "ends", {}),
    ]
    nodes = [
        helper.make_node(kind, inputs, [f"{_WHOLE}.{name}"], f"{_WHOLE}.{name}", **attributes)
        for kind, inputs, name, attributes in steps
    ]
    bounds = [f"{_WHOLE}.{name}" for name in ("starts", "ends", "axes")]
    return [*nodes, helper.make_node("Slice", [INPUT, *bounds], [_WHOLE], _WHOLE)], constants


def _name_axes(model: "ModelProto", card: ModelCard) -> None:
    """Symbols in the place of the sizes that were traced."""
    graph = model.graph
    assert [value.name for value in (*graph.input, *graph.output)] == [INPUT, OUTPUT]
    for value, names in (
        (graph.input[0], ("height", "width")),
        (graph.output[0], ("rows", "columns")),
    ):
        axes = value.type.tensor_type.shape.dim
        for axis, name in zip(axes[1:3], names, strict=True):
            axis.dim_param = name
    assert graph.output[0].type.tensor_type.shape.dim[3].dim_value == card.dim
