"""How far the vectors of windows are from those of the same patches alone.

A window of a large picture ends in its neighbours, a patch in zeros; the network sees the
difference. How much that is depends on the backbone and on what it was trained on, so it is
measured on the user's own patches and stands in the certificate.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.bundle import Bundle
from deploy.proof.parity import Pairs, Parity, Tracks, check_pairs, compare_embeddings
from deploy.proof.proof_set import read_proof
from deploy.runtimes.dense import DenseEmbedder
from deploy.runtimes.session import SessionSettings

MAX_PAIRS = 64  # each patch is computed with all that the network sees around it


@dataclass(frozen=True, slots=True)
class WindowAgreement:
    """Patches as windows of a picture that goes on beyond them, beside the patches alone.

    both: queries and positives as windows, against both alone: what is lost in a search
    among windows by a window. mixed: only the positives as windows: what is lost in a search
    among windows by a patch alone.
    """

    both: Parity
    mixed: Parity

    def as_json(self) -> dict[str, Any]:
        """As it stands in parity.json."""
        return {
            "patches": self.both.patches,
            "cosine_p1": self.both.cosine_p1,
            "cosine_mean": self.both.cosine_mean,
            "recall@1": self.both.recall,
            "delta_recall@1": self.both.delta_recall,
            "delta_recall@1_mixed": self.mixed.delta_recall,
        }


def prove_windows(bundle: Bundle) -> dict[str, Any]:
    """The agreement on the proof set of a bundle with a dense graph, on the CPU.

    Raises MismatchError for a bundle without a proof set.
    """
    proof = read_proof(bundle)
    embedder = DenseEmbedder(bundle, SessionSettings("cpu"))
    try:
        found = measure_windows(
            proof.reference, embedder, proof.queries, proof.positives, proof.tracks
        )
    finally:
        embedder.close()
    return found.as_json()


def measure_windows(
    reference: Pairs,
    embedder: DenseEmbedder,
    queries: NDArray[np.uint8],
    positives: NDArray[np.uint8],
    tracks: Tracks | None = None,
) -> WindowAgreement:
    """Compare on pairs of patches, both uint8 RGB (N, height, width, 3), N at least 1.

    reference: what the trained network made of them. Of more than 64 pairs some are taken,
    evenly. Raises InputError.
    """
    check_pairs(queries, positives)
    some = slice(None, None, -(-len(queries) // MAX_PAIRS))
    alone = reference[0][some], reference[1][some]
    windows = (
        embedder.embed_as_windows(queries[some]),
        embedder.embed_as_windows(positives[some]),
    )
    own = None if tracks is None else tracks[some]
    return WindowAgreement(
        both=compare_embeddings(alone, windows, own),
        mixed=compare_embeddings(alone, (alone[0], windows[1]), own),
    )
