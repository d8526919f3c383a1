"""`vr runs`: which runs there are, what they were trained with and how well they find."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import DEFAULT_RUNS, Json
from cli.output import emit, plain, say, show_table, visible, warn
from toolkit.errors import InputError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from toolkit.training.watch.run_list import RunSummary

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
    """List the runs with their settings and recall, or show one."""
    run = _run_at(place)
    if run is not None:
        if compare:
            raise UsageError(
                f"{place} is one run; --compare needs several.", mend="Give the folder of runs."
            )
        return _show_one(run, as_json=as_json)
    from toolkit.training.watch.run_list import DAMAGED, differing, list_runs

    found = list_runs(place) if place.is_dir() or place != DEFAULT_RUNS else []
    whole = [run.name for run in found if run.state != DAMAGED]
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
    else:
        show_table(_comparison(whole, differences) if compare else _table(found))
    _warn_of(found)
    return 0


def _run_at(place: Path) -> Path | None:
    """The run that is meant by its folder or its name; None for a folder of runs."""
    for path in (place, DEFAULT_RUNS / place):
        if (path / "settings.json").is_file():
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

    table = Table("Run", "Begun", "What", "Steps", "Pairs", "Best R@1", "Last R@1", "State")
    for column in table.columns[3:7]:
        column.justify = "right"
    for run in found:
        begun = datetime.fromtimestamp(run.begun_s).strftime("%Y-%m-%d %H:%M")
        name = f"{visible(run.name)}{' (latest)' if run.latest else ''}"
        if run.problem:
            table.add_row(Text(name), begun, *[_NOTHING] * 5, Text("damaged", "red"))
            continue
        what = Text(visible(f"{run.recipe}, {run.backbone}, {run.loss}"))
        recalls = (_recall(run.best_recall_at_1), _recall(run.last_recall_at_1))
        steps = f"{run.steps_done:,} of {run.steps:,}"
        table.add_row(Text(name), begun, what, steps, f"{run.train_pairs:,}", *recalls, _state(run))
    return table


def _recall(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3f}"


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
    from toolkit.training.run_folder import RunFolder
    from toolkit.training.watch.run_list import last_values, summary_of
    from toolkit.training.watch.words import changes_of

    run = RunFolder.open(path)
    settings, summary = run.read_settings(), summary_of(run.path)
    changes, last = changes_of(settings), last_values(run.read_metrics())
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
    show_table(_settings_table(str(run.path), settings.recipe, changes))
    if last:
        show_table(_last_table(last))
    if (run.path / "report.html").is_file():
        say(f"curves and examples: {plain(run.path / 'report.html')}")
    _warn_of([summary])
    return 0


def _settings_table(name: str, recipe: str, changes: dict[str, tuple[Any, Any]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    if not changes:
        return Table(title=f"{name}: every setting is that of the recipe {recipe}")
    table = Table("Setting", "This run", f"Recipe {recipe}", title=name)
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
