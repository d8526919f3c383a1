"""The files of a bundle that say what the network is: its graphs and model.json."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.bundle import DENSE_NAME, ONNX_NAME, PROOF_NAME, Bundle, DenseNote, read_bundle
from deploy.onnx.classifier import add_classifier
from deploy.onnx.make import GraphOptions, describe, make_onnx, write_onnx
from deploy.settings import ExportSettings
from toolkit.model_card import FILE_NAME, ModelCard
from toolkit.transfer.head import ClassifierHead
from toolkit.workspace import sha256_file, write_json

if TYPE_CHECKING:
    from deploy.precision import Calibration, Progress
    from toolkit.networks.embedder import EmbeddingNetwork


def write_graphs(
    folder: Path,
    trained: "tuple[EmbeddingNetwork, ModelCard]",
    settings: ExportSettings,
    calibration: "Calibration | None" = None,
    progress: "Progress | None" = None,
    head: ClassifierHead | None = None,
) -> Bundle:
    """Write the graphs and model.json into a folder that holds the proof set already.

    calibration: what int8 needs; progress: told how much of it was used; head: of a
    classifier. Raises
    StorageError, and UsageError for a dense graph of a backbone that is not convolutional.
    """
    network, card = trained
    model, note = make_onnx(network, card, settings.graph), {}
    if settings.precision != "fp32":
        from deploy.precision import convert

        converted = convert(model, settings.precision, calibration, progress)
        model, note = describe(converted.model, card), dict(converted.note)
    if head is not None:
        model = add_classifier(model, card, head)
    write_onnx(model, folder / ONNX_NAME)
    bundle = Bundle(
        folder,
        card,
        settings.precision,
        settings.graph.opset,
        onnx_sha256=sha256_file(folder / ONNX_NAME),
        batch=settings.graph.batch,
        quantization=note,
        dense_note=_write_dense(folder, network, card, settings) if settings.dense else None,
        proof_sha256=sha256_file(folder / PROOF_NAME),
        classes=() if head is None else head.classes,
    )
    write_json(folder / FILE_NAME, bundle.as_json())
    bundle.engines.mkdir()
    return read_bundle(folder)


def _write_dense(
    folder: Path, network: "EmbeddingNetwork", card: ModelCard, settings: ExportSettings
) -> DenseNote:
    from deploy.onnx.dense import GRID_KEY, make_dense_onnx

    # Whole pictures come one at a time, so their number is never fixed.
    model = make_dense_onnx(network, card, GraphOptions(settings.graph.opset))
    write_onnx(model, folder / DENSE_NAME)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    grid = json.loads(notes[GRID_KEY])
    sha256 = sha256_file(folder / DENSE_NAME)
    return DenseNote(sha256, grid["stride"], (grid["height"], grid["width"]))
