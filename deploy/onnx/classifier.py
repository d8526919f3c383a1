"""A second output for an embedding graph: what class a picture is of.

The layer takes the vectors that the graph gives, in float32 whatever the precision of the
rest, so that a graph keeps what was made and proven of it.
"""

import json
from typing import TYPE_CHECKING

import numpy as np

from deploy.onnx.make import OUTPUT, PROBABILITIES, describe
from toolkit.model_card import ModelCard
from toolkit.transfer.head import ClassifierHead

if TYPE_CHECKING:
    from onnx import ModelProto

CLASSES_KEY = "classes"  # of the metadata: the names, as a JSON list
_LAYER = "classifier"


def add_classifier(model: "ModelProto", card: ModelCard, head: ClassifierHead) -> "ModelProto":
    """The graph with the output `probabilities`: float32 [batch, classes], rows of sum 1.

    model: an embedding graph, which is changed; its metadata gets the names of the classes.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    parts = {f"{_LAYER}.weight": head.weights, f"{_LAYER}.bias": head.biases}
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(part), name) for name, part in parts.items()
    )
    graph.node.extend(
        [
            helper.make_node("Gemm", [OUTPUT, *parts], [_LAYER], _LAYER, transB=1),
            helper.make_node("Softmax", [_LAYER], [PROBABILITIES], f"{_LAYER}.softmax", axis=-1),
        ]
    )
    batch = graph.output[0].type.tensor_type.shape.dim[0]
    rows = batch.dim_param or batch.dim_value
    shape = [rows, len(head.classes)]
    graph.output.append(helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, shape))
    model = describe(model, card)
    model.graph.output[1].doc_string = (
        f"float32 [batch, {len(head.classes)}]: the probability of each class, in the order of "
        f"the metadata's {CLASSES_KEY}"
    )
    model.metadata_props.add(key=CLASSES_KEY, value=json.dumps(list(head.classes)))
    return model
