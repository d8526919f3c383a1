"""The published lists of patches: `path label` a line, the two patches of a pair one by one.

Lines 2i and 2i+1 are a pair and carry the same label; to the published loss, patches of
different labels show different things. docs/legacy.md says what becomes of it in a shard.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from toolkit.errors import InputError

MAX_LINE_BYTES = 8192
_LINE = re.compile(rb"(?P<path>.*\S)\s+(?P<label>[+-]?[0-9]{1,100})", re.DOTALL)
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ListLine:
    """A line that is not blank. problem: why it cannot be used, or nothing."""

    number: int
    path: str
    label: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ListedPair:
    """Two lines that belong together; the second is None at the end of an odd list."""

    query: ListLine
    positive: ListLine | None

    @property
    def problems(self) -> list[tuple[int, str]]:
        """What is wrong with the text of the two lines: (line number, why)."""
        lines = [line for line in (self.query, self.positive) if line is not None]
        wrong = [(line.number, line.problem) for line in lines if line.problem]
        if self.positive is None:
            wrong.append((self.query.number, "it has no partner: the list ends here"))
        elif not wrong and self.query.label != self.positive.label:
            labels = f"{self.query.label} and {self.positive.label}"
            wrong.append(
                (self.positive.number, f"its label differs from that of its partner: {labels}")
            )
        return wrong


def check_list(path: Path) -> None:
    """Raises InputError for a list that is missing, empty, or no plain file."""
    if not path.is_file():
        what = "no plain file" if path.exists() else "not there"
        raise InputError(f"The list {path} is {what}.", mend="Give a text file of `path label`.")
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise InputError(f"Cannot read the list {path}: {error.strerror}.") from error
    if empty:
        raise InputError(f"The list {path} is empty.", mend="Give a text file of `path label`.")


def read_list(stream: IO[bytes]) -> Iterator[ListedPair]:
    """The pairs of a list, in its order. A line that is wrong keeps its place in its pair."""
    query: ListLine | None = None
    for line in _lines(stream):
        if query is None:
            query = line
        else:
            yield ListedPair(query, line)
            query = None
    if query is not None:
        yield ListedPair(query, None)


def _lines(stream: IO[bytes]) -> Iterator[ListLine]:
    number = 0
    while content := stream.readline(MAX_LINE_BYTES):
        number += 1
        whole = content
        while len(whole) == MAX_LINE_BYTES and not whole.endswith(b"\n"):
            whole = stream.readline(MAX_LINE_BYTES)  # the rest of a line that is too long
        if len(content) == MAX_LINE_BYTES and not content.endswith(b"\n"):
            yield ListLine(number, "", 0, f"it is longer than {MAX_LINE_BYTES} bytes")
            continue
        content = (content.removeprefix(_BOM) if number == 1 else content).strip()
        if content:
            yield _line(number, content)


def _line(number: int, content: bytes) -> ListLine:
    match = _LINE.fullmatch(content)
    if match is None or b"\0" in content:
        shown = repr(os.fsdecode(content[:60]))[1:-1]
        return ListLine(number, "", 0, f"it is no `path label` with a whole number: {shown}")
    return ListLine(number, os.fsdecode(match["path"]), int(match["label"]))
