"""The runs of a folder: what each is, how far it got and how well it finds. Reads, never writes.

Settings are taken as they stand in the file: a run of another vr is listed too, and nothing
heavy is imported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import InputError, MismatchError, VrError
from toolkit.training.run_folder import LATEST, RunFolder
from toolkit.transfer.run import SETTINGS_NAME, TransferFolder, is_transfer
from toolkit.transfer.summary import transfer_facts
from toolkit.workspace import read_json

FINISHED, UNFINISHED, IMPORTED, DAMAGED = "finished", "unfinished", "imported", "damaged"
_SETTINGS = ("settings.json", SETTINGS_NAME)
_MARKS = (*_SETTINGS, "model.json", "metrics.jsonl", "checkpoints")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run in a list.

    begun_s and written_s: seconds since 1970, when it began and when it was last written;
    steps_done of steps; the recalls and what was never measured are None; alarm: what the last
    one said, or "" where there was none or the run recovered; problem: why a run is DAMAGED, or "".
    A run of `vr transfer` has the recipe "transfer", a mode, the run it began from (base), the
    number of pictures it learned from and of classes, and accuracies; of any other these are
    empty.
    """

    name: str
    state: str
    latest: bool
    begun_s: float
    written_s: float
    recipe: str = ""
    backbone: str = ""
    loss: str = ""
    steps_done: int = 0
    steps: int = 0
    train_pairs: int = 0
    best_recall_at_1: float | None = None
    last_recall_at_1: float | None = None
    mode: str = ""
    base: str = ""
    pictures: int = 0
    classes: int = 0
    best_accuracy: float | None = None
    last_accuracy: float | None = None
    alarm: str = ""
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """With the keys of the JSON contracts for the recalls."""
        content = asdict(self)
        content["best_recall@1"] = content.pop("best_recall_at_1")
        content["last_recall@1"] = content.pop("last_recall_at_1")
        return content


def list_runs(folder: Path) -> list[RunSummary]:
    """The runs in a folder, the oldest first. Raises InputError without a folder."""
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {folder}.", mend="Train a run first: vr train, or give its folder."
        )
    runs = [
        summary_of(path)
        for path in folder.iterdir()
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
        if any((path / mark).exists() for mark in _MARKS)
    ]
    return sorted(runs, key=lambda run: (run.begun_s, run.name))


def summary_of(path: Path) -> RunSummary:
    """What can be said of one run; one that cannot be read is DAMAGED, and why."""
    link = path.parent / LATEST
    latest = link.is_symlink() and link.readlink().name == path.name
    begun_s, written_s = _times(path)
    try:
        facts = _facts(RunFolder(path))
    except VrError as error:
        facts = {"state": DAMAGED, "problem": error.problem}
    except OSError as error:
        facts = {"state": DAMAGED, "problem": f"{path} cannot be read: {error.strerror}."}
    return RunSummary(name=path.name, latest=latest, begun_s=begun_s, written_s=written_s, **facts)


def differing(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The settings in which the named runs differ: setting to run to value, None where unset."""
    settings = {name: read_json(folder / name / "settings.json", "run settings") for name in names}
    every = sorted({setting for values in settings.values() for setting in values})
    found = {each: {name: settings[name].get(each) for name in names} for each in every}
    return {each: row for each, row in found.items() if len({repr(v) for v in row.values()}) > 1}


def last_values(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The newest value of everything that was measured or logged."""
    values: dict[str, Any] = {}
    for row in rows:
        values |= row
    return values


def _facts(run: RunFolder) -> dict[str, Any]:
    rows = [row for row in run.read_metrics() if _is_row(row, run)]
    come = {"state": _state(run), "steps_done": max((int(row["step"]) for row in rows), default=0)}
    if is_transfer(run.path):
        return come | transfer_facts(TransferFolder(run.path), rows)
    return come | _facts_of_training(run, rows)


def _facts_of_training(run: RunFolder, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    settings = read_json(run.path / "settings.json", "run settings")
    recalls = [row["recall@1"] for row in rows if isinstance(row.get("recall@1"), int | float)]
    said = [row for row in rows if "alarm" in row or "recovered" in row]
    try:
        facts = {name: str(settings[name]) for name in ("recipe", "backbone", "loss")}
        steps = int(settings["steps"])
    except (KeyError, TypeError, ValueError) as error:
        raise MismatchError(f"{run.path / 'settings.json'} lacks a setting: {error}.") from error
    return {
        **facts,
        "steps": steps,
        "train_pairs": run.read_data().train_pairs,
        "best_recall_at_1": max(recalls, default=None),
        "last_recall_at_1": recalls[-1] if recalls else None,
        "alarm": str(said[-1].get("alarm", "")) if said else "",
    }


def _is_row(row: object, run: RunFolder) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise MismatchError(f"{run.metrics} holds something that is no row of figures.")
    return True


def _state(run: RunFolder) -> str:
    card = run.path / "model.json"
    if not card.exists():
        return UNFINISHED
    lineage = read_json(card, "model card").get("lineage")
    # A layer on a network that was imported has that network's lineage.
    imported = isinstance(lineage, dict) and "source" in lineage and not is_transfer(run.path)
    return IMPORTED if imported else FINISHED


def _times(path: Path) -> tuple[float, float]:
    """When the settings were written, and the newest of what grows with a run."""
    grows = (path / "metrics.jsonl", path / "checkpoints" / "last.pt", path / "model.json")
    marks = (*(path / name for name in _SETTINGS), *grows)
    times = [mark.stat().st_mtime for mark in marks if mark.exists()]
    times = times or [path.stat().st_mtime]
    return times[0], max(times)
