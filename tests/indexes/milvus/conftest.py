"""One embedded Milvus for all tests of a module; each test has collections of its own."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from indexes.folder.sink import folder_sink
from indexes.folder.store import open_folder
from indexes.milvus.address import MilvusAddress, parse_address
from indexes.milvus.client import connect
from indexes.milvus.engine import engine
from indexes.milvus.store import MilvusStore, open_milvus
from indexes.milvus.writing import milvus_sink
from indexes.open import open_store
from indexes.search.hits import Hit
from indexes.search.index import PatchIndex
from indexes.sources import IndexPatch, Origin, Source
from indexes.stores import NewRow
from toolkit.model_card import ModelCard
from toolkit.preprocess import Preprocessing

PATHS = [
    "stills/a[1].png",
    "clips/street.mp4",
    'clips/it\'s 100%_"odd"\\.mp4',
    "clips/] or id > 0 or source in [.mp4",
    "ünïcode/日本.mp4",
    "clips/gate.mp4",
]


@pytest.fixture(scope="module")
def engine_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("milvus") / "engine"
    with engine(folder):
        yield folder


@pytest.fixture(scope="module")
def _numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def address(engine_folder: Path, _numbers: Iterator[int]) -> MilvusAddress:
    return parse_address(f"milvus:{engine_folder}?prefix=t{next(_numbers)}")


@pytest.fixture
def opened(address: MilvusAddress) -> Callable[[], Iterator[MilvusStore]]:
    """`with opened() as store`: the index at `address`."""

    @contextmanager
    def open_it() -> Iterator[MilvusStore]:
        store = open_milvus(address)
        try:
            yield store
        finally:
            store.close()

    return open_it


class Twins:
    """The same rows in a Milvus and in a folder, both open to write."""

    def __init__(self, milvus, folder) -> None:
        self.milvus, self.folder = milvus, folder

    def take(self, name: str, rows: list[IndexPatch]) -> None:
        source = Source(Path(name), "table", "vectors")
        numbers = [sink.begin_input(source, name) for sink in (self.milvus, self.folder)]
        assert numbers[0] == numbers[1]
        new = [
            NewRow(patch, patch.vector, f"jpeg of {name} {i}".encode() if i % 3 else None, n)
            for i, patch in enumerate(rows)
            for n in numbers[:1]
        ]
        self.milvus.add(new)
        self.folder.add(new)

    def commit(self) -> None:
        self.milvus.commit()
        self.folder.commit()


@contextmanager
def write_both(address: MilvusAddress, folder: Path, card: ModelCard) -> Iterator[Twins]:
    with milvus_sink(address, card) as milvus, folder_sink(folder, card) as sink:
        yield Twins(milvus, sink)


@contextmanager
def read_both(address: MilvusAddress, folder: Path):
    milvus, store = open_milvus(address), open_folder(folder)
    try:
        yield milvus, store
    finally:
        milvus.close()
        store.close()


@pytest.fixture
def twins(address: MilvusAddress, embedder, tmp_path):
    """`with twins() as both`: write the same to both; then `with both_open() as (m, f)`."""
    return lambda: write_both(address, tmp_path / "index", embedder.card)


@pytest.fixture
def both_open(address: MilvusAddress, tmp_path):
    return lambda: read_both(address, tmp_path / "index")


@pytest.fixture(scope="module")
def filled(engine_folder: Path, tmp_path_factory):
    """`with filled() as (m, f)`: 240 patches of six sources, the same for a whole module."""
    generator = np.random.default_rng(1)
    address = parse_address(f"milvus:{engine_folder}?prefix=filled")
    folder = tmp_path_factory.mktemp("filled") / "index"
    card = ModelCard("fake", 16, Preprocessing(32, 32), "f" * 64, {})
    with write_both(address, folder, card) as both:
        for number in range(4):
            both.take(f"table {number}", draw_patches(generator, 60, PATHS))
            if number % 2:
                both.commit()
    return lambda: read_both(address, folder)


@pytest.fixture
def searching() -> Callable[[MilvusAddress], AbstractContextManager[PatchIndex]]:
    """`with searching(address) as index`."""

    @contextmanager
    def open_it(address: MilvusAddress) -> Iterator[PatchIndex]:
        index = PatchIndex(open_store(address))
        try:
            yield index
        finally:
            index.close()

    return open_it


@pytest.fixture
def find(searching) -> Callable[..., list[Hit]]:
    """`find(address, embedder, image, k)`: the hits of a fitted picture."""

    def hits(address: MilvusAddress, embedder, image: np.ndarray, k: int = 3) -> list[Hit]:
        with searching(address) as index:
            return index.search(embedder.embed(image[None])[0], k)

    return hits


@pytest.fixture
def collections() -> Callable[[MilvusAddress], list[str]]:
    """What an index has in Milvus, by name."""

    def names(address: MilvusAddress) -> list[str]:
        with connect(address) as client:
            return sorted(n for n in client.collections() if n.startswith(address.prefix + "_"))

    return names


def unit_vectors(generator: np.random.Generator, rows: int, dim: int = 16) -> np.ndarray:
    drawn = generator.standard_normal((rows, dim)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture
def units() -> Callable[..., np.ndarray]:
    return unit_vectors


def make_origin(path: str, camera: str | None = None, kind: str = "video") -> Origin:
    return Origin(path, hashlib.sha256(path.encode()).hexdigest(), kind, camera)


@pytest.fixture
def origin() -> Callable[..., Origin]:
    return make_origin


def draw_patches(generator: np.random.Generator, count: int, paths: list[str]) -> list[IndexPatch]:
    """Patches with vectors, over few sources and tracks."""
    patches = []
    for vector in unit_vectors(generator, count):
        place = int(generator.integers(len(paths)))
        video = place % 3 > 0
        track = int(generator.integers(4))
        followed = video and track > 0
        patches.append(
            IndexPatch(
                make_origin(
                    paths[place],
                    f"camera {place % 2}" if place else None,
                    "video" if video else "image",
                ),
                round(float(generator.uniform(-5, 60)), 3) if video else None,
                (1.5, 2.0, 30.1 + place, 40.0),
                f"{place}-{track}" if followed else None,
                None,
                vector,
                f"label '{track}\"" if followed and track < 3 else None,
            )
        )
    return patches


@pytest.fixture
def random_patches():
    return draw_patches
