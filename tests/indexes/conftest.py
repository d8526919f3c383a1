"""A small deterministic embedder and makers of small real inputs, for every index test."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.images import encode_jpeg
from toolkit.model_card import ModelCard
from toolkit.patches.phash import perceptual_hash
from toolkit.patches.shards import PairSample, write_shard
from toolkit.preprocess import Preprocessing
from toolkit.records import Box, PatchPair, Sighting, TrackQuality

DIM = 16


class FakeEmbedder:
    """A fixed random projection of mean-pooled pixels: like pictures, like vectors."""

    def __init__(self, seed: int = 0, dim: int = DIM) -> None:
        self._weights = np.random.default_rng(seed).standard_normal((4 * 4 * 3, dim))
        fingerprint = hashlib.sha256(self._weights.tobytes()).hexdigest()
        self.card = ModelCard("fake", dim, Preprocessing(32, 32), fingerprint, {"seed": seed})
        self.runtime = "numpy cpu"
        self.seen = 0

    def embed(self, images):
        self.seen += len(images)
        pooled = images.reshape(len(images), 4, 8, 4, 8, 3).mean(axis=(2, 4))
        rows = (pooled.reshape(len(images), 4 * 4 * 3) - 127.5) @ self._weights
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def close(self) -> None:
        pass


def picture(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    """A blocky random picture that no JPEG blurs into another."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return np.array(Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST))


def make_pictures(folder: Path, seeds: Sequence[int]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{seed:04d}.png" for seed in seeds]
    for seed, path in zip(seeds, paths, strict=True):
        Image.fromarray(picture(seed)).save(path)
    return paths


def make_pair(track: int, times: tuple[float, float], video: str = "street") -> PairSample:
    """Sightings of a track at two times; a sighting's picture and box follow from both."""
    patches = [picture(1000 * track + round(10 * time), 48, 48) for time in times]
    sightings = [
        Sighting(time, Box(10.0 * track, 5.0, 10.0 * track + 48, 53.0 + time)) for time in times
    ]
    pair = PatchPair(
        key=f"{video}-{track:03d}-{times[0]:.1f}".replace(".", "_"),
        video=hashlib.sha256(video.encode()).hexdigest(),
        path=f"clips/{video}.mp4",
        camera=video,
        track=f"{video}-{track:03d}",
        query=sightings[0],
        positive=sightings[1],
        quality=TrackQuality(0.9, 0.01, 0.8),
        query_phash=perceptual_hash(patches[0]),
        positive_phash=perceptual_hash(patches[1]),
    )
    return PairSample(pair, *(encode_jpeg(patch) for patch in patches))


def make_shard(target: Path, pairs: Sequence[PairSample]) -> Path:
    write_shard(target, pairs)
    return target


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def other_embedder() -> FakeEmbedder:
    return FakeEmbedder(seed=1)


@pytest.fixture
def pictures(tmp_path) -> Callable[..., list[Path]]:
    """pictures(3) writes three PNGs into tmp_path/pictures; a range gives other seeds."""

    def make(seeds: int | Sequence[int], folder: str = "pictures") -> list[Path]:
        return make_pictures(tmp_path / folder, range(seeds) if isinstance(seeds, int) else seeds)

    return make


@pytest.fixture
def picture_of() -> Callable[..., np.ndarray]:
    return picture


@pytest.fixture
def pair() -> Callable[..., PairSample]:
    return make_pair


@pytest.fixture
def shard() -> Callable[..., Path]:
    return make_shard


@pytest.fixture(scope="session")
def two_segments(tmp_path_factory) -> Path:
    """An index to copy: 12 pictures (one of them removed) and 6 sightings of 3 tracks."""
    from indexes.build.build import build
    from indexes.build.remove import remove

    folder = tmp_path_factory.mktemp("two_segments")
    build(folder / "index", make_pictures(folder / "p", range(12)), FakeEmbedder())
    tar = make_shard(folder / "a.tar", [make_pair(t, (0.0, 1.0)) for t in range(3)])
    build(folder / "index", [tar], FakeEmbedder())
    remove(folder / "index", ["*/0003.png"])
    return folder / "index"


@pytest.fixture
def rows():
    """Read-only SQL on an index's catalog, past all code under test."""
    import sqlite3

    def query(index: Path, sql: str) -> list[tuple]:
        connection = sqlite3.connect(f"{(index / 'catalog.sqlite').as_uri()}?mode=ro", uri=True)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    return query
