"""The catalog as a reader sees it: one snapshot, whatever a writer does meanwhile."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from indexes.model_check import read_card
from indexes.schema import FILE_NAME, SEGMENTS, catalog_errors, connect_to_read, damaged
from indexes.vectors import Segment, Vectors
from toolkit.errors import InputError
from toolkit.model_card import ModelCard


@dataclass(frozen=True, slots=True)
class Place:
    """Where an indexed patch comes from; box is xyxy pixels of the original picture."""

    id: int
    source: str
    source_id: int
    time_s: float | None
    box: tuple[float, float, float, float]
    track: str | None
    label: str | None


class CatalogReader:
    """An index's catalog, read-only. Raises InputError where there is none."""

    def __init__(self, index: Path) -> None:
        self.index = index
        self._path = index / FILE_NAME
        self._connection: sqlite3.Connection = connect_to_read(index)
        try:
            with catalog_errors(self._path):
                self._connection.execute("BEGIN")  # the snapshot starts with the first SELECT
                self.card: ModelCard = read_card(self._connection, index)
                self.segments: list[tuple[int, Segment]] = self._read_segments()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the snapshot up."""
        self._connection.close()

    def load_vectors(self) -> Vectors:
        """Load every segment. Raises MismatchError naming a damaged one, MissingError."""
        return Vectors(self.index / SEGMENTS, self.segments, self.card.dim)

    def count(self) -> int:
        """The number of patches."""
        with catalog_errors(self._path):
            return int(self._connection.execute("SELECT count(*) FROM patches").fetchone()[0])

    def place(self, segment: int, row: int) -> Place | None:
        """What stands at a row of a segment; None where nothing does any more."""
        query = (
            "SELECT patches.id, sources.path, sources.id, time_s, x0, y0, x1, y1, track, label "
            "FROM patches JOIN sources ON sources.id = patches.source "
            "WHERE segment = ? AND row = ?"
        )
        with catalog_errors(self._path):
            found = self._connection.execute(query, (segment, row)).fetchone()
        if found is None:
            return None
        patch, path, source, time_s, x0, y0, x1, y1, track, label = found
        return Place(patch, path, source, time_s, (x0, y0, x1, y1), track, label)

    def thumbnail(self, patch: int) -> bytes:
        """The small JPEG of a patch. Raises InputError for an id that is not there."""
        query = "SELECT jpeg FROM thumbnails WHERE patch = ?"
        with catalog_errors(self._path):
            found = self._connection.execute(query, (patch,)).fetchone()
        if found is None:
            raise InputError(f"The index {self.index} has no patch {patch}.")
        return bytes(found[0])

    def size_bytes(self) -> int:
        """Bytes of the catalog and of the segments that belong to it."""
        files = {self.index / SEGMENTS / segment.file for _, segment in self.segments}
        try:
            return sum(path.stat().st_size for path in (self._path, *files))
        except OSError as error:
            raise damaged(Path(error.filename), "it cannot be read") from error

    def _read_segments(self) -> list[tuple[int, Segment]]:
        query = "SELECT id, file, sha256, vectors, kind FROM segments ORDER BY id"
        return [(key, Segment(*row)) for key, *row in self._connection.execute(query)]
