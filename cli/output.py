"""The only place that prints: data to stdout, everything for people to stderr."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from toolkit.errors import StorageError, VrError

people = Console(stderr=True, highlight=False, soft_wrap=True)

_PIPE_WIDTH = 1000  # a table in a pipe or a file is never cut to the width of a screen


def say(text: str) -> None:
    """One line for people. Text from outside goes through `plain` first."""
    # Where nobody listens (a closed or full stderr) the work goes on all the same.
    with suppress(OSError):
        people.print(text)


def visible(text: object) -> str:
    """Text with its control characters spelled out: a file name must not steer a terminal."""
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", _spelled, str(text))


def _spelled(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode()


def plain(text: object) -> str:
    """Text from outside (paths, reasons), with nothing in it taken for markup."""
    return escape(visible(text))


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 pair", "2 pairs"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def warn(text: str) -> None:
    """Something that a person should know but that stops nothing."""
    say(f"[yellow]note:[/] {text}")


def warn_set_aside(path: str, reason: str) -> None:
    """One input that could not be used; most reasons begin with its path."""
    warn(f"set aside {plain(reason if reason.startswith(path) else f'{path}: {reason}')}")


def complain(error: VrError) -> None:
    """A user's error: what is wrong, and how to mend it."""
    say(f"[bold red]error:[/] {plain(error.problem)}")
    if error.mend:
        say(f"       {plain(error.mend)}")


def emit(content: Mapping[str, Any]) -> None:
    """The one JSON object of `--json`, on stdout."""
    show_line(json.dumps(content))


def show_table(table: Table) -> None:
    """A result table, on stdout: it is what was asked for."""
    with _stdout_errors():
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        Console(highlight=False, width=width).print(table)


def show_line(text: str) -> None:
    """A result line, on stdout."""
    with _stdout_errors():
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


@contextmanager
def _stdout_errors() -> Iterator[None]:
    """Raises StorageError where stdout is closed or full; BrokenPipeError passes through."""
    if sys.stdout is None:
        raise StorageError(
            "Cannot write the result: the standard output is closed.",
            mend="Leave it open, or send it to a file.",
        )
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> StorageError:
    """What a full or broken standard output is to a person."""
    return StorageError(
        f"Cannot write the result to the standard output: {error.strerror}.",
        mend="Free some space, or send it elsewhere.",
    )


class Bar:
    """One progress bar: how far, how long still, and a short text of what is going on."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def at(
        self,
        done: float,
        total: float | None = None,
        note: str = "",
        *,
        left_s: float | None = None,
    ) -> None:
        """Move the bar; `note` may hold markup of ours, text from outside goes through plain.

        left_s: the time that is left, for work that knows it better than the last half minute.
        """
        self._progress.update(self._task, completed=done, total=total, note=note, left_s=left_s)


class _Left(TimeRemainingColumn):
    """The time that is left, as the work itself says it where it does."""

    def render(self, task: Task) -> Text:
        """Hours, minutes and seconds."""
        left_s = task.fields["left_s"]
        if left_s is None:
            return super().render(task)
        minutes, seconds = divmod(round(left_s), 60)
        return Text(f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}", "progress.remaining")


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
        _Left(),
    ]
    with Progress(*columns, console=people, disable=not people.is_terminal) as progress:
        task = progress.add_task(title, total=total, note="", left_s=None)
        yield Bar(progress, task)
