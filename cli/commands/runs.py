"""`vr runs`: which runs there are, what they were trained with and how well they do."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import DEFAULT_RUNS, Json
from cli.output import count, emit, plain, say, show_table, visible, warn
from toolkit.errors import InputError, UsageError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from toolkit.training.run_folder import RunFolder
    from toolkit.training.settings import TrainSettings
    from toolkit.training.watch.run_list import RunSummary
    from toolkit.transfer.settings import TransferSettings

_NOTHING = "-"


def runs(
    place: Annotated[
        Path, typer.Argument(help="Folder of runs, or one run by its folder or name.")
    ] = DEFAULT_RUNS,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show the settings in which the runs differ.")
    ] = False,
    as_json: Json = False,
) -> int:
    """List the runs with their settings and recall, or show one.

    Those of `vr transfer` have the accuracy on held-out pictures in place of recall.
    """
    run = _run_at(place)
    if run is not None:
        if compare:
            raise UsageError(
                f"{place} is one run; --compare needs several.", mend="Give the folder of runs."
            )
        return _show_one(run, as_json=as_json)
    from toolkit.training.watch.run_list import DAMAGED, differing, list_runs
    from toolkit.transfer.run import RECIPE

    found = list_runs(place) if place.is_dir() or place != DEFAULT_RUNS else []
    whole = [run.name for run in found if run.state != DAMAGED and run.recipe != RECIPE]
    differences = differing(place, whole) if compare else {}
    if as_json:
        emit(
            {
                "folder": str(place),
                "runs": [run.as_json() for run in found],
                **({"differences": differences} if compare else {}),
            }
        )
    elif not found:
        say(f"there are no runs in {plain(place)}: train one with vr train")
    elif compare and not whole:
        say(f"there are no runs of vr train in {plain(place)} to compare")
    else:
        show_table(_comparison(whole, differences) if compare else _table(found))
    _warn_of(found)
    return 0


def _run_at(place: Path) -> Path | None:
    """The run that is meant by its folder or its name; None for a folder of runs."""
    from toolkit.transfer.run import is_transfer

    for path in (place, DEFAULT_RUNS / place):
        if (path / "settings.json").is_file() or is_transfer(path):
            return path
    if not place.exists() and place != DEFAULT_RUNS:
        raise InputError(
            f"There is no run and no folder {place}.", mend="vr runs lists the runs in runs/."
        )
    return None


def _warn_of(found: "list[RunSummary]") -> None:
    for run in found:
        if run.problem:
            warn(f"{plain(run.name)} is damaged: {plain(run.problem)}")
        elif run.alarm:
            warn(f"{plain(run.name)}: {plain(run.alarm)}")


def _table(found: "list[RunSummary]") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table("Run", "Begun", "What", "Steps", "Learned from", "Best", "Last", "State")
    for column in table.columns[3:7]:
        column.justify = "right"
    for run in found:
        begun = datetime.fromtimestamp(run.begun_s).strftime("%Y-%m-%d %H:%M")
        name = f"{visible(run.name)}{' (latest)' if run.latest else ''}"
        if run.problem:
            table.add_row(Text(name), begun, *[_NOTHING] * 5, Text("damaged", "red"))
            continue
        steps = f"{run.steps_done:,} of {run.steps:,}"
        table.add_row(Text(name), begun, *_what(run, steps), _state(run))
    return table


def _what(run: "RunSummary", steps: str) -> "list[Text]":
    """What learned, how far, from what, and what it reaches: recall@1, or the accuracy."""
    from rich.text import Text

    from toolkit.transfer.run import RECIPE

    if run.recipe == RECIPE:
        what = f"{RECIPE}, {run.mode}, {count(run.classes, 'class', 'classes')} on {run.base}"
        source = count(run.pictures, "picture")
        figures, unit = (run.best_accuracy, run.last_accuracy), "right"
    else:
        what, source = f"{run.recipe}, {run.backbone}, {run.loss}", count(run.train_pairs, "pair")
        figures, unit = (run.best_recall_at_1, run.last_recall_at_1), "R@1"
    told = (_NOTHING if value is None else f"{value:.3f} {unit}" for value in figures)
    return [Text(visible(text)) for text in (what, steps, source, *told)]


def _state(run: "RunSummary") -> Any:
    from rich.text import Text

    state = run.state
    if state == "unfinished":
        passed = max(0.0, datetime.now().timestamp() - run.written_s)
        state += f", written {_ago(passed)}"
    return Text.assemble(state, (", alarm", "bold red") if run.alarm else "")


def _ago(passed_s: float) -> str:
    """A time that has passed, in the largest whole unit: "12 s ago"."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if passed_s >= size:
            return f"{passed_s // size:.0f} {unit} ago"
    return f"{passed_s:.0f} s ago"


def _comparison(names: list[str], differences: dict[str, dict[str, Any]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table("Run", *differences, title=None if differences else "All settings are the same.")
    for name in names:
        values = (visible(differences[setting][name]) for setting in differences)
        table.add_row(Text(visible(name)), *map(Text, values))
    return table


def _show_one(path: Path, *, as_json: bool) -> int:
    from toolkit.training.watch.run_list import last_values, summary_of

    run, settings, changes, origin = _opened(path)
    summary, last = summary_of(run.path), last_values(run.read_metrics())
    if as_json:
        emit(
            {
                "run": str(run.path),
                **summary.as_json(),
                "settings": settings.as_json(),
                "changes": {name: list(values) for name, values in changes.items()},
                "last": last,
            }
        )
        return 0
    show_table(_settings_table(str(run.path), origin, changes))
    if last:
        show_table(_last_table(last))
    if (run.path / "report.html").is_file():
        say(f"curves and examples: {plain(run.path / 'report.html')}")
    _warn_of([summary])
    return 0


def _opened(
    path: Path,
) -> "tuple[RunFolder, TrainSettings | TransferSettings, dict[str, tuple[Any, Any]], str]":
    """A run, its settings, those that are its own, and what the others come from."""
    from toolkit.training.run_folder import RunFolder
    from toolkit.training.watch.words import changes_of
    from toolkit.transfer import summary
    from toolkit.transfer.run import TransferFolder, is_transfer

    if is_transfer(path):
        transfer = TransferFolder.open(path)
        own = transfer.read_settings()[0]
        return transfer.run, own, summary.changes_of(own), f"mode {own.mode}"
    run = RunFolder.open(path)
    settings = run.read_settings()
    return run, settings, changes_of(settings), f"recipe {settings.recipe}"


def _settings_table(name: str, origin: str, changes: dict[str, tuple[Any, Any]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    if not changes:
        return Table(title=f"{name}: every setting is that of the {origin}")
    table = Table("Setting", "This run", origin.capitalize(), title=name)
    for setting, values in changes.items():
        table.add_row(setting, *(Text(visible(value)) for value in values))
    return table


def _last_table(last: dict[str, Any]) -> "Table":
    from rich.table import Table

    table = Table("Last measured", "")
    for name, value in last.items():
        if isinstance(value, int | float):
            table.add_row(visible(name), f"{value:.4g}" if isinstance(value, float) else f"{value}")
    return table
