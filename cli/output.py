"""The only place that prints: data to stdout, everything for people to stderr."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from toolkit.errors import VrError

people = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line for people. Text from outside goes through `plain` first."""
    people.print(text)


def plain(text: object) -> str:
    """Text from outside (paths, reasons), with nothing in it taken for markup."""
    return escape(str(text))


def warn(text: str) -> None:
    """Something that a person should know but that stops nothing."""
    people.print(f"[yellow]note:[/] {text}")


def complain(error: VrError) -> None:
    """A user's error: what is wrong, and how to mend it."""
    people.print(f"[bold red]error:[/] {plain(error.problem)}")
    if error.mend:
        people.print(f"       {plain(error.mend)}")


def emit(content: Mapping[str, Any]) -> None:
    """The one JSON object of `--json`, on stdout."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def show_table(table: Table) -> None:
    """A result table, on stdout: it is what was asked for."""
    Console(highlight=False).print(table)


def show_line(text: str) -> None:
    """A result line, on stdout."""
    sys.stdout.write(text + "\n")


class Bar:
    """One progress bar: how far, how long still, and a short text of what is going on."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def at(self, done: float, total: float | None = None, note: str = "") -> None:
        """Move the bar; `note` may hold markup of ours, text from outside goes through plain."""
        self._progress.update(self._task, completed=done, total=total, note=note)


@contextmanager
def progress_bar(title: str, total: float | None, *, count: bool = False) -> Iterator[Bar]:
    """A bar on stderr, drawn only on a terminal. count: show done/total as numbers."""
    columns = [
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=28),
        *([MofNCompleteColumn()] if count else [TextColumn("{task.percentage:>3.0f}%")]),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=people, disable=not people.is_terminal) as progress:
        task = progress.add_task(title, total=total, note="")
        yield Bar(progress, task)
