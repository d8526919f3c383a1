"""A network as an ONNX graph: plain uint8 RGB in, vectors of length 1 out.

The same network gives the same bytes: everything that the exporter notes down about the
machine it ran on (stack traces, paths, versions) is taken out again.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.onnx.weights import aligned
from toolkit.errors import UsageError
from toolkit.model_card import ModelCard
from toolkit.workspace import write_bytes

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

    from toolkit.networks.embedder import EmbeddingNetwork

INPUT, OUTPUT = "images", "embeddings"
PROBABILITIES = "probabilities"  # the second output of a classifier

# The newest that every TensorRT 10 takes; ONNX Runtime has it since 1.17.
OPSET = 20
# torch writes 18 where it is asked for less, and TensorRT 11 reads up to 25.
OPSETS = range(18, 26)
MAX_BATCH = 4096


@dataclass(frozen=True, slots=True)
class GraphOptions:
    """The form of a graph. batch: how many pictures it takes, None for any number."""

    opset: int = OPSET
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise UsageError(
                f"--opset {self.opset} is not supported.",
                mend=f"Use {OPSETS[0]} to {OPSETS[-1]}; {OPSET} is the default.",
            )
        if self.batch is not None and not 1 <= self.batch <= MAX_BATCH:
            raise UsageError(
                f"--batch {self.batch} is out of range.",
                mend=f"Use 1 to {MAX_BATCH}, or leave it out for any number of pictures.",
            )


def make_onnx(
    network: "EmbeddingNetwork", card: ModelCard, options: GraphOptions | None = None
) -> "ModelProto":
    """The network (on the CPU) as an ONNX graph in float32, with its weights inside.

    Input `images`: uint8 [batch, height, width, 3] RGB; output `embeddings`: float32
    [batch, dim], L2-normalised; `batch` is a symbol or the number asked for. Shapes are
    inferred, and nodes and values are named after the modules.
    """
    spec = card.preprocessing
    size = spec.height, spec.width
    return describe(make_graph(network, size, options or GraphOptions()), card)


def make_graph(network: "nn.Module", size: tuple[int, int], options: GraphOptions) -> "ModelProto":
    """A module from uint8 [B, height, width, 3] of this size as a graph, named and cleaned."""
    from deploy.onnx.naming import name_graph

    model = _trace(network, size, options)
    name_graph(model)
    return _clean(model)


def write_onnx(model: "ModelProto", target: Path) -> None:
    """Check a graph in full and write it, the same graph to the same bytes.

    Raises StorageError; onnx.checker.ValidationError would be a bug.
    """
    import onnx

    onnx.checker.check_model(model, full_check=True)
    write_bytes(target, aligned(model.SerializeToString(deterministic=True)))


def describe(model: "ModelProto", card: ModelCard) -> "ModelProto":
    """Infer all shapes anew, and say what the graph is in the places where tools look."""
    import onnx

    model.graph.ClearField("value_info")
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    spec = card.preprocessing
    model.producer_name, model.producer_version = "vr", version("vr-toolkit")
    model.domain, model.model_version = "vr", 1
    model.doc_string = f"{card.backbone}: pictures to vectors of length 1"
    model.graph.name = "embedder"
    model.graph.input[0].doc_string = (
        f"RGB pictures, uint8 [batch, {spec.height}, {spec.width}, 3], resized to this size; "
        "scaling, mean and channel order are inside"
    )
    model.graph.output[
        0
    ].doc_string = f"one vector a picture, float32 [batch, {card.dim}], each of length 1"
    model.ClearField("metadata_props")
    for key, value in _metadata(card).items():
        model.metadata_props.add(key=key, value=value)
    return model


def _trace(network: "nn.Module", size: tuple[int, int], options: GraphOptions) -> Any:
    import torch

    from deploy.onnx.lrn import with_native_lrn

    # Two pictures: with one, torch takes a batch that may be any number for a constant.
    shape = (options.batch or 2, *size, 3)
    symbols = None if options.batch else ({0: torch.export.Dim("batch")},)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            with_native_lrn(network).eval(),
            (torch.zeros(shape, dtype=torch.uint8),),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=symbols,
            opset_version=options.opset,
            verbose=False,
        )
    assert program is not None  # only None for an export to a file
    model = program.model_proto
    # Where its conversion fails the exporter keeps another version, and only logs it.
    assert [opset.version for opset in model.opset_import] == [options.opset]
    return model


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
    return model


def _metadata(card: ModelCard) -> dict[str, str]:
    content = card.as_json()
    structured = {key: json.dumps(content[key], sort_keys=True) for key in _STRUCTURED}
    plain = {key: str(content[key]) for key in ("backbone", "dim", "fingerprint")}
    return dict(sorted({**plain, **structured}.items()))


_STRUCTURED = ("preprocessing", "lineage")
