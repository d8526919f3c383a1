"""A filter as SQL over `patches`."""

from indexes.catalog.schema import LABEL
from indexes.records import Filter

# A pattern, or the path itself: brackets in a name are then no pattern.
_PATH = "path GLOB ? OR path = ?"
_NAME = " OR path GLOB ?"


def condition(only: Filter) -> tuple[str, list[object]]:
    """The WHERE clause of a filter and its values; "1" for one that lets everything through.

    What is rare is looked up first and the patches by it, so that a large index is not gone
    through where a few patches pass.
    """
    clauses: list[str] = []
    values: list[object] = []
    for clause, given in (_of_sources(only), _of_times(only), _of_labels(only)):
        if clause:
            clauses.append(clause)
            values += given
    return " AND ".join(clauses) or "1", values


def _of_sources(only: Filter) -> tuple[str, list[object]]:
    """Sources and cameras: both are properties of the few rows of `sources`."""
    clauses: list[str] = []
    values: list[object] = []
    if only.sources:
        alternatives = [_source(pattern) for pattern in only.sources]
        clauses.append("(" + " OR ".join(clause for clause, _ in alternatives) + ")")
        values += [value for _, given in alternatives for value in given]
    if only.cameras:
        clauses.append(f"camera IN ({_marks(only.cameras)})")
        values += only.cameras
    if not clauses:
        return "", []
    return f"patches.source IN (SELECT id FROM sources WHERE {' AND '.join(clauses)})", values


def _source(pattern: str) -> tuple[str, list[object]]:
    if "/" in pattern:
        return _PATH, [pattern, pattern]
    return _PATH + _NAME, [pattern, pattern, f"*/{pattern}"]


def _of_times(only: Filter) -> tuple[str, list[object]]:
    if only.times_s is None:
        return "", []
    return "time_s BETWEEN ? AND ?", list(only.times_s)


def _of_labels(only: Filter) -> tuple[str, list[object]]:
    """Which label counts is asked only of what has one of these at all."""
    if not only.labels:
        return "", []
    marks = _marks(only.labels)
    having = f"FROM labels WHERE label IN ({marks})"
    clause = (
        f"(patches.track IN (SELECT track {having} AND track IS NOT NULL) OR "
        f"patches.id IN (SELECT patch {having} AND patch IS NOT NULL)) AND {LABEL} IN ({marks})"
    )
    return clause, [*only.labels] * 3


def _marks(values: tuple[str, ...]) -> str:
    return ",".join("?" * len(values))
