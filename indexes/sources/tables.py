"""Tables of vectors, with what each row is, as patches: .npy and .parquet.

Rows come a few thousand at a time, so memory stays bounded however long a table is. Lengths
are made 1; what is no direction (NaN, infinity, zero) is refused by the number of its row.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.sources.records import IndexPatch, Origin, Source, printable
from indexes.sources.table_rows import Rows, Table, bad_row, places
from indexes.sources.watch import Watch
from toolkit.errors import MismatchError
from toolkit.model_card import ModelCard

_LEAST_LENGTH = 1e-150  # squares of smaller numbers lose their digits


def table_patches(source: Source, card: ModelCard, watch: Watch) -> Iterator[IndexPatch]:
    """The rows of a table as patches that have their vectors.

    card: of the model that the vectors have to be from. Raises InputError for a table that
    cannot be read or has a row that is no patch, MismatchError for another model's vectors,
    MissingError where the package that reads it is not there.
    """
    path = source.path
    table = open_table(source)
    check_model(path, table, card, watch)
    if table.unused:
        watch.note(f"{printable(path)}: nothing is done with {', '.join(table.unused)}.")
    last, origin = None, Origin("", None, "image", None)
    for rows in table.rows:
        vectors = unit(rows, path)
        for place, vector in zip(places(rows, path), vectors, strict=True):
            told, time_s, box, track, label = place
            if told != last:
                last, origin = told, Origin(*told)
            yield IndexPatch(origin, time_s, box, track, None, vector, label)
        watch.part((rows.first + len(rows.vectors)) / table.vectors)


def open_table(source: Source) -> Table:
    """Open a table to read its rows. Raises as `table_patches`."""
    if source.path.suffix.lower() == ".npy":
        from indexes.sources.table_npy import open_npy

        return open_npy(source)
    from indexes.sources.table_parquet import open_parquet

    return open_parquet(source.path)


def check_model(path: Path, table: Table, card: ModelCard, watch: Watch) -> None:
    """Raises MismatchError for vectors that the model did not make, as far as one can tell."""
    model = f"{card.fingerprint[:12]} ({card.backbone}, {card.dim} numbers)"
    mend = "Name the model that made them: --model BUNDLE."
    if table.dim != card.dim:
        raise MismatchError(
            f"The vectors of {printable(path)} have {table.dim} numbers, and are not those of "
            f"the model {model}.",
            mend=mend,
        )
    if table.fingerprint is None:
        watch.note(
            f"{printable(path)} does not say which model its vectors are from; they are taken "
            f"for those of {model}."
        )
    elif table.fingerprint != card.fingerprint:
        raise MismatchError(
            f"The vectors of {printable(path)} are from the model {table.fingerprint[:12]}, "
            f"not from {model}.",
            mend=mend,
        )


def unit(rows: Rows, path: Path) -> NDArray[np.float32]:
    """The vectors, float32 (N, D), made of length 1. Raises InputError naming the row."""
    wide = np.asarray(rows.vectors, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.sqrt(np.einsum("nd,nd->n", wide, wide))
    wrong = np.flatnonzero(~((lengths > _LEAST_LENGTH) & np.isfinite(lengths)))
    if wrong.size:
        row = int(wrong[0])
        raise bad_row(path, rows.first + row, _fault(wide[row]))
    return np.asarray(wide / lengths[:, None], np.float32)


def _fault(vector: NDArray[np.float64]) -> str:
    if np.isnan(vector).any():
        return "its vector holds NaN"
    if np.isinf(vector).any():
        return "its vector holds an infinite number"
    if vector.any():
        return "the numbers of its vector are too large or too small to be of use"
    return "its vector is zero"
