"""A transfer in a list of runs: what it learned, how far it got and what it reaches."""

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.transfer.run import RECIPE, TransferFolder
from toolkit.transfer.settings import MODES, TransferSettings


def transfer_facts(run: TransferFolder, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of a `RunSummary` that its files tell; rows: of metrics.jsonl.

    Raises MismatchError, UsageError.
    """
    (settings, base), record = run.read_settings(), run.read_labels()
    learned = sum(not seen.held_out for seen in record.pictures)
    reached = [row["accuracy"] for row in rows if isinstance(row.get("accuracy"), int | float)]
    return {
        "recipe": RECIPE,
        "mode": settings.mode,
        "base": str(base.path),
        "steps": settings.steps_of(learned)[1],
        "pictures": learned,
        "classes": len(record.classes),
        "best_accuracy": max(reached, default=None),
        "last_accuracy": reached[-1] if reached else None,
    }


def changes_of(settings: TransferSettings) -> dict[str, tuple[Any, Any]]:
    """The settings that differ from the defaults of the mode: name to (this run's, the mode's)."""
    ours, theirs = settings.as_json(), TransferSettings(mode=settings.mode, **MODES[settings.mode])
    return {
        name: (ours[name], value) for name, value in theirs.as_json().items() if ours[name] != value
    }
