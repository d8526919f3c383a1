"""Whether what the catalog says of a patch can be so: SQLite keeps any type in any column."""

import math
from pathlib import Path

from indexes.catalog.schema import damaged

# The same for all patches at once, as conditions on the tables.
ODD_PATCH = (
    "typeof(time_s) NOT IN ('real', 'null') OR abs(time_s) = 9e999 OR "
    "NOT (typeof(x0) = 'real' AND typeof(y0) = 'real' AND typeof(x1) = 'real' "
    "AND typeof(y1) = 'real' AND abs(x0) + abs(y0) + abs(x1) + abs(y1) < 9e999)"
)
ODD_SOURCE = (
    "typeof(path) <> 'text' OR instr(path, char(0)) OR typeof(sha256) NOT IN ('text', 'null')"
)

ODD_THUMBNAIL = "typeof(jpeg) <> 'blob'"


def check_place(
    catalog: Path, patch: object, source: object, time_s: object, box: tuple[object, ...]
) -> None:
    """Raises MismatchError, naming the catalog's file, for a place that is none."""
    if not isinstance(source, str) or "\0" in source:
        raise damaged(catalog, f"the source of the patch {patch} has no path")
    numbers = box if time_s is None else (*box, time_s)
    if not all(isinstance(value, float) and math.isfinite(value) for value in numbers):
        raise damaged(catalog, f"the patch {patch} has the time {time_s!r} and the box {box!r}")


def check_thumbnail(catalog: Path, patch: object, jpeg: object) -> None:
    """Raises MismatchError, naming the catalog's file, for a thumbnail that is no bytes."""
    if not isinstance(jpeg, bytes):
        raise damaged(catalog, f"the thumbnail of the patch {patch} is no picture")
