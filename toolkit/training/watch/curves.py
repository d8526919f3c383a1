"""Curves of a run: from the rows of metrics.jsonl to what a chart shows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_POINTS = 160  # of a curve; more are averaged in bins, and their range is drawn as a band
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a step, and the range of those that it is the mean of."""

    step: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """A curve by its name; style: "a" to "c" for the colours of the page."""

    name: str
    points: Sequence[Point]
    style: str = "a"


@dataclass(frozen=True, slots=True)
class Level:
    """A dashed line at a value that the curve is to be seen against."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Chart:
    """What one chart shows. floor and ceiling: the least range of the y axis."""

    title: str
    unit: str
    lines: Sequence[Line]
    levels: Sequence[Level] = ()
    floor: float = 0.0
    ceiling: float = 0.0


def points_of(rows: Iterable[Mapping[str, Any]], name: str, most: int = MOST_POINTS) -> list[Point]:
    """The values of one name over the steps, averaged to at most `most` points."""
    values = [
        (float(row["step"]), float(row[name]))
        for row in rows
        if isinstance(row.get(name), int | float) and math.isfinite(row[name])
    ]
    size = -(-len(values) // most) if values else 1
    bins = [values[start : start + size] for start in range(0, len(values), size)]
    return [_point(part) for part in bins]


def _point(part: Sequence[tuple[float, float]]) -> Point:
    values = [value for _, value in part]
    return Point(part[-1][0], math.fsum(values) / len(values), min(values), max(values))


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from low to high, at most `most` of them, both ends within."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in _NICE if power * nice >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(step * number, 12) for number in range(first, last + 1)]


def text_of(value: float) -> str:
    """A value as it stands at an axis or under the mouse: 0.002, 12,000, 0.4321."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 1e-4:
        return f"{value:.1e}".replace("e-0", "e-")
    return f"{value:.4g}"
