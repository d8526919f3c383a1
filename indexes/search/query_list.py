"""A list of queries in a file: pictures by name, or vectors that are there already."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from indexes.sources import printable
from toolkit.errors import InputError
from toolkit.records import Box

TABLE_SUFFIXES = frozenset({".npy", ".parquet"})
QUERY = "query"
BOX = ("x0", "y0", "x1", "y1")
_LONGEST_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class Line:
    """One query. text: an image or VIDEO@SECONDS; problem: why it cannot be one, else empty."""

    text: str
    box: Box | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """As it stands in an answer: with the box where there is one."""
        if self.box is None:
            return printable(self.text)
        return f"{printable(self.text)} {','.join(f'{value:g}' for value in self.box.as_list())}"


def read_lines(path: Path) -> Iterator[Line]:
    """The queries of a list, one after the other; empty lines are passed over.

    A .csv has a header with the column `query`, and x0, y0, x1, y1 where a region is meant;
    of any other file each line is a query. Bytes that are no UTF-8 stay what they are. Raises
    InputError for what cannot be read or is no such list.
    """
    try:
        # csv wants line ends as they are; elsewhere a carriage return belongs to the line end.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            is_csv = path.suffix.lower() == ".csv"
            yield from _csv_lines(path, stream) if is_csv else _plain_lines(path, stream)
    except OSError as error:
        raise InputError(
            f"Cannot read the list {printable(path)}: {error.strerror}.",
            mend="Give a file with a query a line.",
        ) from error


def count_lines(path: Path) -> int:
    """How many queries a list has. Raises InputError, also for none."""
    total = sum(1 for _ in read_lines(path))
    if not total:
        raise InputError(f"There is no query in {printable(path)}.", mend="Give one a line.")
    return total


def _plain_lines(path: Path, stream: TextIO) -> Iterator[Line]:
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise InputError(
                f"Line {number} of {printable(path)} has no end: it is no list of queries.",
                mend="Give a file with a query a line, a .csv, or vectors as .npy.",
            )
        text = line.rstrip("\r\n")
        if text.strip():
            yield _checked(Line(text))


def _csv_lines(path: Path, stream: TextIO) -> Iterator[Line]:
    reader = csv.reader(stream)
    try:
        header = [name.strip() for name in next(reader, [])]
        unknown = set(header) - {QUERY, *BOX}
        if QUERY not in header or unknown or len(set(header)) < len(header):
            raise InputError(
                f"The header of {printable(path)} is {','.join(header)[:200]!r}.",
                mend=f"Let it be {QUERY}, or {','.join((QUERY, *BOX))}.",
            )
        for values in reader:
            if any(value.strip() for value in values):
                yield _checked(_csv_line(header, values))
    except csv.Error as error:
        raise InputError(f"{printable(path)}, line {reader.line_num}: {error}.") from error


def _csv_line(header: list[str], values: Iterable[str]) -> Line:
    row = dict(zip(header, values, strict=False))
    text = row.get(QUERY, "")
    corners = [row.get(name, "").strip() for name in BOX]
    if not any(corners):
        return Line(text)
    try:
        return Line(text, Box(*map(float, corners)))
    except ValueError:
        return Line(text, problem=f"{','.join(corners)} is no box with x0 < x1 and y0 < y1.")


def _checked(line: Line) -> Line:
    if not line.problem and ("\0" in line.text or not line.text.strip()):
        return Line(line.text, line.box, "it names no file.")
    return line
