"""How an input was read, back from the name that the catalog keeps of it."""

from indexes.sources import Cut, Reading, SourceKind
from toolkit.errors import UsageError


def reading_named(kind: SourceKind, name: str) -> Reading | None:
    """The reading whose `of(kind)` is the name; None where that cannot be told any more.

    It cannot for moving regions that were found with settings of somebody's own, of which
    the catalog has only a digest, nor for what another release of vr wrote.
    """
    try:
        reading = _parsed(name)
    except (ValueError, UsageError):
        return None
    return reading if reading.of(kind) == name else None


def _parsed(name: str) -> Reading:
    if name.startswith("every:"):
        seconds, _, picture = name.removeprefix("every:").partition("/")
        cut, dense = _picture(picture)
        return Reading(cut=cut, dense=dense, every_s=float(seconds))
    if name.startswith("moving:") or name in ("pairs", "vectors"):
        return Reading()
    cut, dense = _picture(name)
    return Reading(cut=cut, dense=dense)


def _picture(name: str) -> tuple[Cut, bool]:
    if name == "whole":
        return Cut(), False
    if name == "dense" or name.startswith("dense:"):
        return Cut(windows=_whole_numbers(name[len("dense:") :], ",")), True
    parts = dict(part.split(":", 1) for part in name.split("+"))
    sides, _, overlap = parts.get("windows", "").partition("@")
    grids = [_whole_numbers(cell, "x") for cell in parts.get("grid", "").split(",") if cell]
    return Cut(
        grids=tuple((rows, columns) for rows, columns in grids),
        windows=_whole_numbers(sides, ","),
        overlap=float(overlap or Cut().overlap),
    ), False


def _whole_numbers(text: str, between: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(between) if number)
