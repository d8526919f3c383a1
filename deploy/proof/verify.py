"""The proof of a bundle repeated, anywhere: without torch, the run or its patches."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deploy.bundle import Bundle, check_file, read_bundle
from deploy.proof.certificate import check_gate, is_dense, precision_of
from deploy.proof.classes import ClassAgreement, compare_classes
from deploy.proof.parity import Parity, compare_embeddings
from deploy.proof.proof_set import ProofSet, read_proof
from deploy.runtimes import Runtime, open_embedder
from toolkit.embedding import Classifier, Embedder


@dataclass(frozen=True, slots=True)
class Verification:
    """What repeating the proof gave.

    measured: by what ran ("onnxruntime cpu"); the first is model.onnx or an engine of it,
    the second, where there is one, the dense graph.
    """

    bundle: Bundle
    measured: Mapping[str, Parity]

    @property
    def runtime(self) -> str:
        """What ran model.onnx or an engine of it."""
        return next(iter(self.measured))

    @property
    def parity(self) -> Parity:
        """How near that comes to the trained network."""
        return self.measured[self.runtime]

    def as_json(self) -> dict[str, Any]:
        """The object of `vr export --verify --json`."""
        precision = self.bundle.precision
        return {
            "bundle": str(self.bundle.folder),
            "onnx": str(self.bundle.onnx),
            "engines": [str(path) for path in sorted(self.bundle.engines.glob("*.plan"))],
            "precision": precision,
            "runtime": self.runtime,
            "parity": self.parity.as_json(precision),
            "measured": {
                name: one.as_json(precision_of(self.bundle, name))
                for name, one in self.measured.items()
            },
        }

    def check(self) -> None:
        """Raises QualityGateError where the bundle does not pass its gate here."""
        for runtime, parity in self.measured.items():
            check_gate(parity, self.bundle, runtime, "Do not use it with this runtime.")


def verify_bundle(folder: Path, runtime: Runtime = "auto", device: str = "auto") -> Verification:
    """Check the hashes of a bundle's files, then its embeddings of the proof set.

    No file of the bundle is changed; a runtime may leave a cache in engines/. Raises
    InputError where there is no bundle, MismatchError where its files do not belong together
    or it carries no proof set, MissingError for a runtime that cannot be had here.
    """
    bundle = read_bundle(folder)
    if bundle.dense_note is not None:
        check_file(bundle.dense_onnx, bundle.dense_note.onnx_sha256)
    proof = read_proof(bundle)
    candidates = [open_embedder(folder, runtime, device)]
    if bundle.dense and runtime != "tensorrt":
        candidates.append(_open_dense(bundle, device))
    return Verification(bundle, dict(prove(candidate, proof) for candidate in candidates))


def _open_dense(bundle: Bundle, device: str) -> Embedder:
    from deploy.runtimes.dense import DenseEmbedder
    from deploy.runtimes.session import SessionSettings

    return DenseEmbedder(bundle, SessionSettings(device))


def prove(candidate: Embedder, proof: ProofSet) -> tuple[str, Parity]:
    """What ran, and how near it comes to the trained network; the embedder is closed."""
    try:
        found = proof.embed(candidate)
        reference = proof.reference
        if is_dense(candidate.runtime) and proof.flat is not None:
            reference = proof.flat
        parity = compare_embeddings(reference, found, proof.tracks)
        return candidate.runtime, replace(parity, classes=_compare_classes(candidate, proof))
    finally:
        candidate.close()


def _compare_classes(candidate: Embedder, proof: ProofSet) -> ClassAgreement | None:
    """Of a classifier that gives probabilities; a dense graph, like an engine, gives none."""
    if proof.classes is None or not isinstance(candidate, Classifier) or not candidate.classes:
        return None
    found = np.concatenate([candidate.classify(proof.queries), candidate.classify(proof.positives)])
    return compare_classes(proof.classes[0], found, proof.classes[1])
