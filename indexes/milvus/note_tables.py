"""Sources and inputs of an index in Milvus as SQL tables, so that SQL decides what a pattern is.

The same patterns then name the same sources as in a folder, and no text goes to Milvus.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from indexes.milvus.notes import INPUT, SOURCE, Notes


@contextmanager
def note_tables(notes: Notes) -> Iterator[sqlite3.Connection]:
    """Tables `sources` and `inputs`, and a row of `patches` for each source."""
    with closing(sqlite3.connect("")) as tables:  # in a file of its own where it grows large
        tables.execute("CREATE TABLE sources (id INTEGER PRIMARY KEY, path, sha256, camera)")
        tables.execute("CREATE TABLE inputs (id INTEGER PRIMARY KEY, path, sha256)")
        tables.execute("CREATE TABLE patches (source INTEGER)")
        sources = ((note.number, note.described) for note in notes.of_kind(SOURCE))
        tables.executemany(
            "INSERT INTO sources VALUES (?, ?, ?, ?)",
            ((key, text["path"], text["sha256"], text["camera"]) for key, text in sources),
        )
        inputs = ((note.number, note.described) for note in notes.of_kind(INPUT))
        tables.executemany(
            "INSERT INTO inputs VALUES (?, ?, ?)",
            ((key, text["path"], text["sha256"]) for key, text in inputs),
        )
        tables.execute("INSERT INTO patches SELECT id FROM sources")
        yield tables
