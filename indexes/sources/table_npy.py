"""A .npy of vectors; the names of its rows stand in a file beside it.

NAME.npy.json is what `vr embed --out` writes: pictures, and the model. NAME.npy.csv or
NAME.csv has a header and a line for each row; it goes before the names in the JSON.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.sources.records import Source, printable
from indexes.sources.table_csv import csv_rows, read_header
from indexes.sources.table_rows import CHUNK_ROWS, NUMBERS, TEXTS, Rows, Table, no_table, unused
from toolkit.errors import InputError, MismatchError
from toolkit.workspace import read_json, sha256_file

_MAX_JSON_BYTES = 1 << 28

_Map = np.memmap[Any, Any]


def open_npy(source: Source) -> Table:
    """Open a .npy of float16, float32 or float64, (rows, numbers).

    Raises InputError, and MismatchError where the JSON beside it describes another file.
    """
    path = source.path
    vectors = map_vectors(path)
    chunks = _chunks(path, vectors)
    described = next((file for file in source.beside if file.suffix == ".json"), None)
    names = next((file for file in source.beside if file.suffix == ".csv"), None)
    content = {} if described is None else _read_description(described, path)
    extra: tuple[str, ...] = ()
    if names is not None:
        header = read_header(names)
        rows, extra = csv_rows(names, header, chunks, len(vectors)), unused(header)
    elif described is not None:
        pictures = _pictures(content.get("pictures"), described, len(vectors))
        rows = (
            Rows(at, some, {"source": pictures[at : at + len(some)]}, {}) for at, some in chunks
        )
    else:
        raise _nameless(path)
    fingerprint = content.get("fingerprint")
    known = fingerprint if isinstance(fingerprint, str) else None
    return Table(len(vectors), vectors.shape[1], known, extra, rows)


def _nameless(path: Path) -> InputError:
    names = f"{printable(path.stem)}.csv"
    return InputError(
        f"Nothing says what the rows of {printable(path)} are: there is no {names} beside it.",
        mend=f"Write {names}, with a header and a line for each row: "
        f"source, and where they are known {', '.join((*TEXTS[1:], *NUMBERS))}.",
    )


def map_vectors(path: Path) -> _Map:
    """The rows of a .npy, mapped: floats (N, D), N and D at least 1. Raises InputError."""
    try:
        vectors = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, OverflowError, MemoryError) as error:
        raise no_table(path, str(error).rstrip(".")) from error
    if vectors.dtype.kind != "f" or vectors.dtype.itemsize > 8:
        raise no_table(path, f"it holds {vectors.dtype}; float16, float32 or float64 is wanted")
    if vectors.ndim != 2 or not vectors.size:
        raise no_table(path, f"its shape is {vectors.shape}; (rows, numbers) is wanted")
    return vectors


def _read_description(path: Path, table: Path) -> dict[str, Any]:
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise InputError(f"{printable(path)} has more than {_MAX_JSON_BYTES:,} bytes.")
    content = read_json(path, "description of vectors")
    if content.get("version") != 1 or content.get("sha256") != sha256_file(table):
        raise MismatchError(
            f"{printable(path)} does not describe the vectors beside it: one of the two was "
            "replaced.",
            mend="Embed them again with `vr embed --out`; or delete it, and name the rows in a "
            ".csv.",
        )
    return content


def _pictures(content: Any, path: Path, rows: int) -> Sequence[str]:
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise MismatchError(f"{printable(path)} is damaged: its pictures are no list of names.")
    if len(content) != rows:
        raise MismatchError(
            f"{printable(path)} is damaged: it names {len(content)} pictures, and there are "
            f"{rows} vectors."
        )
    return [name.encode("utf-8", "backslashreplace").decode() for name in content]


def _chunks(path: Path, vectors: _Map) -> Iterator[tuple[int, NDArray[Any]]]:
    """Some rows at a time, read from the file where each row is in one piece.

    Mapped pages count as memory of this process, and a file that shrinks under a map kills it.
    """
    rows, dim = vectors.shape
    with path.open("rb") as stream:
        stream.seek(vectors.offset)
        for first in range(0, rows, CHUNK_ROWS):
            count = min(CHUNK_ROWS, rows - first)
            if not vectors.flags.c_contiguous:
                yield first, vectors[first : first + count]
                continue
            some = np.fromfile(stream, vectors.dtype, count * dim)
            if some.size < count * dim:
                raise InputError(f"{printable(path)} became shorter while it was read.")
            yield first, some.reshape(count, dim)
