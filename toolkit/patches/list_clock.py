"""A clock for lists of patches, which say nothing of time."""

import sqlite3
from pathlib import Path

# The clock of a list. Labels are twice as far apart as two tracks of a video must be to be
# different; the patches of a label follow each other so closely that they are at one time.
# The first pause is longer: so the boundary of a time split (a decimal part of the whole) never
# comes nearer to a label than 5 ms (a hundredth) or 0.5 ms (a thousandth).
LABEL_S = 10.0
FIRST_PAUSE_S = 0.5
PATCH_S = 1e-6


class ListClock:
    """When the patches of each label are seen, kept in a scratch file: there may be millions."""

    def __init__(self, path: Path) -> None:
        self.labels = 0
        self._table = sqlite3.connect(path, isolation_level=None)
        self._table.execute("PRAGMA journal_mode = OFF")
        self._table.execute("PRAGMA synchronous = OFF")
        self._table.execute(
            "CREATE TABLE label (label TEXT PRIMARY KEY, start REAL, patches INTEGER) WITHOUT ROWID"
        )
        self._table.execute("BEGIN")

    def next_two(self, label: int) -> tuple[float, float]:
        """The times of the next query and positive of a label, seconds; no two are the same."""
        name = str(label)  # SQLite's own numbers end at 64 bits
        row = self._table.execute(
            "SELECT start, patches FROM label WHERE label = ?", (name,)
        ).fetchone()
        if row is None:
            row = (LABEL_S * self.labels + FIRST_PAUSE_S * (self.labels > 0), 0)
            self._table.execute("INSERT INTO label VALUES (?, ?, 0)", (name, row[0]))
            self.labels += 1
        start_s, patches = row
        self._table.execute("UPDATE label SET patches = patches + 2 WHERE label = ?", (name,))
        query_s = start_s + PATCH_S * patches
        return round(query_s, 6), round(query_s + PATCH_S, 6)

    def close(self) -> None:
        """Give the table up."""
        self._table.close()
