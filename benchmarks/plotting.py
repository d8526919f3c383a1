"""Plots as SVG: nothing but text, so that they need no package."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 20, 50
_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
)  # told apart by everyone


@dataclass(frozen=True, slots=True)
class Curve:
    """A name and a value for each place across."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Tens:
    """Decades from `low` to `high` on pixels from `first` to `last`."""

    low: int
    high: int
    first: float
    last: float

    @classmethod
    def over(cls, values: Sequence[float], first: float, last: float) -> "_Tens":
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return cls(low, max(high, low + 1), first, last)

    def at(self, value: float) -> float:
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.first + (self.last - self.first) * part, 1)

    def marks(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]


@dataclass(frozen=True, slots=True)
class _Shares:
    """From 0 to 1 on pixels from `first` to `last`."""

    first: float
    last: float

    def at(self, value: float) -> float:
        return round(self.first + (self.last - self.first) * value, 1)

    def marks(self) -> list[float]:
        return [step / 5 for step in range(6)]


_Axis = _Tens | _Shares


def draw_growth(sizes: Sequence[int], curves: Sequence[Curve], across: str) -> str:
    """The curves over the sizes, both axes logarithmic."""
    every = [value for curve in curves for value in curve.values]
    x = _Tens.over(sizes, _LEFT, _WIDTH - _RIGHT)
    y = _Tens.over(every, _HEIGHT - _BOTTOM, _TOP)
    return _draw(x, y, sizes, curves, across)


def draw_shares(shares: Sequence[float], curves: Sequence[Curve], across: str) -> str:
    """The curves over shares, both axes from 0 to 1."""
    x, y = _Shares(_LEFT, _WIDTH - _RIGHT), _Shares(_HEIGHT - _BOTTOM, _TOP)
    return _draw(x, y, shares, curves, across)


def _draw(x: _Axis, y: _Axis, places: Sequence[float], curves: Sequence[Curve], across: str) -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        *_grid(x, y),
        _text(_WIDTH / 2, _HEIGHT - 10, across, "middle"),
    ]
    below = isinstance(y, _Shares)  # where such curves leave room
    for row, (curve, colour) in enumerate(zip(curves, _COLOURS, strict=False)):
        parts += _curve(curve, colour, [x.at(place) for place in places], y)
        left = _LEFT + 12
        top = _HEIGHT - _BOTTOM - 20 * (len(curves) - row) if below else _TOP + 10 + 20 * row
        parts.append(f'<rect x="{left}" y="{top}" width="14" height="4" fill="{colour}"/>')
        parts.append(_text(left + 20, top + 6, curve.name, "start"))
    return "\n".join([*parts, "</svg>", ""])


def _grid(x: _Axis, y: _Axis) -> list[str]:
    lines = []
    for value in x.marks():
        at = x.at(value)
        lines.append(f'<path d="M{at} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#dddddd"/>')
        lines.append(
            _text(
                at,
                _HEIGHT - _BOTTOM + 18,
                f"{value:,g}" if value < 1 else f"{value:,.0f}",
                "middle",
            )
        )
    for value in y.marks():
        at = y.at(value)
        lines.append(f'<path d="M{_LEFT} {at}H{_WIDTH - _RIGHT}" stroke="#dddddd"/>')
        lines.append(_text(_LEFT - 6, at + 4, f"{value:g}", "end"))
    return lines


def _curve(curve: Curve, colour: str, across: Sequence[float], y: _Axis) -> list[str]:
    points = [(at, y.at(value)) for at, value in zip(across, curve.values, strict=True)]
    path = "L".join(f"{at} {up}" for at, up in points)
    line = f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
    return [line, *(f'<circle cx="{a}" cy="{b}" r="4" fill="{colour}"/>' for a, b in points)]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#222222">{escape(text)}</text>'
