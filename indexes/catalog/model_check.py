"""One index, one model: vectors of two networks are never compared."""

import json
import sqlite3
from pathlib import Path

from indexes.catalog.schema import FILE_NAME, damaged
from toolkit.embedding import WINDOWS_OF
from toolkit.errors import MismatchError
from toolkit.model_card import ModelCard
from toolkit.workspace import parse_json


def read_card(connection: sqlite3.Connection, index: Path) -> ModelCard:
    """The card of the model that made the index. Raises MismatchError."""
    path = index / FILE_NAME
    row = connection.execute("SELECT value FROM meta WHERE key = 'card'").fetchone()
    if row is None:
        raise damaged(path, "it names no model")
    try:
        content = parse_json(row[0])
    except (TypeError, ValueError) as error:
        raise damaged(path, f"its model card is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise damaged(path, "its model card is no JSON object")
    return ModelCard.from_json(content, str(path))


def write_card(connection: sqlite3.Connection, card: ModelCard) -> None:
    """Put the model of an index down, in the place of one that was."""
    rows = {
        "fingerprint": card.fingerprint,
        "dim": str(card.dim),
        "card": json.dumps(card.as_json(), sort_keys=True),
    }
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows.items())


def check_same_model(index: Path | str, indexed: ModelCard, given: ModelCard) -> None:
    """Raises MismatchError (exit 5) unless both cards are of one network."""
    if indexed.fingerprint == given.fingerprint:
        return
    raise MismatchError(
        f"The index {index} was made by the model {_short(indexed)}, not by {_short(given)}.",
        mend=_mend(indexed, given),
    )


def _mend(indexed: ModelCard, given: ModelCard) -> str:
    if indexed.lineage.get(WINDOWS_OF) == given.fingerprint:
        return "It holds the dense windows of this very model: say --dense, or use another index."
    if given.lineage.get(WINDOWS_OF) == indexed.fingerprint:
        return "It holds no dense windows: leave --dense out, or use another index."
    return "Use that model, or build the index anew: vr index build --overwrite."


def _short(card: ModelCard) -> str:
    return f"{card.fingerprint[:12]} ({card.backbone}, {card.dim} numbers)"
