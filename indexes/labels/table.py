"""The labels in the catalog: what counts, and batches written and taken back."""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from indexes.catalog.reader import CatalogReader
from indexes.catalog.schema import COUNTS
from indexes.folder.sink import editing
from indexes.labels.records import GIVEN, SOURCE, SPREAD, Batch, Labelling
from toolkit.errors import InputError
from toolkit.workspace import parse_json

# One row a thing that has a label: the label that counts (see indexes.catalog.schema.LABEL). Where
# max() is asked for, SQLite takes the other columns from the row that has it.
COUNTING = f"""
SELECT coalesce(track, -patch) AS thing, label, origin, confidence, batch,
       max((origin = 'given') * (1 << 62) + id)
FROM labels WHERE {COUNTS} GROUP BY track, patch
"""

# A thing that went away while labels were computed gets none.
_ADD = """
INSERT INTO labels (batch, track, patch, label, origin, confidence)
SELECT ?1, CASE WHEN ?2 > 0 THEN ?2 END, CASE WHEN ?2 < 0 THEN -?2 END, ?3, ?4, ?5
WHERE CASE WHEN ?2 > 0 THEN EXISTS (SELECT 1 FROM tracks WHERE id = ?2)
           ELSE EXISTS (SELECT 1 FROM patches WHERE id = -?2 AND track IS NULL) END
"""


def given_labels(catalog: CatalogReader) -> dict[int, str]:
    """The label of each thing that a person labelled, by thing, ascending."""
    query = f"SELECT thing, label FROM ({COUNTING}) WHERE origin = '{GIVEN}' ORDER BY thing"
    return {int(thing): str(label) for thing, label in catalog.rows(query)}


def batches(catalog: CatalogReader) -> list[Batch]:
    """Every act of labelling, the oldest first."""
    query = f"""
        SELECT label_batches.id, made_s, kind, settings, coalesce(made.labels, 0),
               coalesce(counted.labels, 0)
        FROM label_batches
        LEFT JOIN (SELECT batch, count(*) AS labels FROM labels GROUP BY batch) AS made
               ON made.batch = label_batches.id
        LEFT JOIN (SELECT batch, count(*) AS labels FROM ({COUNTING}) GROUP BY batch) AS counted
               ON counted.batch = label_batches.id
        ORDER BY label_batches.id
    """
    return [
        Batch(key, made_s, kind, parse_json(settings), labels, counting)
        for key, made_s, kind, settings, labels, counting in catalog.rows(query)
    ]


@contextmanager
def changing_labels(index: Path, wait_s: float = 0.0) -> Iterator[sqlite3.Connection]:
    """The catalog in a transaction of its one writer, committed at the end of the block.

    Raises InputError where there is no index, StorageError where another process writes it
    for longer than `wait_s`.
    """
    with editing(index, wait_s) as catalog:
        yield catalog.connection
        catalog.commit()


def add_batch(
    connection: sqlite3.Connection,
    kind: str,
    settings: Mapping[str, Any],
    labellings: Iterable[Labelling],
) -> tuple[int, int]:
    """Write a batch; its number, and how many of the things are there and were labelled."""
    made = connection.execute(
        "INSERT INTO label_batches (made_s, kind, settings) VALUES (?, ?, ?)",
        (time.time(), kind, json.dumps(dict(settings), sort_keys=True)),
    )
    batch = int(made.lastrowid or 0)
    origin = SPREAD if kind == SPREAD else GIVEN
    rows = ((batch, one.thing, one.label, origin, one.confidence) for one in labellings)
    return batch, connection.executemany(_ADD, rows).rowcount


def older_labels(connection: sqlite3.Connection, things: Iterable[int]) -> dict[int, str]:
    """The labels that people gave these things before, of those that have one."""
    found: dict[int, str] = {}
    query = "SELECT label FROM labels WHERE {} = ? AND origin = 'given' ORDER BY id DESC LIMIT 1"
    for thing in things:
        column = "track" if thing > 0 else "patch"
        row = connection.execute(query.format(column), (abs(thing),)).fetchone()
        if row is not None:
            found[thing] = str(row[0])
    return found


def undo(index: Path, batch: int | None = None, wait_s: float = 0.0) -> Batch:
    """Take a batch back, by default the newest that did not come with the sources.

    What it had covered counts again.

    Raises InputError where there is no such batch, StorageError.
    """
    with changing_labels(index, wait_s) as connection:
        # A reader of its own still sees the batch.
        chosen = _chosen(index, batch)
        connection.execute("DELETE FROM labels WHERE batch = ?", (chosen.id,))
        connection.execute("DELETE FROM label_batches WHERE id = ?", (chosen.id,))
    return chosen


def _chosen(index: Path, batch: int | None) -> Batch:
    catalog = CatalogReader(index)
    try:
        known = batches(catalog)
    finally:
        catalog.close()
    if not known:
        raise InputError(f"The index {index} has no labels.", mend="Give some: vr label import.")
    for one in reversed(known):
        if one.id == batch or (batch is None and one.kind != SOURCE):
            return one
    if batch is None:
        raise InputError(
            f"All labels of the index {index} came with its sources.",
            mend=f"Name the batch to take it back: --batch {known[-1].id}.",
        )
    raise InputError(
        f"The index {index} has no batch {batch}.",
        mend=f"There are: {_numbers([one.id for one in known])}.",
    )


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[-10:]))
    return shown if len(numbers) <= 10 else f"..., {shown}"
