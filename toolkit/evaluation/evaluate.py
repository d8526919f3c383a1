"""Measure an embedder on held-out pairs, next to the baselines on the same patches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from toolkit.embedding import Embedder, Embeddings
from toolkit.errors import TooFewHeldOutError
from toolkit.evaluation.baselines import BASELINES
from toolkit.evaluation.retrieval import (
    Gallery,
    RetrievalMetrics,
    build_gallery,
    retrieval_metrics,
)
from toolkit.model_card import ModelCard
from toolkit.patches.shards import StoredPair
from toolkit.preprocess import Preprocessing
from toolkit.records import PatchPair

# Every query is held against every pair: memory and time grow with the square of this.
MOST_PAIRS = 1000


@dataclass(frozen=True, slots=True)
class HeldOutPatches:
    """Held-out pairs in memory: uint8 (Q, height, width, 3) each, and who may find whom.

    records: where and when each pair was seen, (Q).
    """

    queries: NDArray[np.uint8]
    positives: NDArray[np.uint8]
    gallery: Gallery
    records: Sequence[PatchPair]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well an embedder finds held-out pairs, and the embeddings it was told from, (Q, dim)."""

    metrics: RetrievalMetrics
    queries: Embeddings
    positives: Embeddings


@dataclass(frozen=True, slots=True)
class Comparison:
    """An embedder and what it has to beat, on the same queries."""

    trained: RetrievalMetrics
    baselines: dict[str, RetrievalMetrics]


def load_held_out(pairs: Sequence[StoredPair], preprocessing: Preprocessing) -> HeldOutPatches:
    """Read and fit the patches, of MOST_PAIRS at most, spread evenly over the pairs.

    Raises TooFewHeldOutError, ShardError, ImageError.
    """
    pairs = pairs[:: max(1, -(-len(pairs) // MOST_PAIRS))]
    if not pairs:
        raise TooFewHeldOutError(
            "There are no held-out pairs to measure on.",
            mend="Mine more video, or hold out a larger part of it.",
        )
    return HeldOutPatches(
        preprocessing.fit_batch([stored.read_query() for stored in pairs]),
        preprocessing.fit_batch([stored.read_positive() for stored in pairs]),
        build_gallery([stored.pair for stored in pairs]),
        [stored.pair for stored in pairs],
    )


def evaluate(embedder: Embedder, held_out: HeldOutPatches) -> RetrievalMetrics:
    """Recall@1, recall@5 and MAP@R of an embedder."""
    return embed_and_evaluate(embedder, held_out).metrics


def embed_and_evaluate(embedder: Embedder, held_out: HeldOutPatches) -> Evaluation:
    """The same with the embeddings, for those who want to look at what is found."""
    queries, positives = embedder.embed(held_out.queries), embedder.embed(held_out.positives)
    metrics = retrieval_metrics(queries, positives, held_out.gallery)
    return Evaluation(metrics, queries, positives)


def evaluate_baselines(held_out: HeldOutPatches) -> dict[str, RetrievalMetrics]:
    """The same for features that need no training."""
    return {
        name: retrieval_metrics(
            feature(held_out.queries), feature(held_out.positives), held_out.gallery
        )
        for name, feature in BASELINES.items()
    }


def compare(embedder: Embedder, held_out: HeldOutPatches) -> Comparison:
    """Measure an embedder beside colour histogram, HOG and its own network before training."""
    untrained = random_network(embedder.card)
    baselines = {"random network": evaluate(untrained, held_out), **evaluate_baselines(held_out)}
    return Comparison(evaluate(embedder, held_out), baselines)


def random_network(card: ModelCard) -> Embedder:
    """The same network before any training, with a fixed seed: the third baseline."""
    import torch

    from toolkit.embedding_torch import TorchEmbedder
    from toolkit.networks.backbones import backbone_defaults
    from toolkit.networks.embedder import EmbeddingNetwork

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = EmbeddingNetwork(
            card.backbone,
            card.preprocessing,
            card.dim,
            mean_image=backbone_defaults(card.backbone, card.architecture).mean_image,
            architecture=card.architecture,
        )
    return TorchEmbedder(network, replace(card, fingerprint="random", lineage={"seed": 0}))
