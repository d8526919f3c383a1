"""The catalog as a reader sees it: one snapshot, whatever a writer does meanwhile."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.catalog.filters import condition
from indexes.catalog.model_check import read_card
from indexes.catalog.place_check import check_place, check_thumbnail
from indexes.catalog.schema import FILE_NAME, LABEL, WHOLE_INPUTS, catalog_errors, connect_to_read
from indexes.catalog.segment_table import read_segments
from indexes.records import Filter, Place, Segment
from toolkit.model_card import ModelCard

_AT_ONCE = 500  # ids in one statement; SQLite takes no more than some thousands

_PLACES = """
SELECT patches.id, sources.path, sources.id, time_s, x0, y0, x1, y1, tracks.name, {label},
       sources.camera, sources.sha256
FROM patches JOIN sources ON sources.id = patches.source
LEFT JOIN tracks ON tracks.id = patches.track
WHERE patches.id IN
"""
# The system keeps the file in its own cache. A larger one here was no faster, and a search of a
# million patches filled 15 MB of it.
_CACHE_KIB = 4096


class CatalogReader:
    """An index's catalog, read-only. Raises InputError where there is none."""

    def __init__(self, index: Path) -> None:
        self.index = index
        self._path = index / FILE_NAME
        self.connection: sqlite3.Connection = connect_to_read(index)
        self._labelled: bool | None = None
        try:
            with catalog_errors(self._path):
                self.connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                self.connection.execute("BEGIN")  # the snapshot starts with the first SELECT
                self.card: ModelCard = read_card(self.connection, index)
                self.segments: list[Segment] = read_segments(self.connection, self._path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the snapshot up."""
        self.connection.close()

    def rows(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Run a SELECT. Raises MismatchError or StorageError for what SQLite complains of."""
        with catalog_errors(self._path):
            yield from self.connection.execute(query, values)

    def count(self) -> int:
        """The number of patches."""
        return int(self._one("SELECT count(*) FROM patches"))

    def meta(self, key: str) -> str | None:
        """A word about the whole index that its writer kept."""
        found = list(self.rows("SELECT value FROM meta WHERE key = ?", (key,)))
        return str(found[0][0]) if found else None

    def inputs(self) -> Iterator[tuple[str, str, str]]:
        """Path, kind and reading of what was read, and is there as a whole."""
        yield from self.rows(WHOLE_INPUTS)

    def tombstones(self) -> NDArray[np.int64]:
        """The ids of removed patches that are still in a segment, ascending."""
        return self._ids("SELECT patch FROM tombstones ORDER BY patch", ())

    def allowed(self, only: Filter) -> NDArray[np.int64]:
        """The ids of the patches that pass a filter, ascending."""
        where, values = condition(only)
        return self._ids(f"SELECT id FROM patches WHERE {where} ORDER BY id", values)

    def places(self, patches: Sequence[int]) -> dict[int, Place]:
        """What is known of patches, by id; of those that are there."""
        found: dict[int, Place] = {}
        query = self._place_query()
        for row in self._in_parts(query, patches):
            key, path, source, time_s, x0, y0, x1, y1, track, label, camera, sha256 = row
            box = (x0, y0, x1, y1)
            check_place(self._path, key, path, time_s, box)
            found[key] = Place(key, path, source, time_s, box, track, label, camera, sha256)
        return found

    def same_track(self, patch: int) -> list[int]:
        """The patches of its track by source and time; alone without one, none if unknown."""
        query = (
            "SELECT id FROM patches WHERE id = ?1 OR track = "
            "(SELECT track FROM patches WHERE id = ?1) ORDER BY source, time_s, id"
        )
        return [key for (key,) in self.rows(query, (patch,))]

    def thumbnails(self, patches: Sequence[int]) -> dict[int, bytes]:
        """The small JPEGs of patches, by id; of those that have one."""
        query = "SELECT patch, jpeg FROM thumbnails WHERE patch IN "
        found = dict(self._in_parts(query, patches))
        for key, jpeg in found.items():
            check_thumbnail(self._path, key, jpeg)
        return found

    def size_bytes(self) -> int:
        """Bytes of the catalog's file."""
        return self._path.stat().st_size

    def _place_query(self) -> str:
        # Most indexes have no labels, and this snapshot never gets any.
        if self._labelled is None:
            self._labelled = bool(self._one("SELECT EXISTS (SELECT 1 FROM labels)"))
        return _PLACES.format(label=LABEL if self._labelled else "NULL")

    def _one(self, query: str) -> Any:
        return next(iter(self.rows(query)))[0]

    def _ids(self, query: str, values: Sequence[object]) -> NDArray[np.int64]:
        return np.fromiter((key for (key,) in self.rows(query, values)), np.int64)

    def _in_parts(self, query: str, ids: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(ids), _AT_ONCE):
            part = [int(key) for key in ids[start : start + _AT_ONCE]]
            with catalog_errors(self._path):
                found = self.connection.execute(f"{query} ({','.join('?' * len(part))})", part)
                rows = found.fetchall()
            yield from rows
