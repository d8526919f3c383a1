"""A list of labels: what each line names, and the label it gives. CSV of any dialect.

The names in the first line decide what a line is known by: `id`, of a patch; `track`, by
name; or `source`, with `time_s` and the box `x0`, `y0`, `x1`, `y1` where there are more. A
line that has several is known by the first of these. Lists that `vr label export` and
`vr label suggest` write can be read again: what is spread in them, or has no label, is
passed over.
"""

import csv
import difflib
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from indexes.labels.records import SPREAD, Refused, clean_label
from indexes.records import PixelBox
from indexes.sources import printable
from toolkit.errors import InputError

MAX_BYTES = 1 << 28  # of a list: some millions of lines
BOX = ("x0", "y0", "x1", "y1")
COLUMNS = ("id", "track", "source", "time_s", *BOX, "label", "origin", "confidence", "guess")
_KEYS = ("id", "track", "source")
_SEPARATORS = ",;\t"


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a source: PTS seconds, None in an image; box: xyxy pixels, None for any."""

    source: str
    time_s: float | None
    box: PixelBox | None


@dataclass(frozen=True, slots=True)
class LabelLine:
    """A line of a list; `of` is a patch's id, a track's name or a place."""

    number: int
    of: int | str | Spot
    label: str

    @property
    def name(self) -> str:
        """What it names, for people."""
        match self.of:
            case Spot():
                moment = "" if self.of.time_s is None else f" at {self.of.time_s:g} s"
                return self.of.source + moment
            case int():
                return f"id {self.of}"
            case _:
                return f"track {self.of}"


@dataclass(frozen=True, slots=True)
class Lines:
    """passed_over: lines without a label, and labels that were spread."""

    lines: list[LabelLine]
    refused: list[Refused]
    passed_over: int


def is_formula(text: str) -> bool:
    """Whether a spreadsheet takes a cell for a formula, and runs it.

    Lists keep such texts as they are: what is put before them to disarm them would be part of
    the label, or of the path, for every other reader.
    """
    return text.startswith(("=", "+", "-", "@", "\t", "\r"))


def read_lines(path: Path) -> Lines:
    """Read a list. Raises InputError for what is none: a line alone is refused by number."""
    records = _records(path)
    _, names = next(records, (1, []))
    columns = _columns(path, names)
    found = Lines([], [], 0)
    passed_over = 0
    for number, cells in records:
        if not any(cell.strip() for cell in cells):
            continue
        name = ", ".join(cells)[:80]
        try:
            line = _line(number, columns, cells)
        except ValueError as error:
            found.refused.append(Refused(number, name, str(error)))
            continue
        if line is None:
            passed_over += 1
        else:
            found.lines.append(line)
    return Lines(found.lines, found.refused, passed_over)


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The records with the number of the line that each begins in."""
    text = _text(path)
    separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    begun = 1
    try:
        for cells in reader:
            yield begun, cells
            begun = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{printable(path)}, line {begun}: {error}.",
            mend="Save it as CSV again: a quoted value ends with its quote.",
        ) from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:  # perhaps a pipe, which has no size
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"Cannot read {printable(path)}: {error.strerror}.",
            mend="Give a list as CSV, or a folder with a folder of pictures for each class.",
        ) from error
    if len(content) > MAX_BYTES:
        raise InputError(
            f"{printable(path)} has more than {MAX_BYTES >> 20} MiB.",
            mend="Import it in several parts.",
        )
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise InputError(
            f"{printable(path)}, line {line}: it holds a zero byte.",
            mend="Give a list as CSV in UTF-8.",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{printable(path)}, line {line}: it is not in UTF-8.", mend="Save it as UTF-8."
        ) from error


def _columns(path: Path, names: list[str]) -> dict[str, int]:
    """Where each column stands. Raises InputError for names that no list has."""
    columns: dict[str, int] = {}
    for at, given in enumerate(names):
        name = given.strip().lower()
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, 1, 0.5)
            raise InputError(
                f"{printable(path)} has a column {given!r}, which no list of labels has.",
                mend=f"Did you mean {near[0]}?" if near else f"There are: {', '.join(COLUMNS)}.",
            )
        if name in columns:
            raise InputError(
                f"{printable(path)} has two columns {name}.", mend="Take one of them out."
            )
        columns[name] = at
    if "label" not in columns or not any(key in columns for key in _KEYS):
        raise InputError(
            f"{printable(path)} is no list of labels: its first line is "
            f"{repr(', '.join(names)) if names else 'empty'}.",
            mend="The first line names the columns: label, and id, track or source with time_s.",
        )
    return columns


def _line(number: int, columns: Mapping[str, int], cells: list[str]) -> LabelLine | None:
    """A line, None where it gives no label. Raises ValueError for one that makes no sense."""
    if len(cells) != len(columns):
        raise ValueError(f"it has {len(cells)} values, the first line {len(columns)}")
    # Names of files and tracks may begin or end with a space.
    values = {
        name: cells[at] if name in ("source", "track") else cells[at].strip()
        for name, at in columns.items()
    }
    if not values["label"] or values.get("origin") == SPREAD:
        return None
    return LabelLine(number, _of(values), clean_label(values["label"]))


def _of(values: Mapping[str, str]) -> int | str | Spot:
    if values.get("id"):
        if not (values["id"].isascii() and values["id"].isdecimal()) or len(values["id"]) > 18:
            raise ValueError(f"{values['id'][:40]!r} is no id")
        return int(values["id"])
    if values.get("track"):
        return values["track"]
    if not values.get("source"):
        raise ValueError("it names nothing")
    time_s = _number(values["time_s"]) if values.get("time_s") else None
    return Spot(values["source"], time_s, _box(values))


def _box(values: Mapping[str, str]) -> PixelBox | None:
    sides = [values.get(name, "") for name in BOX]
    if not any(sides):
        return None
    if not all(sides):
        raise ValueError("its box lacks a side")
    x0, y0, x1, y1 = map(_number, sides)
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"its box {x0:g},{y0:g},{x1:g},{y1:g} is empty")
    return (x0, y0, x1, y1)


def _number(text: str) -> float:
    try:
        value = float(text.replace(",", "."))  # as some languages write numbers
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]!r} is no number")
    return value
