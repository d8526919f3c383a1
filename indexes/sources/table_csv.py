"""The lines of a .csv that say what the rows of a .npy are, in the same order."""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from indexes.sources.records import printable
from indexes.sources.table_rows import NUMBERS, TEXTS, Rows, bad_row
from toolkit.errors import InputError

_LINE_CHARACTERS = 1 << 20  # a longer line has cells that are too long, or too many

Chunks = Iterable[tuple[int, NDArray[Any]]]  # the first row of some vectors, and they themselves


def read_header(path: Path) -> list[str]:
    """The names of the columns. Raises InputError where `source` is not among them."""
    try:
        with _open_text(path) as stream:
            header = [name.strip() for name in next(_lines(stream), [])]
    except (OSError, csv.Error) as error:
        raise InputError(f"Cannot read {printable(path)}: {error}.") from error
    if "source" not in header or len(set(header)) != len(header):
        shown = ", ".join(header)[:200] or "nothing"
        raise InputError(
            f"The first line of {printable(path)} does not name the columns, `source` among "
            f"them and each once: {shown}.",
            mend=f"Begin it with the columns' names. Those of use are {', '.join(TEXTS)}, "
            f"{', '.join(NUMBERS)}; only source is needed.",
        )
    return header


def csv_rows(path: Path, header: Sequence[str], chunks: Chunks, count: int) -> Iterator[Rows]:
    """Each vector with its line; `count` vectors in all. Raises InputError.

    Empty lines are passed over. An empty cell says nothing.
    """
    try:
        with _open_text(path) as stream:
            lines = _lines(stream)
            next(lines)
            for first, some in chunks:
                block = list(islice(lines, len(some)))
                _check(block, first, path, len(header))
                if len(block) < len(some):
                    raise _other_count(path, f"{first + len(block)} lines", count)
                cells = dict(zip(header, zip(*block, strict=True), strict=True))
                yield _rows(first, some, cells, path)
            if next(lines, None) is not None:
                raise _other_count(path, "more lines", count)
    except (OSError, csv.Error) as error:
        raise InputError(f"Cannot read {printable(path)}: {error}.") from error


def _open_text(path: Path) -> TextIO:
    # Paths may hold any bytes; they become \xff here as everywhere.
    return path.open(encoding="utf-8-sig", errors="backslashreplace", newline="")


def _lines(stream: TextIO) -> Iterator[list[str]]:
    pieces = iter(lambda: stream.readline(_LINE_CHARACTERS), "")
    return (line for line in csv.reader(pieces) if line)


def _check(block: list[list[str]], first: int, path: Path, columns: int) -> None:
    for row, line in enumerate(block):
        if len(line) != columns:
            raise bad_row(path, first + row, f"its line has {len(line)} cells, not {columns}")


def _other_count(path: Path, found: str, count: int) -> InputError:
    return InputError(
        f"{printable(path)} has {found} below its header, and there are {count} vectors.",
        mend="Give each vector one line, in the same order.",
    )


def _rows(first: int, vectors: NDArray[Any], cells: dict[str, tuple[str, ...]], path: Path) -> Rows:
    texts = {name: cells[name] for name in TEXTS if name in cells}
    numbers = {name: _floats(cells[name], first, path) for name in NUMBERS if name in cells}
    return Rows(first, vectors, texts, numbers)


def _floats(cells: Sequence[str], first: int, path: Path) -> NDArray[np.float64]:
    try:
        return np.array([float(cell) if cell else math.nan for cell in cells], np.float64)
    except ValueError as error:
        row = next(row for row, cell in enumerate(cells) if cell and not _is_number(cell))
        raise bad_row(path, first + row, f"{cells[row][:80]!r} is no number") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
