"""Which thing of the index a line of a list means."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from indexes.labels.csv_lines import LabelLine, Spot
from indexes.records import PixelBox
from toolkit.records import Box

NEAR_S = 0.5  # a moment that is further off is another one
LEAST_OVERLAP = 0.5  # intersection over union with the box of a patch

_Seen = tuple[int, float | None, PixelBox]  # thing, PTS seconds, box

_THING = "SELECT coalesce(track, -id) FROM patches WHERE id = ?"
_TRACK = "SELECT id FROM tracks WHERE name = ?"
_SEEN = "SELECT coalesce(track, -id), time_s, x0, y0, x1, y1 FROM patches WHERE source = ? AND "


class Matcher:
    """Finds things in an open catalog. The errors are ValueErrors that say why not."""

    def __init__(self, connection: sqlite3.Connection, lines: Iterable[LabelLine]) -> None:
        """Look the sources of the lines up, all at once."""
        self._connection = connection
        wanted = {line.of.source for line in lines if isinstance(line.of, Spot)}
        self._sources = _sources(connection, wanted)

    def thing(self, line: LabelLine) -> int:
        """The thing that a line means. Raises ValueError."""
        match line.of:
            case Spot():
                return self._at(line.of)
            case int():
                return self._one(_THING, line.of, f"the index has no patch {line.of}")
            case _:
                return self._one(_TRACK, line.of, f"the index has no track {line.of}")

    def _one(self, query: str, key: int | str, otherwise: str) -> int:
        row = self._connection.execute(query, (key,)).fetchone()
        if row is None:
            raise ValueError(otherwise)
        return int(row[0])

    def _at(self, spot: Spot) -> int:
        sources = self._sources.get(spot.source, [])
        if not sources:
            raise ValueError(f"the index has no source {spot.source}")
        if len(sources) > 1:
            raise ValueError(f"{len(sources)} sources end with {spot.source}: give the whole path")
        return chosen(self._seen(sources[0], spot.time_s), spot)

    def _seen(self, source: int, time_s: float | None) -> list[_Seen]:
        values: tuple[float, ...] = ()
        where = "time_s IS NULL"
        if time_s is not None:
            where = "time_s BETWEEN ? AND ?"
            values = (time_s - NEAR_S, time_s + NEAR_S)
        rows = self._connection.execute(_SEEN + where, (source, *values))
        return [(thing, at, (x0, y0, x1, y1)) for thing, at, x0, y0, x1, y1 in rows]


def chosen(seen: Sequence[_Seen], spot: Spot) -> int:
    """The thing that is meant among those seen at about that time in the right source.

    With a box the one that it covers best, without one the only one at the nearest moment.
    Raises ValueError.
    """
    if not seen:
        moment = "" if spot.time_s is None else f" within {NEAR_S} s of {spot.time_s:g} s"
        raise ValueError(f"the index has no patch of {spot.source}{moment}")
    if spot.box is not None:
        best = max(seen, key=lambda one: (_overlap(spot.box, one[2]), -_apart(spot, one)))
        if _overlap(spot.box, best[2]) < LEAST_OVERLAP:
            raise ValueError(f"no patch there covers the box by {LEAST_OVERLAP:.0%}")
        return best[0]
    nearest = min(_apart(spot, one) for one in seen)
    things = {one[0] for one in seen if _apart(spot, one) == nearest}
    if len(things) > 1:
        raise ValueError(f"{len(things)} things are there at that moment: give a box, or the id")
    return things.pop()


def _apart(spot: Spot, one: _Seen) -> float:
    return 0.0 if spot.time_s is None or one[1] is None else abs(spot.time_s - one[1])


def _overlap(given: PixelBox | None, box: PixelBox) -> float:
    if given is None or box[0] >= box[2] or box[1] >= box[3]:  # of unknown size
        return 0.0
    return Box(*given).iou(Box(*box))


def _sources(connection: sqlite3.Connection, wanted: set[str]) -> dict[str, list[int]]:
    """The ids of the sources by name: of that path, else of paths that end with it."""
    exact: dict[str, list[int]] = {}
    ending: dict[str, list[int]] = {}
    tails: dict[str, list[str]] = {}  # last part of a path -> the names that end so
    for name in wanted:
        tails.setdefault(PurePath(name).name, []).append(name)
    rows = connection.execute("SELECT id, path FROM sources") if wanted else ()
    for key, path in rows:
        if path in wanted:
            exact.setdefault(path, []).append(key)
        for name in tails.get(PurePath(path).name, ()):
            if path.endswith("/" + name):
                ending.setdefault(name, []).append(key)
    return ending | exact
