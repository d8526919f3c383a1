"""Make a bundle from a run: export, prove, and put it in place whole or not at all."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy.bundle import (
    ENGINES_NAME,
    NAMES,
    ONNX_NAME,
    PROOF_NAME,
    Bundle,
    check_name,
    read_bundle,
)
from deploy.proof.certificate import certify, check_gate, is_dense
from deploy.proof.parity import Parity, Tracks
from deploy.proof.proof_set import make_proof, write_proof
from deploy.proof.verify import verify_bundle
from deploy.proof.windows import prove_windows
from deploy.settings import ExportSettings
from deploy.writing import write_graphs
from toolkit.errors import StorageError, UsageError
from toolkit.optional import require
from toolkit.transfer.head import ClassifierHead
from toolkit.workspace import atomic_folder, sha256_file, storage_errors

if TYPE_CHECKING:
    from deploy.precision import Calibration, Progress

Patches = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a run knows beside its pairs.

    tracks: (N,), the same number for pairs of the same track, None where each is its own;
    calibration: what int8 needs; progress: told how many of its patches were measured.
    classifier: the layer of a classifier, and the classes of the queries and then of the
    positives, (2N,).
    """

    tracks: Tracks | None = None
    calibration: "Calibration | None" = None
    progress: "Progress | None" = None
    classifier: tuple[ClassifierHead, NDArray[np.int64]] | None = None


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export made.

    windows: of a bundle with a dense graph, how far windows are from patches alone, as in
    parity.json.
    """

    bundle: Bundle
    parity: Parity
    engines: tuple[Path, ...] = ()
    windows: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The `export` contract."""
        return {
            "bundle": str(self.bundle.folder),
            "onnx": str(self.bundle.onnx),
            "engines": [str(engine) for engine in self.engines],
            "precision": self.bundle.precision,
            "parity": self.parity.as_json(self.bundle.precision),
            **({} if self.windows is None else {"windows": dict(self.windows)}),
        }


def export_bundle(
    run: Path,
    out: Path,
    queries: Patches,
    positives: Patches,
    settings: ExportSettings | None = None,
    evidence: Evidence | None = None,
) -> ExportReport:
    """Export a run's network to the bundle `out` and prove that it retrieves the same.

    queries, positives: held-out pairs, uint8 RGB (N, height, width, 3) of the bundle's
    input size, N at least 1. The bundle takes the place of an older one in one step; until
    then, and after any error, the older one stays. Engines of the same ONNX file are kept.

    Raises QualityGateError when the export is not near enough, StorageError, MissingError
    without ONNX Runtime, MismatchError for a damaged run, InputError without patches,
    UsageError for a size that the network cannot take.
    """
    from deploy.onnx.resize import load_at_size
    from toolkit.embedding_torch import TorchEmbedder
    from toolkit.networks.dense import flat_network

    settings, evidence = settings or ExportSettings(), evidence or Evidence()
    require("onnxruntime")  # before a minute's work, not after it
    check_target(out)
    network, card = load_at_size(run, settings.size)
    with atomic_folder(out) as draft:
        proof = make_proof(TorchEmbedder(network, card), queries, positives, evidence.tracks)
        if settings.dense and network.preprocess.has_mean_image:
            proof = proof.with_flat(TorchEmbedder(flat_network(network), card))
        head = None
        if evidence.classifier is not None:
            head, labels = evidence.classifier
            proof = proof.with_classes(head, labels)
        write_proof(proof, card, draft / PROOF_NAME)
        bundle = write_graphs(
            draft, (network, card), settings, evidence.calibration, evidence.progress, head
        )
        parity, windows = _prove(bundle)
        _keep_engines(out, bundle)
    return ExportReport(read_bundle(out), parity, windows=windows)


def check_target(out: Path) -> None:
    """Refuse a name that runtimes cannot open, and to replace what is no bundle.

    Raises UsageError or StorageError.
    """
    check_name(out, UsageError, "Choose another --out.")
    with storage_errors(out):
        if not out.exists():
            return
        is_bundle = out.is_dir() and {entry.name for entry in out.iterdir()} <= NAMES
    if not is_bundle:
        raise StorageError(
            f"{out} is there and is no bundle; it is not replaced.",
            mend="Choose another --out, or move it away.",
        )


def _prove(bundle: Bundle) -> tuple[Parity, Mapping[str, Any] | None]:
    """Measure, judge and certify every graph: the parity of model.onnx, and that of windows.

    Raises QualityGateError.
    """
    verification = verify_bundle(bundle.folder, "onnx", "cpu")
    windows = None
    for runtime, parity in verification.measured.items():
        check_gate(parity, bundle, runtime, "Nothing was written.")
        if is_dense(runtime):
            windows = prove_windows(bundle)
        certify(bundle, runtime, parity, windows=windows if is_dense(runtime) else None)
    return verification.parity, windows


def _keep_engines(old: Path, bundle: Bundle) -> None:
    """Engines are caches of one ONNX file: where that is the same, so are they."""
    engines = old / ENGINES_NAME
    onnx = old / ONNX_NAME
    if engines.is_dir() and onnx.is_file() and sha256_file(onnx) == bundle.onnx_sha256:
        for engine in sorted(path for path in engines.iterdir() if path.is_file()):
            shutil.copyfile(engine, bundle.engines / engine.name)
