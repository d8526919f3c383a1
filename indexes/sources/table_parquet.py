"""A .parquet of vectors, read in batches of rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.sources.table_rows import (
    CHUNK_ROWS,
    NUMBERS,
    TEXTS,
    Rows,
    Table,
    bad_row,
    no_table,
    unused,
)
from toolkit.optional import require

VECTOR = "vector"
FINGERPRINT = b"fingerprint"  # in the file's own key-value metadata, where its writer put it
_BUFFER_BYTES = 1 << 20


def open_parquet(path: Path) -> Table:
    """Open a .parquet with the columns `vector` (a list of floats a row) and `source`.

    Raises InputError for what is no such file, MissingError without pyarrow.
    """
    arrow = require("pyarrow")
    from pyarrow import parquet

    try:
        # Read from the file as it goes: a row group may be larger than the memory.
        file = parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        schema = file.schema_arrow
    except (OSError, arrow.ArrowException) as error:
        raise no_table(path, _first_line(error)) from error
    names = list(schema.names)
    for name in (VECTOR, "source"):
        if names.count(name) != 1:
            raise no_table(path, f"it has no column `{name}`, or two")
    _check_types(path, schema, arrow)
    if not file.metadata.num_rows:
        raise no_table(path, "it has no rows")
    kept = [name for name in (VECTOR, *TEXTS, *NUMBERS) if name in names]
    batches = _batches(file, kept, path, arrow)
    first = next(batches)
    dim = first.vectors.shape[1]
    mark = (schema.metadata or {}).get(FINGERPRINT)
    return Table(
        file.metadata.num_rows,
        dim,
        None if mark is None else mark.decode("ascii", "backslashreplace"),
        unused(name for name in names if name != VECTOR),
        _same_dim(first, batches, path, dim),
    )


def _check_types(path: Path, schema: Any, arrow: Any) -> None:
    types = arrow.types
    vector = schema.field(VECTOR).type
    is_list = types.is_list(vector) or types.is_large_list(vector)
    if not (is_list or types.is_fixed_size_list(vector)) or not types.is_floating(
        vector.value_type
    ):
        raise no_table(path, f"its column `vector` holds {vector}, and lists of floats are wanted")
    for name in TEXTS:
        if name in schema.names and not _is_text(schema.field(name).type, types):
            raise no_table(path, f"its column `{name}` holds {schema.field(name).type}, no text")
    for name in NUMBERS:
        if name in schema.names:
            kind = schema.field(name).type
            if not (types.is_floating(kind) or types.is_integer(kind) or types.is_null(kind)):
                raise no_table(path, f"its column `{name}` holds {kind}, no numbers")


def _is_text(kind: Any, types: Any) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_integer(kind)
        or types.is_null(kind)
    )


def _batches(file: Any, names: list[str], path: Path, arrow: Any) -> Iterator[Rows]:
    first = 0
    try:
        for batch in file.iter_batches(CHUNK_ROWS, columns=names, use_threads=False):
            if not batch.num_rows:
                continue
            columns = {name: batch.column(name) for name in batch.schema.names}
            yield Rows(
                first,
                _vectors(columns[VECTOR], first, path),
                {name: _texts(columns[name], arrow) for name in TEXTS if name in columns},
                {name: _floats(columns[name], arrow) for name in NUMBERS if name in columns},
            )
            first += batch.num_rows
    except (OSError, arrow.ArrowException) as error:
        raise no_table(path, _first_line(error)) from error


def _same_dim(first: Rows, rest: Iterator[Rows], path: Path, dim: int) -> Iterator[Rows]:
    yield first
    for rows in rest:
        if rows.vectors.shape[1] != dim:
            found = rows.vectors.shape[1]
            raise bad_row(path, rows.first, f"its vector has {found} numbers, not {dim}")
        yield rows


def _vectors(column: Any, first: int, path: Path) -> NDArray[Any]:
    """(N, D) of the rows; raises InputError for a row without, or of another length."""
    missing = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
    if missing.size:
        raise bad_row(path, first + int(missing[0]), "it has no vector")
    lengths = _lengths(column)
    dim = int(lengths[0])
    other = np.flatnonzero(lengths != dim)
    if other.size:
        row = int(other[0])
        fault = f"its vector has {lengths[row]} numbers, those before it have {dim}"
        raise bad_row(path, first + row, fault)
    if not dim:
        raise bad_row(path, first, "its vector has no numbers")
    values = column.flatten().to_numpy(zero_copy_only=False)  # a missing number becomes NaN
    return np.asarray(values).reshape(len(column), dim)


def _lengths(column: Any) -> NDArray[np.int64]:
    if hasattr(column.type, "list_size"):
        return np.full(len(column), column.type.list_size)
    return np.asarray(np.diff(column.offsets.to_numpy()), np.int64)


def _texts(column: Any, arrow: Any) -> list[str | None]:
    return list(column.cast(arrow.string()).to_pylist())


def _floats(column: Any, arrow: Any) -> NDArray[np.float64]:
    # A whole number may be too long for a float to be exact: what of it, in a pixel?
    cast = column.cast(arrow.float64(), safe=False)
    return np.array(cast.to_numpy(zero_copy_only=False), np.float64)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason is given"])[0].rstrip(".")
