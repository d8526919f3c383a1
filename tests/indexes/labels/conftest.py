"""Small indexes of chosen vectors, sources and tracks, without any network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from indexes.folder.sink import folder_sink
from indexes.sources import IndexPatch, Origin, Source
from indexes.stores import NewRow
from toolkit.model_card import ModelCard
from toolkit.preprocess import Preprocessing

DIM = 8
CARD = ModelCard("chosen", DIM, Preprocessing(32, 32), "f" * 64, {})


@dataclass(frozen=True)
class Seen:
    """A patch to put in; a `.png` is an image, all else a video."""

    vector: np.ndarray
    track: str | None = None
    source: str = "clips/street.mp4"
    time_s: float | None = None
    box: tuple[float, float, float, float] = (0.0, 0.0, 10.0, 10.0)
    thumbnail: bytes | None = None
    sha256: str | None = None

    def row(self, number: int) -> NewRow:
        kind = "image" if self.source.endswith(".png") else "video"
        origin = Origin(self.source, self.sha256, kind, None)
        patch = IndexPatch(origin, self.time_s, self.box, self.track, None)
        vector = np.asarray(self.vector, np.float32)
        return NewRow(patch, vector / np.linalg.norm(vector), self.thumbnail, number)


def put(index: Path, seen: Sequence[Seen], name: str = "made") -> Path:
    """Add patches in one commit; ids follow their order."""
    with folder_sink(index, CARD, overwrite=False) as sink:
        number = sink.begin_input(Source(Path(name), "table"), name)
        sink.add([one.row(number) for one in seen])
        sink.commit()
    return index


def cluster(centre: int, count: int, seed: int = 0, spread: float = 0.15) -> list[np.ndarray]:
    """Vectors around an axis."""
    random = np.random.default_rng((centre, seed))
    return list(np.eye(DIM)[centre] + spread * random.standard_normal((count, DIM)))


@pytest.fixture
def seen() -> type[Seen]:
    return Seen


@pytest.fixture
def index(tmp_path: Path) -> Callable[..., Path]:
    """index([Seen(...), ...]) makes an index, or adds to it under another name."""

    def make(seen: Sequence[Seen], name: str = "made") -> Path:
        return put(tmp_path / "index", seen, name)

    return make


@pytest.fixture
def clusters() -> Callable[..., list[np.ndarray]]:
    return cluster


@pytest.fixture
def labels_of(rows) -> Callable[[Path], dict[int, str]]:
    """What counts, by patch id, worked out in Python from the bare tables."""

    def read(index: Path) -> dict[int, str]:
        spreads = [
            key for (key,) in rows(index, "SELECT id FROM label_batches WHERE kind='spread'")
        ]
        newest = max(spreads, default=None)
        best: dict[tuple[str, int], tuple[bool, int, str]] = {}
        query = "SELECT id, batch, track, patch, label, origin FROM labels"
        for key, batch, track, patch, label, origin in rows(index, query):
            if origin == "spread" and batch != newest:
                continue
            thing = ("track", track) if track is not None else ("patch", patch)
            best[thing] = max(best.get(thing, (False, -1, "")), (origin == "given", key, label))
        found = {}
        for patch, track in rows(index, "SELECT id, track FROM patches ORDER BY id"):
            thing = ("track", track) if track is not None else ("patch", patch)
            if thing in best:
                found[patch] = best[thing][2]
        return found

    return read


@pytest.fixture
def places_say() -> Callable[[Path], dict[int, str]]:
    """What a search would say of every patch's label."""

    def read(index: Path) -> dict[int, str]:
        from contextlib import closing

        from indexes.folder.store import open_folder

        with closing(open_folder(index)) as store:
            ids = [int(key) for segment in store.segments for key in segment.rows[:, 0]]
            places = store.places(ids)
        return {key: place.label for key, place in sorted(places.items()) if place.label}

    return read
