"""A FAISS index trained on a bounded sample and filled piece by piece.

FAISS's own defaults train longer than search gains from. What is done otherwise, as measured
on two cores with a million vectors of 128 numbers in 2,000 clusters:

- k-means of the cells on 40 vectors a cell (FAISS: up to 256), ten rounds as FAISS has them;
- codes trained on 16,384 vectors at least (FAISS: 65,536), in 10 rounds (25);
- the rotation (OPQ) trained on as many, in 4 rounds (50);
- codes and rotation in one thread: their k-means are so small that several threads only
  wait for each other, at several times the cost.

FAISS assigns vectors to centroids ten times as fast once they have 131,072 numbers together
(kernels for few numbers a vector), so shorter parts of vectors are trained on more of them:
it takes a tenth of the time that fewer would.

Everything is seeded. The same vectors give the same index, but for HNSW with several
threads, whose graph depends on which of them is first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.plan.costs import TRAINED_A_CELL, TRAINING_ROUNDS
from indexes.vectors.exact import gather
from indexes.vectors.keys import core_of, make_base, transforms_of
from indexes.vectors.load import load_faiss, one_thread
from indexes.vectors.recall import held_out_rows
from toolkit.embedding import Embeddings, chunks
from toolkit.errors import UsageError

OnProgress = Callable[[str, int, int], None]  # what is done, done, of how many

_CODE_VECTORS, _CODE_ROUNDS = 16_384, 10
_FAST_NUMBERS, _GAIN = 131_072, 8
_ROTATION_ROUNDS, _ROTATION_FIRST_ROUNDS = 4, 20
_ROTATION_CODES = 256  # that FAISS trains a rotation with, whatever codes follow it
_ADDED = 32_768
_SEED = 1234


@dataclass(frozen=True, slots=True)
class Trained:
    """An index that is trained and still empty, and how many vectors there were then."""

    index: Any
    vectors: int


def no_progress(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def train(key: str, vectors: Embeddings, held_out: NDArray[np.int64]) -> Any:
    """A trained, empty FAISS index of a key, for vectors (N, D).

    held_out: rows that are kept out of the sample, ascending. Raises UsageError for a key
    that cannot be used, or that needs more vectors than there are.
    """
    index = make_base(key, vectors.shape[1])
    if index.is_trained:
        return index
    _check_enough(key, index, len(vectors), len(held_out))
    try:
        return _trained(index, vectors, held_out)
    except RuntimeError as error:  # a key that FAISS makes need not be one that it can train
        raise UsageError(
            f"The index key {key!r} cannot be used: FAISS cannot train it with {len(vectors)} "
            f"vectors ({_reason(error)}).",
            mend="Give another key, or none and let the plan choose.",
        ) from error


def check_key(key: str, dim: int, vectors: int | None) -> None:
    """Whether an index of a key can be made of vectors, as far as that is known before it is.

    vectors: how many there will be, None where nobody knows. Raises UsageError.
    """
    index = make_base(key, dim)
    if vectors is not None and not index.is_trained:
        _check_enough(key, index, vectors, len(held_out_rows(vectors)))


def _trained(index: Any, vectors: Embeddings, held_out: NDArray[np.int64]) -> Any:
    core = core_of(index)
    codes = _code_vectors(core)
    sample = _sample(vectors, held_out, max(getattr(core, "nlist", 0) * TRAINED_A_CELL, codes))
    for transform in transforms_of(index):
        sample = _through(transform, sample, codes)
    if hasattr(core, "nlist"):
        _train_cells(core, sample)
    with one_thread():
        if hasattr(core, "pq"):
            _bound(core.pq.cp, codes // core.pq.ksub)
        core.train(_repeated(sample, codes))
    index.is_trained = True
    return index


def fill(index: Any, vectors: Embeddings, first: int, on_progress: OnProgress) -> None:
    """Add the vectors from row `first` on, in pieces: memory holds one of them."""
    for part in chunks(len(vectors) - first, _ADDED):
        index.add(np.ascontiguousarray(vectors[first + part.start : first + part.stop]))
        on_progress("adding", first + part.stop, len(vectors))


def _check_enough(key: str, index: Any, vectors: int, held_out: int) -> None:
    core, faiss = core_of(index), load_faiss()
    product = getattr(core, "pq", None)
    rotated = any(isinstance(one, faiss.OPQMatrix) for one in transforms_of(index))
    codes = 0 if product is None else int(product.ksub)
    least = max(int(getattr(core, "nlist", 0)), codes, _ROTATION_CODES if rotated else 0)
    if vectors - held_out < least:
        raise UsageError(
            f"The index key {key!r} cannot be used: it has {least} cells or codes to train, and "
            f"{vectors} vectors are too few ({held_out} of them are kept to measure it).",
            mend="Give a key with fewer, or none and let the plan choose.",
        )


def _reason(error: RuntimeError) -> str:
    """What FAISS says, without the places in its source."""
    return str(error).rpartition("failed: ")[2].strip().rstrip(".") or type(error).__name__


def _code_vectors(core: Any) -> int:
    """How many vectors codes are trained on."""
    if not hasattr(core, "pq"):
        return _CODE_VECTORS
    return max(_CODE_VECTORS, -(-_FAST_NUMBERS // int(core.pq.dsub)))


def _sample(vectors: Embeddings, held_out: NDArray[np.int64], wanted: int) -> Embeddings:
    """Random rows, in random order so that each beginning of it is a sample too."""
    generator = np.random.default_rng(_SEED)
    rows = generator.permutation(np.setdiff1d(np.arange(len(vectors)), held_out))[:wanted]
    return gather(vectors, rows)


def _through(transform: Any, sample: Embeddings, vectors: int) -> Embeddings:
    """Train what vectors go through on the first of the sample; the sample, gone through it."""
    faiss = load_faiss()
    if isinstance(transform, faiss.OPQMatrix):
        codes = faiss.ProductQuantizer(transform.d_out, transform.M, 8)
        _bound(codes.cp, vectors // codes.ksub)
        transform.pq = codes  # kept alive by this function until the training is over
        transform.niter, transform.niter_pq_0 = _ROTATION_ROUNDS, _ROTATION_FIRST_ROUNDS
        transform.max_train_points = vectors
    if not transform.is_trained:
        with one_thread():
            transform.train(_repeated(sample, vectors))
    if isinstance(transform, faiss.OPQMatrix):
        transform.pq = None
    return np.asarray(transform.apply(sample))


def _train_cells(core: Any, sample: Embeddings) -> None:
    """k-means of the cells. Done here because FAISS would take far more vectors for it."""
    faiss = load_faiss()
    quantizer = faiss.downcast_index(core.quantizer)
    parameters = faiss.ClusteringParameters()
    parameters.niter, parameters.seed, parameters.spherical = TRAINING_ROUNDS, _SEED, True
    parameters.min_points_per_centroid, parameters.max_points_per_centroid = 1, 2 * TRAINED_A_CELL
    clustering = faiss.Clustering(core.d, core.nlist, parameters)
    clustering.train(sample, faiss.IndexFlatIP(core.d))
    centroids = faiss.vector_to_array(clustering.centroids).reshape(core.nlist, core.d)
    if not quantizer.is_trained:
        quantizer.train(centroids)
    quantizer.add(centroids)


def _repeated(sample: Embeddings, wanted: int) -> Embeddings:
    """The first of the sample; where it is somewhat short, over again: that is the fast way.

    Each vector twice gives the same means as each once.
    """
    if not len(sample) < wanted < _GAIN * len(sample):
        return sample[:wanted]
    return sample[np.arange(wanted) % len(sample)]


def _bound(clustering: Any, vectors_a_centroid: int) -> None:
    clustering.niter = _CODE_ROUNDS
    clustering.min_points_per_centroid = 1  # no warnings: little is better than nothing
    clustering.max_points_per_centroid = max(vectors_a_centroid, 1)
