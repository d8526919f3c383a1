"""A network as an ONNX file: one file, plain uint8 RGB in, vectors of length 1 out.

The same network gives the same bytes: everything that the exporter notes down about the
machine it ran on (stack traces, paths, versions) is taken out again.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.model_card import ModelCard
from toolkit.workspace import write_bytes

if TYPE_CHECKING:
    from toolkit.networks.embedder import EmbeddingNetwork

INPUT, OUTPUT = "images", "embeddings"

# The newest that every TensorRT 10 takes; ONNX Runtime has it since 1.17.
OPSET = 20


def export_onnx(network: "EmbeddingNetwork", card: ModelCard, target: Path) -> None:
    """Write the network (on the CPU) as an ONNX file with its weights inside.

    Input `images`: uint8 [batch, height, width, 3] RGB with a symbolic batch; output
    `embeddings`: float32 [batch, dim], L2-normalised. The file is checked in full before
    it is there. Raises StorageError.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(
        _clean(_trace(network, card)), strict_mode=True, data_prop=True
    )
    for key, value in _metadata(card).items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    write_bytes(target, model.SerializeToString(deterministic=True))


def _trace(network: "EmbeddingNetwork", card: ModelCard) -> Any:
    import torch

    from deploy.lrn import with_native_lrn

    spec = card.preprocessing
    # Two pictures: with one, torch takes the batch for a constant.
    example = torch.zeros((2, spec.height, spec.width, 3), dtype=torch.uint8)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            with_native_lrn(network).eval(),
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None  # only None for an export to a file
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own notices (no torchvision, a deprecated call of its own) off."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _clean(model: Any) -> Any:
    """Take out in place what is of the exporting machine rather than of the network."""
    graph = model.graph
    for part in (model, graph, *graph.input, *graph.output, *graph.node, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")  # inferred anew, with `batch` as the one symbol
    graph.name = "embedder"
    model.producer_name = "vr"
    model.ClearField("producer_version")
    return model


def _metadata(card: ModelCard) -> dict[str, str]:
    content = card.as_json()
    structured = {key: json.dumps(content[key], sort_keys=True) for key in _STRUCTURED}
    plain = {key: str(content[key]) for key in ("backbone", "dim", "fingerprint")}
    return dict(sorted({**plain, **structured}.items()))


_STRUCTURED = ("preprocessing", "lineage")
