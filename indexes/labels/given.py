"""Labels that people give: a list or a folder per class, in one batch or not at all."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from indexes.labels.csv_lines import read_lines
from indexes.labels.folder_lines import picture_thing, read_folder
from indexes.labels.match import Matcher
from indexes.labels.records import IMPORT, Labelling, Refused
from indexes.labels.table import add_batch, changing_labels, older_labels
from indexes.sources import printable
from toolkit.errors import InputError

OnProgress = Callable[[int, int], None]  # done, of all


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    things: that were labelled; changed: those of them that people had given another label
    before; passed_over: lines without a label; classes: things of each label.
    """

    batch: int
    things: int
    changed: int
    passed_over: int
    classes: dict[str, int]
    refused: tuple[Refused, ...]

    def as_json(self) -> dict[str, Any]:
        """The JSON contract of `vr label import`."""
        return {
            "batch": self.batch,
            "things": self.things,
            "changed": self.changed,
            "passed_over": self.passed_over,
            "classes": self.classes,
            "refused": [one.as_json() for one in self.refused],
        }


@dataclass(frozen=True, slots=True)
class _Told:
    """One label from outside; `thing` raises ValueError where the index has none."""

    line: int | None
    name: str
    label: str
    thing: Callable[[], int]


def import_labels(
    index: Path, source: Path, on_progress: OnProgress | None = None, wait_s: float = 0.0
) -> ImportReport:
    """Label the things that a list or a folder per class names, in one transaction.

    Raises InputError where there is no index, the list is none, it gives one thing two
    labels, or nothing in it can be used; StorageError where another process writes
    for longer than `wait_s`.
    """
    with changing_labels(index, wait_s) as connection:
        told, refused, passed_over = _read(connection, source)
        by_thing = _matched(told, refused, source, on_progress)
        if not by_thing:
            raise _nothing(source, refused, passed_over)
        older = older_labels(connection, by_thing)
        labellings = [Labelling(thing, one.label) for thing, one in sorted(by_thing.items())]
        settings = {"from": printable(source)}
        batch, things = add_batch(connection, IMPORT, settings, labellings)
    classes: dict[str, int] = {}
    for one in labellings:
        classes[one.label] = classes.get(one.label, 0) + 1
    changed = sum(older.get(one.thing, one.label) != one.label for one in labellings)
    return ImportReport(
        batch, things, changed, passed_over, dict(sorted(classes.items())), tuple(refused)
    )


def _read(connection: sqlite3.Connection, source: Path) -> tuple[list[_Told], list[Refused], int]:
    if source.is_dir():
        pictures, refused = read_folder(source)
        find = partial(picture_thing, connection)
        told = [
            _Told(None, printable(one.path), one.label, partial(find, one.path)) for one in pictures
        ]
        return told, refused, 0
    lines = read_lines(source)
    matcher = Matcher(connection, lines.lines)
    told = [
        _Told(line.number, line.name, line.label, partial(matcher.thing, line))
        for line in lines.lines
    ]
    return told, lines.refused, lines.passed_over


def _matched(
    told: Sequence[_Told], refused: list[Refused], source: Path, on_progress: OnProgress | None
) -> dict[int, _Told]:
    """What was told of each thing; adds to `refused`. Raises InputError for a contradiction."""
    by_thing: dict[int, _Told] = {}
    for one in _watched(told, on_progress):
        try:
            thing = one.thing()
        except ValueError as error:
            refused.append(Refused(one.line, one.name, str(error)))
            continue
        first = by_thing.setdefault(thing, one)
        if first.label != one.label:
            raise InputError(
                f"{printable(source)} gives one thing two labels: {_place(first)} says "
                f"{first.label!r}, {_place(one)} says {one.label!r}.",
                mend="Decide for one of them; nothing was labelled.",
            )
    refused.sort(key=lambda one: (one.line or 0, one.name))
    return by_thing


def _watched(told: Sequence[_Told], on_progress: OnProgress | None) -> Iterator[_Told]:
    for done, one in enumerate(told):
        if on_progress is not None and done % 100 == 0:
            on_progress(done, len(told))
        yield one


def _place(one: _Told) -> str:
    return one.name if one.line is None else f"line {one.line} ({one.name})"


def _nothing(source: Path, refused: Sequence[Refused], passed_over: int) -> InputError:
    first = ""
    if refused:
        line = "" if refused[0].line is None else f"line {refused[0].line}: "
        first = f" The first: {line}{refused[0].name}: {refused[0].reason}."
    elif passed_over:
        first = " No line has a label."
    return InputError(
        f"Nothing of the index is labelled by {printable(source)}.{first}",
        mend="Take ids from `vr label suggest --csv FILE` and fill its column label in.",
    )
