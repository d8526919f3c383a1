"""A graph for ONNX Runtime on the CPU. The bundle's own stays as every runtime takes it."""

from pathlib import Path
from typing import TYPE_CHECKING

from deploy.cpu_graph.edit import GraphEditor
from deploy.cpu_graph.input_layer import fold_input
from deploy.cpu_graph.lrn import rewrite_lrn
from deploy.cpu_graph.pooling import floor_pools
from deploy.cpu_graph.unsigned import use_unsigned

if TYPE_CHECKING:
    from onnx import ModelProto


def for_onnxruntime_cpu(model: "ModelProto", folder: Path | None = None) -> "ModelProto":
    """The model in the form that ONNX Runtime is fastest at on a CPU; `model` stays as it is.

    Of the same function, input, output and metadata: float layers up to the rounding of
    float32; int8 values that are never negative reach twice as far (deploy.cpu_graph.unsigned).
    It is for ONNX Runtime alone. folder: where the files of weights lie that are not in it.
    """
    editor = GraphEditor.of(model, folder)
    use_unsigned(editor)  # while LRN, which keeps numbers above zero, is still one node
    fold_input(editor)
    floor_pools(editor)
    rewrite_lrn(editor)
    return editor.rebuild()
