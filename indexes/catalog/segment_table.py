"""The segments as they stand in the catalog, for its writer and its readers alike."""

import re
import sqlite3
from pathlib import Path
from typing import Any

from indexes.catalog.schema import damaged
from indexes.records import FileMark, Segment
from toolkit.workspace import parse_json

_MOST_VECTORS = 1 << 40  # what is beyond would not fit into the numbers of a file's header


def read_segments(connection: sqlite3.Connection, path: Path) -> list[Segment]:
    """The segments in the order they were made. Raises MismatchError for what is none."""
    query = "SELECT stem, vectors, kind, key, settings, files FROM segments ORDER BY id"
    return [_segment(row, path) for row in connection.execute(query)]


def _segment(row: tuple[Any, ...], path: Path) -> Segment:
    stem, vectors, kind, key, settings, files = row
    try:
        if not re.fullmatch("[0-9a-f]{16}", stem):
            raise ValueError(f"{stem!r} is no name of a segment")
        marks = {
            _suffix(suffix): FileMark(str(mark["sha256"]), int(mark["size_bytes"]))
            for suffix, mark in parse_json(files).items()
        }
        if type(vectors) is not int or not 0 < vectors <= _MOST_VECTORS:
            raise ValueError(f"{vectors!r} is no number of vectors")
        return Segment(stem, vectors, str(kind), str(key), dict(parse_json(settings)), marks)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise damaged(path, f"it describes a segment wrongly ({error})") from error


def _suffix(text: str) -> str:
    # It becomes part of a path.
    if not re.fullmatch(r"(\.[0-9a-z]+)+", text):
        raise ValueError(f"{text!r} ends no file's name")
    return text
