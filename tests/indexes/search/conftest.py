"""Small random indexes whose every row is known to the test."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from indexes.folder.sink import folder_sink
from indexes.sources import IndexPatch, Origin, Source
from indexes.stores import NewRow
from toolkit.model_card import ModelCard
from toolkit.preprocess import Preprocessing

DIM = 8
CARD = ModelCard("fake", DIM, Preprocessing(32, 32), "f" * 64, {})


@dataclass
class Known:
    """A patch as the test knows it; `thing` is its track, or itself."""

    id: int
    vector: np.ndarray
    source: str
    camera: str | None
    time_s: float | None
    track: str | None
    label: str | None = None

    @property
    def thing(self) -> object:
        return self.id if self.track is None else self.track


@dataclass
class Store:
    """An index in a folder, and what is in it."""

    path: Path
    patches: list[Known] = field(default_factory=list)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def make_store(folder: Path, seed: int, count: int, segments: int = 1) -> Store:
    """Patches of some cameras and tracks; every seventh is a copy of one before it."""
    draw = np.random.default_rng(seed)
    vectors = unit(draw.standard_normal((count, DIM)))
    for row in range(7, count, 7):
        vectors[row] = vectors[draw.integers(row)]
    store = Store(folder)
    with folder_sink(folder, CARD, overwrite=False) as sink:
        for part, rows in enumerate(np.array_split(np.arange(count), segments)):
            number = sink.begin_input(
                Source(Path(f"in{part}.tar"), "shard", "pairs"), f"{part:064}"
            )
            known = [_patch(draw, int(row), vectors[row]) for row in rows]
            sink.add([NewRow(_as_patch(k), k.vector, None, number) for k in known])
            store.patches += known
            sink.commit()
    _label(folder, draw, store)
    return store


def _patch(draw: np.random.Generator, row: int, vector: np.ndarray) -> Known:
    camera = [None, "north", "south"][draw.integers(3)]
    if draw.random() < 0.3:
        name = f"album/[{draw.integers(3)}].png"
        return Known(row + 1, vector, name, camera, None, None)
    video = int(draw.integers(3))
    time_s = round(float(draw.uniform(0, 60)), 2)
    track = f"v{video}-{draw.integers(6)}" if draw.random() < 0.8 else None
    return Known(row + 1, vector, f"clips/v{video}.mp4", f"cam{video}", time_s, track)


def _as_patch(known: Known) -> IndexPatch:
    kind = "image" if known.time_s is None else "video"
    identity = f"{known.source} {known.camera}".encode().hex().ljust(64, "0")[:64]
    origin = Origin(known.source, identity, kind, known.camera)
    box = (0.0, 0.0, 9.0, 9.0 + known.id)
    return IndexPatch(origin, known.time_s, box, known.track, None, known.vector)


def _label(folder: Path, draw: np.random.Generator, store: Store) -> None:
    """Two labels for some things; what was given counts more than what was spread later."""
    connection = sqlite3.connect(folder / "catalog.sqlite")
    connection.execute("INSERT INTO label_batches (id, made_s, kind, settings) VALUES (1,0,'t','')")
    tracks = dict(connection.execute("SELECT name, id FROM tracks"))
    insert = (
        "INSERT INTO labels (batch, track, patch, label, origin, confidence) VALUES (1,?,?,?,?,1)"
    )
    for thing in dict.fromkeys(patch.thing for patch in store.patches):
        if draw.random() < 0.5:
            continue
        label = ["cat", "dog"][draw.integers(2)]
        where = (tracks[thing], None) if isinstance(thing, str) else (None, thing)
        connection.execute(insert, (*where, label, "given"))
        connection.execute(insert, (*where, "mouse", "spread"))
        for patch in store.patches:
            if patch.thing == thing:
                patch.label = label
    connection.commit()
    connection.close()


@pytest.fixture(scope="session")
def store_of(tmp_path_factory) -> Callable[..., Store]:
    """store_of(seed, count, segments): the same arguments give the same index."""
    made: dict[tuple[int, ...], Store] = {}

    def get(seed: int, count: int, segments: int = 1) -> Store:
        key = seed, count, segments
        if key not in made:
            folder = tmp_path_factory.mktemp("store") / "index"
            made[key] = make_store(folder, *key)
        return made[key]

    return get
