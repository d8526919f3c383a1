"""Pooling without rounding up, where nothing is rounded: the integer kernels take only that."""

from typing import TYPE_CHECKING

from deploy.cpu_graph.edit import GraphEditor, attribute

if TYPE_CHECKING:
    from onnx import NodeProto


def floor_pools(editor: GraphEditor) -> None:
    """Clear `ceil_mode` of each max-pooling whose windows come out even. Exact."""
    for node in editor.nodes:
        if node.op_type == "MaxPool" and _comes_out_even(editor, node):
            for each in node.attribute:
                if each.name == "ceil_mode":
                    each.i = 0


def _comes_out_even(editor: GraphEditor, node: "NodeProto") -> bool:
    shape = editor.shapes.get(node.input[0], ())[2:]
    kernel = attribute(node, "kernel_shape", [])
    count = len(kernel)
    if len(shape) != count or None in shape or attribute(node, "auto_pad", b"") not in _EXPLICIT:
        return False
    pads = attribute(node, "pads", [0] * 2 * count)
    strides = attribute(node, "strides", [1] * count)
    dilations = attribute(node, "dilations", [1] * count)
    return all(
        (size + pads[i] + pads[i + count] - dilations[i] * (kernel[i] - 1) - 1) % strides[i] == 0
        for i, size in enumerate(shape)
        if size is not None
    )


_EXPLICIT = (b"", b"NOTSET")
