"""Answers to many queries as a file: a JSON object a line, or a row of CSV a hit."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from indexes.search.batch import Answer
from toolkit.errors import UsageError
from toolkit.workspace import atomic_file

SUFFIXES = (".jsonl", ".csv")
COLUMNS = (
    "query", "rank", "score", "id", "source", "time_s", "x0", "y0", "x1", "y1", "track",
    "label", "camera",
)  # fmt: skip

Write = Callable[[Answer], None]


def as_line(answer: Answer) -> str:
    """One line of JSON: {"query": name, "hits": [the contract of a hit]}."""
    return json.dumps({"query": answer.query, "hits": [hit.as_json() for hit in answer.hits]})


def check_suffix(target: Path) -> None:
    """Raises UsageError for a file of a kind that answers are not written in."""
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{target} is of no kind that answers are written in.",
            mend=f"Let its name end in {' or '.join(SUFFIXES)}.",
        )


@contextmanager
def write_answers(target: Path) -> Iterator[Write]:
    """A file of answers by its suffix, there once the block has come to its end.

    Yields what takes them one by one. Raises UsageError for another suffix, StorageError.
    """
    check_suffix(target)
    is_csv = target.suffix.lower() == ".csv"
    with (
        atomic_file(target) as draft,
        draft.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        yield _csv_writer(stream) if is_csv else lambda answer: _write_line(stream, answer)


def _write_line(stream: TextIO, answer: Answer) -> None:
    stream.write(as_line(answer) + "\n")


def _csv_writer(stream: TextIO) -> Write:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)

    def write(answer: Answer) -> None:
        for hit in answer.hits:
            at = hit.place
            found = (hit.rank, f"{hit.score:.6f}", hit.id)
            known = (at.source, at.time_s, *at.box, at.track, at.label, at.camera)
            writer.writerow((answer.query, *found, *known))

    return write
