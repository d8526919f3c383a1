"""The catalog as its one writer sees it: what a build, a removal or a merge changes."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.catalog.model_check import check_same_model, read_card, write_card
from indexes.catalog.patch_rows import PatchRows, identity, scratch_table
from indexes.catalog.schema import (
    FILE_NAME,
    SCHEMA,
    WHOLE_INPUTS,
    catalog_errors,
    connect_to_write,
    version_of,
)
from indexes.catalog.segment_table import read_segments
from indexes.catalog.sums import SUMS
from indexes.records import Segment
from indexes.sources import IndexPatch, Source, printable
from indexes.stores import NewRow
from toolkit.model_card import ModelCard

_TABLES = (
    "labels",
    "label_batches",
    "thumbnails",
    "sums",
    "tombstones",
    "patches",
    "shared",
    "inputs",
    "sources",
    "tracks",
    "segments",
    "meta",
)


class Catalog:
    """The catalog inside a transaction; nothing is visible to readers before `commit`."""

    def __init__(self, connection: sqlite3.Connection, index: Path) -> None:
        self.connection = connection
        self.index = index
        self._path = index / FILE_NAME
        self._patches = PatchRows(connection)
        self._reading = 0  # the input that was begun last in this transaction

    def begin(self) -> None:
        """Start a transaction; a catalog that has no tables yet gets them in it."""
        self._patches.begin()
        self.connection.execute("BEGIN IMMEDIATE")
        if version_of(self.connection, self._path) == 0:
            for statement in SCHEMA.split(";"):
                self.connection.execute(statement)
        self.connection.execute(SUMS)

    def use_model(self, card: ModelCard, *, overwrite: bool) -> None:
        """Bind the index to the model. Raises MismatchError where it belongs to another.

        With `overwrite` everything in it is removed, in the same transaction.
        """
        if overwrite:
            for table in _TABLES:
                self.connection.execute(f"DELETE FROM {table}")
            self._patches.forget_ids()
        if self.connection.execute("SELECT 1 FROM meta").fetchone() is None:
            write_card(self.connection, card)
        else:
            check_same_model(self.index, self.card(), card)

    def card(self) -> ModelCard:
        """The model of the index. Raises MismatchError where the catalog is damaged."""
        return read_card(self.connection, self.index)

    def commit(self) -> None:
        """Make the change visible: the moment of truth."""
        self.connection.execute("COMMIT")

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Undo what the block changed where it raises, and keep the rest of the transaction."""
        self.connection.execute("SAVEPOINT step")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK TO step")
            self._patches.forget_ids()
            raise
        self.connection.execute("RELEASE step")

    def is_empty(self) -> bool:
        """True where there is no patch at all."""
        return self.connection.execute("SELECT 1 FROM patches").fetchone() is None

    def count(self) -> int:
        """The number of patches."""
        return int(self.connection.execute("SELECT count(*) FROM patches").fetchone()[0])

    # Inputs

    def has_input(self, source: Source, sha256: str) -> bool:
        """True where the same bytes were read in the same way before, and all is there still."""
        query = "SELECT 1 FROM inputs WHERE sha256 = ? AND kind = ? AND reading = ? AND whole"
        row = (sha256, source.kind, source.reading)
        return self.connection.execute(query, row).fetchone() is not None

    def add_input(self, source: Source, sha256: str) -> int:
        """Note that a source is being read; its id."""
        content = (sha256, source.kind, source.reading)
        query = "SELECT id FROM inputs WHERE sha256 = ? AND kind = ? AND reading = ? AND NOT whole"
        self._patches.begin_input([key for (key,) in self.connection.execute(query, content)])
        insert = "INSERT INTO inputs (path, sha256, kind, reading) VALUES (?, ?, ?, ?)"
        row = (printable(source.path), *content)
        self._reading = int(self.connection.execute(insert, row).lastrowid or 0)
        return self._reading

    def last_input(self) -> int:
        """The id of the source that was noted last; 0 for none."""
        query = "SELECT coalesce(max(id), 0) FROM inputs"
        return int(self.connection.execute(query).fetchone()[0])

    def inputs(self) -> Iterator[tuple[str, str, str]]:
        """Path, kind and reading of what was read, and is there as a whole."""
        yield from self.connection.execute(WHOLE_INPUTS)

    def drop_inputs_after(self, input_id: int) -> None:
        """Take the sources noted after this one, and all that came from them, out again."""
        self.delete_patches("input > ?", (input_id,))
        self._patches.drop_labels_after(input_id)
        self.connection.execute("DELETE FROM inputs WHERE id > ?", (input_id,))

    def forget_inputs(self, sources: Sequence[tuple[int, str]]) -> list[tuple[str, bool]]:
        """Have what brought these sources (id, identity) in read again by the next build.

        Call it before their patches are deleted. The path of each such input, and whether
        it keeps patches of other sources.
        """
        run = self.connection.execute
        with scratch_table(self.connection, "gone", "id INTEGER PRIMARY KEY, identity TEXT"):
            self.connection.executemany("INSERT INTO temp.gone VALUES (?, ?)", sources)
            touched = run(
                "SELECT input FROM patches WHERE source IN (SELECT id FROM temp.gone) "
                "UNION SELECT input FROM shared "
                "WHERE identity IN (SELECT identity FROM temp.gone) ORDER BY 1"
            ).fetchall()
            forgotten = []
            for (key,) in touched:
                path = run("SELECT path FROM inputs WHERE id = ?", (key,)).fetchone()[0]
                keeps = run(
                    "SELECT 1 FROM patches WHERE input = ? "
                    "AND source NOT IN (SELECT id FROM temp.gone) LIMIT 1",
                    (key,),
                ).fetchone()
                run("UPDATE inputs SET whole = 0 WHERE id = ?", (key,))
                forgotten.append((str(path), keeps is not None))
        return forgotten

    def remove_sources(
        self, sources: Sequence[tuple[int, str]]
    ) -> tuple[NDArray[np.int64], list[tuple[str, bool]]]:
        """Delete sources (id, identity) with all that came from them.

        The ids of their patches, which stay as tombstones, and what `forget_inputs` gives.
        """
        touched = self.forget_inputs(sources)
        ids = json.dumps([key for key, _ in sources])
        gone = self.delete_patches("source IN (SELECT value FROM json_each(?))", (ids,))
        self.bury(gone)
        self.drop_empty_inputs()
        return gone, touched

    def drop_empty_inputs(self) -> None:
        """Delete the inputs that were to be read again and have no patch any more."""
        self.connection.execute(
            "DELETE FROM inputs WHERE NOT whole "
            "AND NOT EXISTS (SELECT 1 FROM patches WHERE input = inputs.id)"
        )

    # Patches

    @property
    def reads_again(self) -> bool:
        """True where the input that is being read was read before, and lost a source."""
        return bool(self._patches.twins)

    def holds(self, patch: IndexPatch) -> bool:
        """True where the same sighting of the same track is there already.

        So is a patch of a source that was not removed, where the input that it was in is
        read once more because another one was.
        """
        return self._patches.holds(patch)

    def note_left_out(self, patch: IndexPatch) -> None:
        """Note that the input that is being read has a sighting that is there already."""
        self.connection.execute(
            "INSERT OR IGNORE INTO shared VALUES (?, ?)", (self._reading, identity(patch.origin))
        )

    def add_patches(self, rows: Sequence[NewRow]) -> NDArray[np.int64]:
        """Put patches down; int64 (N, 2): the id and the thing of each."""
        return self._patches.add(rows)

    def delete_patches(self, where: str, values: Sequence[object]) -> NDArray[np.int64]:
        """Delete the patches that an SQL condition names, and what hangs on them; their ids.

        Thumbnails and labels go with them, and so do sources and tracks that have none left.
        """
        return self._patches.delete(where, values)

    def bury(self, patches: NDArray[np.int64]) -> None:
        """Note that rows of segments stand for patches that are there no more."""
        self.connection.executemany(
            "INSERT OR IGNORE INTO tombstones VALUES (?)", ((key,) for key in patches.tolist())
        )

    def tombstones(self) -> NDArray[np.int64]:
        """The ids of removed patches that are still in a segment, ascending."""
        found = self.connection.execute("SELECT patch FROM tombstones ORDER BY patch")
        return np.fromiter((key for (key,) in found), np.int64)

    def forget_tombstones(self, patches: NDArray[np.int64]) -> None:
        """Rows of these patches are in no segment any more."""
        self.connection.executemany(
            "DELETE FROM tombstones WHERE patch = ?", ((key,) for key in patches.tolist())
        )

    # Segments

    def segments(self) -> list[Segment]:
        """The segments that belong to the index, in the order of their patches."""
        return read_segments(self.connection, self._path)

    def add_segment(self, segment: Segment) -> None:
        """Put down a segment whose files are on the disk."""
        self._insert_segment(None, segment)

    def replace_segments(self, old: Sequence[Segment], new: Segment | None) -> None:
        """Put one segment, or none, in the place of others: of the same living patches.

        It stands where the first of them stood.
        """
        stems = [segment.stem for segment in old]
        marks = ",".join("?" * len(stems))
        query = f"SELECT min(id) FROM segments WHERE stem IN ({marks})"
        place = self.connection.execute(query, stems).fetchone()[0]
        self.connection.execute(f"DELETE FROM segments WHERE stem IN ({marks})", stems)
        if new is not None:
            self._insert_segment(place, new)

    def _insert_segment(self, key: int | None, segment: Segment) -> None:
        files = {suffix: asdict(mark) for suffix, mark in segment.files.items()}
        self.connection.execute(
            "INSERT INTO segments (id, stem, vectors, kind, key, settings, files) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                key,
                segment.stem,
                segment.vectors,
                segment.kind,
                segment.key,
                json.dumps(dict(segment.settings), sort_keys=True),
                json.dumps(files, sort_keys=True),
            ),
        )

    # Words about the whole index

    def set_meta(self, key: str, value: str) -> None:
        """Keep a word about the whole index."""
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def meta(self, key: str) -> str | None:
        """What was kept under this name."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    # The file

    def give_back_space(self) -> None:
        """Outside a transaction: make the file as small as what is in it."""
        # As a script: a single statement would free one page only.
        self.connection.executescript("PRAGMA incremental_vacuum")
        # While somebody reads, the log keeps what it has, until one after him empties it.
        self.connection.execute("PRAGMA busy_timeout = 0")
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def writing_catalog(index: Path) -> Iterator[Catalog]:
    """Open the catalog of an index, or make it; what was not committed is rolled back.

    Raises StorageError where it cannot be written, MismatchError where it is damaged or of
    another version.
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
