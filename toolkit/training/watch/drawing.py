"""Charts in pixels, as inline SVG: drawn here, so that the page needs nothing beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from toolkit.training.watch.curves import Chart, Line, Point, text_of, ticks

WIDTH, HEIGHT = 400, 170
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 30


@dataclass(frozen=True, slots=True)
class Scale:
    """From steps and values to places in the picture."""

    steps: float
    low: float
    high: float

    def x(self, step: float) -> float:
        """Pixels from the left."""
        return round(LEFT + (WIDTH - LEFT - RIGHT) * step / self.steps, 1)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        part = (value - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part, 1)


def scale_of(chart: Chart, steps: int) -> Scale:
    """A scale that holds every point and level of a chart, from its floor on."""
    seen = [v for line in chart.lines for p in line.points for v in (p.low, p.high)]
    seen += [level.value for level in chart.levels]
    low = min([chart.floor, *seen])
    high = max([chart.ceiling, *seen])
    if high <= low:
        high = low + 1
    if high > chart.ceiling:
        high += 0.04 * (high - low)
    return Scale(max(1, steps), low, high)


@dataclass(frozen=True, slots=True)
class Zone:
    """What the mouse finds: a strip of the chart, its text, and where the values lie."""

    x: float
    width: float
    text: str
    dots: Sequence[tuple[float, float, str]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart in pixels; the template only writes it down.

    paths and bands: (style, SVG path data); levels: (name with its value, y).
    """

    chart: Chart
    paths: Sequence[tuple[str, str]]
    bands: Sequence[tuple[str, str]]
    levels: Sequence[tuple[str, float]]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    zones: Sequence[Zone]
    summary: str


def draw(chart: Chart, steps: int) -> Drawing:
    """Lay out a chart over the steps from 0 to `steps`."""
    scale = scale_of(chart, steps)
    return Drawing(
        chart=chart,
        paths=[(line.style, _path(line.points, scale)) for line in chart.lines],
        bands=[
            (line.style, _band(line.points, scale))
            for line in chart.lines
            if any(point.high > point.low for point in line.points)
        ],
        levels=[(f"{one.name} {text_of(one.value)}", scale.y(one.value)) for one in chart.levels],
        x_ticks=[(scale.x(step), text_of(step)) for step in ticks(0, scale.steps, 4)],
        y_ticks=[(scale.y(value), text_of(value)) for value in ticks(scale.low, scale.high)],
        zones=_zones(chart, scale),
        summary=_summary(chart),
    )


def _path(points: Sequence[Point], scale: Scale) -> str:
    if len(points) == 1:  # a line of one point would not be seen
        x, y = scale.x(points[0].step), scale.y(points[0].value)
        return f"M{x - 1.5:g} {y:g}h3"
    return "M" + "L".join(f"{scale.x(p.step):g} {scale.y(p.value):g}" for p in points)


def _band(points: Sequence[Point], scale: Scale) -> str:
    there = [f"{scale.x(p.step):g} {scale.y(p.high):g}" for p in points]
    back = [f"{scale.x(p.step):g} {scale.y(p.low):g}" for p in reversed(points)]
    return "M" + "L".join([*there, *back]) + "Z"


def _zones(chart: Chart, scale: Scale) -> list[Zone]:
    by_step: dict[float, list[tuple[Line, Point]]] = {}
    for line in chart.lines:
        for point in line.points:
            by_step.setdefault(point.step, []).append((line, point))
    found = sorted(by_step)
    edges = [(a + b) / 2 for a, b in pairwise(found)]
    zones = []
    for step, low, high in zip(found, [0.0, *edges], [*edges, scale.steps], strict=True):
        here = by_step[step]
        values = ", ".join(f"{line.name} {text_of(point.value)}" for line, point in here)
        dots = [(scale.x(step), scale.y(point.value), line.style) for line, point in here]
        x = scale.x(low)
        zones.append(Zone(x, round(scale.x(high) - x, 1), f"step {step:,.0f}: {values}", dots))
    return zones


def _summary(chart: Chart) -> str:
    """The chart in words, for those who cannot see it."""
    parts = []
    for line in chart.lines:
        first, last = line.points[0], line.points[-1]
        parts.append(
            f"{line.name} from {text_of(first.value)} at step {first.step:,.0f} "
            f"to {text_of(last.value)} at step {last.step:,.0f}"
        )
    parts += [f"{level.name} is at {text_of(level.value)}" for level in chart.levels]
    return f"{chart.title}: {'; '.join(parts)}."
