"""Make a bundle from a run: export, prove, and put it in place whole or not at all."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.bundle import ENGINES_NAME, NAMES, ONNX_NAME, PARITY_NAME, Bundle, read_bundle
from deploy.onnx import OPSET, export_onnx
from deploy.parity import GATES, Parity, Precision, measure_parity
from deploy.runtimes.onnx import OnnxEmbedder
from toolkit.embedding import Embedder
from toolkit.errors import QualityGateError, StorageError
from toolkit.model_card import FILE_NAME, ModelCard
from toolkit.optional import require
from toolkit.workspace import atomic_folder, sha256_file, write_json


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export made."""

    bundle: Bundle
    parity: Parity
    engines: tuple[Path, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The `export` contract."""
        return {
            "bundle": str(self.bundle.folder),
            "onnx": str(self.bundle.onnx),
            "engines": [str(engine) for engine in self.engines],
            "precision": self.bundle.precision,
            "parity": self.parity.as_json(self.bundle.precision),
        }


def export_bundle(
    run: Path, out: Path, queries: NDArray[np.uint8], positives: NDArray[np.uint8]
) -> ExportReport:
    """Export a run's network to the bundle `out` and prove that it retrieves the same.

    queries, positives: held-out pairs, uint8 RGB (N, height, width, 3) of the network's
    input size, N at least 1. The bundle takes the place of an older one in one step; until
    then, and after any error, the older one stays. Engines of the same ONNX file are kept.

    Raises QualityGateError when the export is not near enough, StorageError, MissingError
    without ONNX Runtime, MismatchError for a damaged run, InputError without patches.
    """
    from toolkit.embedding_torch import TorchEmbedder
    from toolkit.networks.saved import load_model

    require("onnxruntime")  # before a minute's work, not after it
    _check_target(out)
    network, card = load_model(run)
    with atomic_folder(out) as draft:
        bundle = _write_model(draft, network, card)
        parity = _prove(TorchEmbedder(network, card, "cpu"), bundle, queries, positives)
        write_json(draft / PARITY_NAME, parity.as_json(bundle.precision))
        _check_gate(parity, bundle.precision)
        _keep_engines(out, bundle)
    return ExportReport(read_bundle(out), parity)


def _check_target(out: Path) -> None:
    """Refuse to replace anything that is not a bundle."""
    if not out.exists():
        return
    if not out.is_dir() or not {entry.name for entry in out.iterdir()} <= NAMES:
        raise StorageError(
            f"{out} is there and is no bundle; it is not replaced.",
            mend="Choose another --out, or move it away.",
        )


def _write_model(folder: Path, network: Any, card: ModelCard) -> Bundle:
    export_onnx(network, card, folder / ONNX_NAME)
    extra = {
        "onnx_sha256": sha256_file(folder / ONNX_NAME),
        "precision": "fp32",
        "opset": OPSET,
    }
    write_json(folder / FILE_NAME, {**card.as_json(), **extra})
    (folder / ENGINES_NAME).mkdir()
    return read_bundle(folder)


def _prove(
    reference: Embedder, bundle: Bundle, queries: NDArray[np.uint8], positives: NDArray[np.uint8]
) -> Parity:
    candidate = OnnxEmbedder(bundle, device="cpu")
    try:
        return measure_parity(reference, candidate, queries, positives)
    finally:
        candidate.close()


def _check_gate(parity: Parity, precision: Precision) -> None:
    gate = GATES[precision]
    if parity.passes(gate):
        return
    raise QualityGateError(
        f"The export does not retrieve what the network does: over {parity.patches} patches the "
        f"least cosine is {parity.cosine_min:.6f} (at least {gate.cosine_min} is wanted) and R@1 "
        f"changes by {100 * parity.delta_recall:+.2f} points (at most "
        f"{100 * gate.delta_recall:g}). Nothing was written.",
        mend="Report this with the run's model.json and the output of `pip freeze`.",
    )


def _keep_engines(old: Path, bundle: Bundle) -> None:
    """Engines are caches of one ONNX file: where that is the same, so are they."""
    engines = old / ENGINES_NAME
    onnx = old / ONNX_NAME
    if engines.is_dir() and onnx.is_file() and sha256_file(onnx) == bundle.onnx_sha256:
        for engine in sorted(path for path in engines.iterdir() if path.is_file()):
            shutil.copyfile(engine, bundle.engines / engine.name)
