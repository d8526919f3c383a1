"""Queries that are vectors already: a table of them, with names where it has some."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.sources import Source, Watch, printable
from indexes.sources.table_names import beside
from indexes.sources.table_npy import map_vectors
from indexes.sources.table_rows import CHUNK_ROWS, Rows, Table
from indexes.sources.tables import check_model, open_table
from toolkit.model_card import ModelCard
from toolkit.records import Quarantined

_LEAST_LENGTH = 1e-30


@dataclass(frozen=True, slots=True)
class NamedVectors:
    """Some queries, float32 (N, D), by name, and those that are no direction."""

    names: Sequence[str]
    vectors: NDArray[np.float32]
    unusable: Sequence[Quarantined]


def open_vectors(path: Path) -> Table:
    """A .npy or .parquet of vectors, with what `vr embed --out` writes beside it, or alone.

    Raises InputError for what is no such file, MismatchError where the file beside it is of
    another one, MissingError without the package that reads it.
    """
    if not path.is_file() or beside(path) or path.suffix.lower() != ".npy":
        return open_table(Source(path, "table", "vectors", 0, beside(path)))
    vectors = map_vectors(path)
    rows = (
        Rows(first, vectors[first : first + CHUNK_ROWS], {}, {})
        for first in range(0, len(vectors), CHUNK_ROWS)
    )
    return Table(len(vectors), vectors.shape[1], None, (), rows)


def read_vectors(path: Path, card: ModelCard, watch: Watch) -> Iterator[NamedVectors]:
    """The vectors, some thousand at a time. Raises MismatchError for another model's."""
    table = open_vectors(path)
    check_model(path, table, card, watch)
    for rows in table.rows:
        names = _names(rows, path)
        vectors = np.asarray(rows.vectors, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        good = np.isfinite(lengths) & (lengths > _LEAST_LENGTH)
        unusable = [
            Quarantined(names[row], f"row {rows.first + row} holds no direction.")
            for row in np.flatnonzero(~good)
        ]
        yield NamedVectors(
            [name for name, fine in zip(names, good, strict=True) if fine], vectors[good], unusable
        )


def _names(rows: Rows, path: Path) -> list[str]:
    """The source of each row, with the second where it has one; else its number."""
    count = len(rows.vectors)
    sources = rows.texts.get("source") or [None] * count
    times = rows.numbers.get("time_s", np.full(count, np.nan)).tolist()
    return [
        _name(source, time_s, f"{printable(path.name)}:{rows.first + row}")
        for row, (source, time_s) in enumerate(zip(sources, times, strict=True))
    ]


def _name(source: str | None, time_s: float, otherwise: str) -> str:
    if not source:
        return otherwise
    return source if math.isnan(time_s) else f"{source}@{time_s:g}"
