"""Patches in the catalog, with what hangs on them: sources, tracks, thumbnails, labels."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from indexes.catalog.sums import PUT_SUM, row_sum
from indexes.sources import IndexPatch, Origin
from indexes.stores import NewRow

_Key = TypeVar("_Key")
_Known = TypeVar("_Known")

_REMEMBERED = 20_000  # ids of sources and of tracks each: memory does not grow with the index

_AT_ONCE = 32  # rows in one statement: half the time of one each
_FEW = 1000  # sightings of a track that are kept in memory

_PATCH = "INSERT INTO patches (id, input, source, track, time_s, x0, y0, x1, y1) VALUES "
_VALUES = "(?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LABEL = (
    "INSERT INTO labels (batch, track, patch, label, origin, confidence) "
    "SELECT ?1, ?2, ?3, ?4, 'given', 1.0 WHERE ?2 IS NULL OR NOT EXISTS "
    "(SELECT 1 FROM labels WHERE track = ?2 AND batch = ?1 AND label = ?4)"
)


class PatchRows:
    """Puts patches down and takes them out, inside somebody else's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._source_ids: dict[tuple[str, str], int] = {}
        self._track_ids: dict[str, int] = {}
        # The track that was asked for last, and its sightings: identity, kind, time.
        self._seen: tuple[str, frozenset[tuple[object, ...]]] | None = None
        self.twins: tuple[int, ...] = ()
        self._in_twins: dict[tuple[str, str], bool] = {}  # whether they have a source
        self._label_batch: int | None = None  # of this transaction
        self._first_labels: dict[int, int] = {}  # input -> its first label

    def begin(self) -> None:
        """A transaction starts: nothing that another one knew counts."""
        self.forget_ids()
        self._label_batch = None
        self._first_labels = {}

    def forget_ids(self) -> None:
        """What was rolled back or deleted must not be remembered."""
        self._seen = None
        self._source_ids.clear()
        self._track_ids.clear()

    def begin_input(self, twins: Sequence[int]) -> None:
        """An input is read from here on.

        twins: inputs of the same bytes that lost a source; any other that they have of these
        bytes they have whole.
        """
        self.twins = tuple(twins)
        self._in_twins = {}

    def holds(self, patch: IndexPatch) -> bool:
        """True where the same sighting of the same track is there already, or a twin has it."""
        if patch.track is not None:
            return self._holds_sighting(patch, patch.track)
        return bool(self.twins) and self._is_in_a_twin((identity(patch.origin), patch.origin.kind))

    def _is_in_a_twin(self, source: tuple[str, str]) -> bool:
        known = self._in_twins.get(source)
        if known is None:
            # The sign keeps SQLite from the index of inputs, each of which may have millions.
            query = (
                "SELECT 1 FROM sources JOIN patches ON patches.source = sources.id "
                "WHERE sources.identity = ? AND sources.kind = ? "
                f"AND +patches.input IN ({','.join('?' * len(self.twins))}) LIMIT 1"
            )
            found = self.connection.execute(query, (*source, *self.twins)).fetchone()
            known = found is not None
            _remember(self._in_twins, source, known)
        return known

    def _holds_sighting(self, patch: IndexPatch, track: str) -> bool:
        # Patches of one track come one after the other, so one query does for many.
        if self._seen is None or self._seen[0] != track:
            found = self.connection.execute(
                "SELECT sources.identity, sources.kind, time_s FROM tracks "
                "JOIN patches ON patches.track = tracks.id "
                "JOIN sources ON sources.id = patches.source WHERE tracks.name = ? LIMIT ?",
                (track, _FEW),
            )
            self._seen = (track, frozenset(found.fetchall()))
        sighting = (identity(patch.origin), patch.origin.kind, patch.time_s)
        if sighting in self._seen[1] or len(self._seen[1]) < _FEW:
            return sighting in self._seen[1]
        query = (
            "SELECT 1 FROM tracks JOIN patches ON patches.track = tracks.id "
            "JOIN sources ON sources.id = patches.source "
            "WHERE tracks.name = ? AND sources.identity = ? AND sources.kind = ? AND time_s IS ?"
        )
        return self.connection.execute(query, (track, *sighting)).fetchone() is not None

    def add(self, rows: Sequence[NewRow]) -> NDArray[np.int64]:
        """Put patches down; int64 (N, 2): the id and the thing of each."""
        first = self._last_patch() + 1
        ids = range(first, first + len(rows))
        tracks = [None if r.patch.track is None else self._track_id(r.patch.track) for r in rows]
        values = list(self._patch_values(ids, rows, tracks))
        self._insert(_PATCH, _VALUES, values)
        summed = zip(ids, values, rows, strict=True)
        sums = [(key, row_sum(value, row.thumbnail)) for key, value, row in summed]
        self._insert(PUT_SUM, "(?, ?)", sums)
        self._seen = None
        self.connection.executemany(
            "INSERT INTO thumbnails (patch, jpeg) VALUES (?, ?)",
            (
                (key, row.thumbnail)
                for key, row in zip(ids, rows, strict=True)
                if row.thumbnail is not None
            ),
        )
        labelled = [
            (track, key, row)
            for key, track, row in zip(ids, tracks, rows, strict=True)
            if row.patch.label is not None
        ]
        if labelled:
            self._add_labels(labelled)
        added = np.empty((len(rows), 2), np.int64)
        added[:, 0] = ids
        things = zip(ids, tracks, strict=True)
        added[:, 1] = [-key if track is None else track for key, track in things]
        return added

    def delete(self, where: str, values: Sequence[object]) -> NDArray[np.int64]:
        """Delete the patches that an SQL condition names, and what hangs on them; their ids.

        Thumbnails and labels go with them, and so do sources and tracks that have none left.
        """
        run = self.connection.execute
        columns = "id INTEGER PRIMARY KEY, source INTEGER, track INTEGER"
        with scratch_table(self.connection, "going", columns):
            run(
                "INSERT INTO temp.going SELECT id, source, track FROM patches "
                f"WHERE {where} ORDER BY id",
                values,
            )
            chosen = run("SELECT id FROM temp.going ORDER BY id")
            ids = np.fromiter((key for (key,) in chosen), np.int64)
            run("DELETE FROM patches WHERE id IN (SELECT id FROM temp.going)")
            for table, column in (("sources", "source"), ("tracks", "track")):
                run(
                    f"DELETE FROM {table} WHERE id IN (SELECT {column} FROM temp.going) "
                    f"AND NOT EXISTS (SELECT 1 FROM patches WHERE {column} = {table}.id)"
                )
        self.forget_ids()
        return ids

    def drop_labels_after(self, number: int) -> None:
        """Take out the labels that came with the inputs after this one."""
        dropped = [first for key, first in self._first_labels.items() if key > number]
        if dropped:
            self.connection.execute(
                "DELETE FROM labels WHERE batch = ? AND id >= ?",
                (self._label_batch, min(dropped)),
            )
        self._first_labels = {k: v for k, v in self._first_labels.items() if k <= number}

    def _insert(self, into: str, marks: str, values: Sequence[tuple[object, ...]]) -> None:
        whole = len(values) - len(values) % _AT_ONCE
        self.connection.executemany(
            into + ", ".join([marks] * _AT_ONCE),
            (
                tuple(chain.from_iterable(values[start : start + _AT_ONCE]))
                for start in range(0, whole, _AT_ONCE)
            ),
        )
        self.connection.executemany(into + marks, values[whole:])

    def _patch_values(
        self, ids: Sequence[int], rows: Sequence[NewRow], tracks: Sequence[int | None]
    ) -> Iterator[tuple[object, ...]]:
        origin: Origin | None = None
        source = 0
        for key, row, track in zip(ids, rows, tracks, strict=True):
            patch = row.patch
            if patch.origin is not origin:
                origin = patch.origin
                source = self._source_id(origin)
            yield (key, row.input, source, track, patch.time_s, *patch.box)

    def _add_labels(self, labelled: Sequence[tuple[int | None, int, NewRow]]) -> None:
        if self._label_batch is None:
            made = self.connection.execute(
                "INSERT INTO label_batches (made_s, kind, settings) VALUES (?, 'source', '{}')",
                (time.time(),),
            )
            self._label_batch = int(made.lastrowid or 0)
        for track, key, row in labelled:
            patch = key if track is None else None
            values = (self._label_batch, track, patch, row.patch.label)
            put = self.connection.execute(_LABEL, values)
            if put.rowcount == 1:
                self._first_labels.setdefault(row.input, int(put.lastrowid or 0))

    def _last_patch(self) -> int:
        query = "SELECT seq FROM sqlite_sequence WHERE name = 'patches'"
        row = self.connection.execute(query).fetchone()
        return 0 if row is None else int(row[0])

    def _source_id(self, origin: Origin) -> int:
        key = (identity(origin), origin.kind)
        known = self._source_ids.get(key)
        if known is None:
            values = (origin.path, origin.sha256, *key, origin.camera)
            insert = (
                "INSERT INTO sources (path, sha256, identity, kind, camera) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
            )
            known = self._id_of(
                insert, values, "SELECT id FROM sources WHERE identity = ? AND kind = ?", key
            )
            _remember(self._source_ids, key, known)
        return known

    def _track_id(self, name: str) -> int:
        known = self._track_ids.get(name)
        if known is None:
            insert = "INSERT INTO tracks (name) VALUES (?) ON CONFLICT DO NOTHING"
            known = self._id_of(insert, (name,), "SELECT id FROM tracks WHERE name = ?", (name,))
            _remember(self._track_ids, name, known)
        return known

    def _id_of(
        self, insert: str, values: Sequence[object], select: str, key: Sequence[object]
    ) -> int:
        put = self.connection.execute(insert, values)
        if put.rowcount == 1:
            return int(put.lastrowid or 0)
        return int(self.connection.execute(select, key).fetchone()[0])


@contextmanager
def scratch_table(connection: sqlite3.Connection, name: str, columns: str) -> Iterator[None]:
    """A table in memory for the length of the block; one that a Ctrl-C left is replaced."""
    connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
    connection.execute(f"CREATE TEMP TABLE {name} ({columns})")
    try:
        yield
    finally:
        # An error may have ended the transaction, and the table with it.
        connection.execute(f"DROP TABLE IF EXISTS temp.{name}")


def _remember(known: dict[_Key, _Known], key: _Key, what: _Known) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[key] = what


def identity(origin: Origin) -> str:
    """What tells one image or video from another: its content, else its path."""
    return origin.sha256 if origin.sha256 is not None else f"path:{origin.path}"
