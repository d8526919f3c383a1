"""Unit vectors that are as hard to index as the embeddings of video: any number, always the same.

What embeddings of video look like was measured on 97,785 windows of `vtest.avi`
(`indexing_real.py`): they share a mean direction, few of their directions carry much, and a place
is seen hundreds of times, nearly the same but now and then. So a scene is a point of a steep
spectrum, the places in it lie beside it, and the sightings of a place walk a little way, most of
them hardly at all. Queries are other crops of what is there. The numbers below are those that
were measured, and `indexing.py --only real` says how near the result comes: vectors in plain
clusters are far easier for product codes than real ones, and figures on them would flatter.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from toolkit.embedding import Embeddings
from toolkit.workspace import atomic_file

DIM = 128
SIGHTINGS_A_TRACK = 25
_PLACES, _SIGHTINGS, _SCENES = 16, 800, 1  # places a scene, sightings a place, scenes at once
_MEAN_LENGTH = 0.59  # of the mean of all vectors
_BETWEEN, _IN_SCENE = 0.57, 0.03  # variance of scenes, and of the places in one
_WITHIN_MEDIAN, _WITHIN_SPREAD = 0.009, 1.9  # variance of a place's sightings, log-normal
_STEP = 0.1  # of a walk that stays around its place: forgotten after some ten steps
_GRAIN = 2e-5  # variance of what differs between any two pictures
_OTHER_CROP_MEDIAN, _OTHER_CROP_SPREAD = 0.03, 0.8


@dataclass(frozen=True, slots=True)
class _Spectrum:
    """Variances of the directions: (1 + i / knee) ** -power, scaled to a sum of 1."""

    knee: float
    power: float

    def roots(self, dim: int) -> NDArray[np.float32]:
        """Standard deviations, (dim,)."""
        falling = (1 + np.arange(dim) / self.knee) ** -self.power
        return np.sqrt(np.asarray(falling / falling.sum(), np.float32))


_SCENE, _WALK, _CROP = _Spectrum(8, 5.5), _Spectrum(16, 6), _Spectrum(24, 5)


def write_vectors(path: Path, count: int, dim: int = DIM) -> Embeddings:
    """Vectors float32 (count, dim) as a .npy, made unless it is there; mapped."""
    if not path.is_file():
        with atomic_file(path) as draft:
            made = open_memmap(draft, "w+", np.float32, (count, dim))
            first = 0
            for block in blocks(count, dim):
                made[first : first + len(block)] = block
                first += len(block)
            made.flush()
            del made
    vectors: Embeddings = np.load(path, mmap_mode="r")
    if vectors.shape != (count, dim):
        raise ValueError(f"{path} has the shape {vectors.shape}")
    return vectors


def blocks(count: int, dim: int = DIM) -> Iterator[Embeddings]:
    """The same vectors, some thousands at a time; fewer of them are the first of more."""
    size = _SCENES * _PLACES * _SIGHTINGS
    for first in range(0, count, size):
        yield _scenes(first, dim)[: count - first]


def tracks_of(count: int) -> NDArray[np.int64]:
    """The number of the track of each vector, (count,): sightings that follow each other."""
    return np.arange(count) // SIGHTINGS_A_TRACK


def make_queries(vectors: Embeddings, count: int, seed: int = 0) -> Embeddings:
    """Other crops of what some of the vectors (N, dim) show, (count, dim)."""
    generator = np.random.default_rng((seed, 2))
    rows = np.sort(generator.integers(0, len(vectors), count))
    dim = vectors.shape[1]
    far = _variances(generator, count, _OTHER_CROP_MEDIAN, _OTHER_CROP_SPREAD)
    offsets = _normal(generator, (count, dim)) * _CROP.roots(dim) @ _turned(dim, 2)
    crops = np.asarray(vectors[rows] + np.sqrt(far)[:, None] * offsets, np.float32)
    return generator.permutation(_unit(crops))


def _scenes(first: int, dim: int) -> Embeddings:
    """Whole scenes, from the vector `first` on."""
    generator = np.random.default_rng((first, 1))
    scenes = _normal(generator, (_SCENES, 1, dim)) * _SCENE.roots(dim) @ _turned(dim, 0)
    beside = _normal(generator, (_SCENES, _PLACES, dim)) * _CROP.roots(dim) @ _turned(dim, 1)
    places = np.sqrt(_BETWEEN) * scenes + np.sqrt(_IN_SCENE) * beside
    places = places.reshape(-1, 1, dim)
    places[..., 0] += _MEAN_LENGTH
    far = _variances(generator, len(places), _WITHIN_MEDIAN, _WITHIN_SPREAD)
    walks = _walks(generator, len(places), dim)
    grain = _normal(generator, walks.shape) * np.float32(np.sqrt(_GRAIN / dim))
    return _unit((places + np.sqrt(far)[:, None, None] * walks + grain).reshape(-1, dim))


def _walks(generator: np.random.Generator, count: int, dim: int) -> NDArray[np.float32]:
    """Walks of variance 1 around 0, (count, sightings, dim)."""
    steps = _normal(generator, (count, _SIGHTINGS, dim)) * _WALK.roots(dim)
    for at in range(1, _SIGHTINGS):
        steps[:, at] = np.sqrt(1 - _STEP) * steps[:, at - 1] + np.sqrt(_STEP) * steps[:, at]
    return np.asarray(steps @ _turned(dim, 1), np.float32)


def _variances(
    generator: np.random.Generator, count: int, median: float, spread: float
) -> NDArray[np.float32]:
    return np.minimum(median * np.exp(spread * generator.standard_normal(count)), 0.5).astype("f4")


def _turned(dim: int, which: int) -> NDArray[np.float32]:
    """A random rotation: the directions of one spectrum are not those of another."""
    square = np.random.default_rng((which, 0)).standard_normal((dim, dim))
    return np.linalg.qr(square)[0].astype(np.float32)


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return generator.standard_normal(shape, np.float32)


def _unit(rows: NDArray[np.float32]) -> Embeddings:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
