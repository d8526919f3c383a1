"""The catalog as its one writer sees it: every statement that changes it is here."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from indexes.model_check import check_same_model, read_card, write_card
from indexes.schema import FILE_NAME, SCHEMA, catalog_errors, connect_to_write, version_of
from indexes.sources import IndexPatch, Origin, Source, printable
from indexes.vectors import Segment
from toolkit.model_card import ModelCard


class Catalog:
    """The catalog inside a transaction; nothing is visible to readers before `commit`."""

    def __init__(self, connection: sqlite3.Connection, index: Path) -> None:
        self._connection = connection
        self._path = index / FILE_NAME
        self._index = index

    def begin(self) -> None:
        """Start a transaction; a catalog that has no tables yet gets them in it."""
        self._connection.execute("BEGIN IMMEDIATE")
        if version_of(self._connection, self._path) == 0:
            for statement in SCHEMA.split(";"):
                self._connection.execute(statement)

    def use_model(self, card: ModelCard, *, overwrite: bool) -> None:
        """Bind the index to the model. Raises MismatchError where it belongs to another.

        With `overwrite` everything in it is removed, in the same transaction.
        """
        if overwrite:
            for table in ("thumbnails", "patches", "inputs", "sources", "segments", "meta"):
                self._connection.execute(f"DELETE FROM {table}")
        if self._connection.execute("SELECT 1 FROM meta").fetchone() is None:
            write_card(self._connection, card)
        else:
            check_same_model(self._index, read_card(self._connection, self._index), card)

    def commit(self) -> None:
        """Make the change visible: the moment of truth."""
        self._connection.execute("COMMIT")

    def is_open(self) -> bool:
        """True inside a transaction: from `begin` to `commit`."""
        return self._connection.in_transaction

    def segment_files(self) -> set[str]:
        """The files that belong to the index."""
        return {file for (file,) in self._connection.execute("SELECT file FROM segments")}

    def is_empty(self) -> bool:
        """True where there is no patch at all."""
        return self._connection.execute("SELECT 1 FROM patches").fetchone() is None

    def has_input(self, source: Source, sha256: str) -> bool:
        """True where the same bytes were read in the same way before."""
        query = "SELECT 1 FROM inputs WHERE sha256 = ? AND kind = ?"
        return self._connection.execute(query, (sha256, source.kind)).fetchone() is not None

    def add_input(self, source: Source, sha256: str) -> int:
        """Note that a source is being read; its id."""
        insert = "INSERT INTO inputs (path, sha256, kind) VALUES (?, ?, ?)"
        row = (printable(source.path), sha256, source.kind)
        return int(self._connection.execute(insert, row).lastrowid or 0)

    def last_input(self) -> int:
        """The id of the source that was noted last; 0 for none."""
        query = "SELECT coalesce(max(id), 0) FROM inputs"
        return int(self._connection.execute(query).fetchone()[0])

    def drop_inputs_after(self, input_id: int) -> None:
        """Take the sources noted after this one, and all that came from them, out again."""
        self._connection.execute("DELETE FROM inputs WHERE id > ?", (input_id,))
        self._connection.execute(
            "DELETE FROM sources WHERE NOT EXISTS "
            "(SELECT 1 FROM patches WHERE patches.source = sources.id)"
        )

    def source_id(self, origin: Origin) -> int:
        """The id of an image or video, which is put down where it is new."""
        self._connection.execute(
            "INSERT INTO sources (path, sha256, kind, camera) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (origin.path, origin.sha256, origin.kind, origin.camera),
        )
        query = "SELECT id FROM sources WHERE sha256 = ? AND kind = ?"
        return int(self._connection.execute(query, (origin.sha256, origin.kind)).fetchone()[0])

    def holds(self, patch: IndexPatch) -> bool:
        """True where the same sighting of the same track is there already."""
        query = (
            "SELECT 1 FROM patches JOIN sources ON sources.id = patches.source "
            "WHERE sources.sha256 = ? AND sources.kind = ? AND track = ? AND time_s = ?"
        )
        row = (patch.origin.sha256, patch.origin.kind, patch.track, patch.time_s)
        return self._connection.execute(query, row).fetchone() is not None

    def next_segment(self) -> int:
        """An id for the segment that is being filled."""
        query = "SELECT coalesce(max(id), 0) + 1 FROM segments"
        return int(self._connection.execute(query).fetchone()[0])

    def add_segment(self, segment_id: int, segment: Segment) -> None:
        """Put down a segment whose file is on the disk; again after an interrupt."""
        self._connection.execute(
            "INSERT OR REPLACE INTO segments (id, file, sha256, vectors, kind) "
            "VALUES (?, ?, ?, ?, ?)",
            (segment_id, segment.file, segment.sha256, segment.vectors, segment.kind),
        )

    def add_patch(
        self, patch: IndexPatch, thumbnail: bytes, input_id: int, place: tuple[int, int]
    ) -> None:
        """Put down a patch whose vector is to stand at `place`, (segment id, row)."""
        box = patch.box.rounded().as_list()
        row = (input_id, self.source_id(patch.origin), *place, patch.time_s, *box, patch.track)
        added = self._connection.execute(
            "INSERT INTO patches (input, source, segment, row, time_s, x0, y0, x1, y1, track) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        insert = "INSERT INTO thumbnails (patch, jpeg) VALUES (?, ?)"
        self._connection.execute(insert, (added.lastrowid, thumbnail))


@contextmanager
def writing_catalog(index: Path) -> Iterator[Catalog]:
    """Open the catalog of an index, or make it; what was not committed is rolled back.

    Raises StorageError where it cannot be written, MismatchError where it is damaged or of
    a newer version.
    """
    path = index / FILE_NAME
    with catalog_errors(path):
        connection = connect_to_write(index)
        try:
            yield Catalog(connection, index)
        finally:
            blank = _roll_back(connection, path)
            connection.close()
            if blank:
                path.unlink()


def _roll_back(connection: sqlite3.Connection, path: Path) -> bool:
    """Undo what is open; True where nothing was ever committed."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    return version_of(connection, path) == 0
