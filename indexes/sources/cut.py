"""Where the patches of a picture lie: plain arithmetic on its width and height."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

from indexes.records import PixelBox
from toolkit.errors import UsageError

WHOLE = "whole"
_MAX_CELLS = 100  # rows or columns of a grid
_SIDES = (8, 65_536)  # pixels of a window
_MAX_OVERLAP = 0.95
_CELL_PIXELS = 8  # a cell is no smaller, however small the picture is


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How a picture is cut into patches; nothing given is the whole picture as one.

    grids: each (rows, columns) of equal cells that lie side by side; (1, 1) is the whole
    picture. windows: sides of square windows, in pixels; overlap: how much of its side a
    window shares with the next one, at least. Both together give both. Raises UsageError.
    """

    grids: tuple[tuple[int, int], ...] = ()
    windows: tuple[int, ...] = ()
    overlap: float = 0.5

    def __post_init__(self) -> None:
        for rows, columns in self.grids:
            if not (1 <= rows <= _MAX_CELLS and 1 <= columns <= _MAX_CELLS):
                raise UsageError(
                    f"A grid of {rows}x{columns} is out of range.",
                    mend=f"Give 1 to {_MAX_CELLS} rows and columns.",
                )
        for side in self.windows:
            if not _SIDES[0] <= side <= _SIDES[1]:
                raise UsageError(
                    f"A window of {side} pixels is out of range.",
                    mend=f"Give {_SIDES[0]} to {_SIDES[1]} pixels.",
                )
        if not 0 <= self.overlap <= _MAX_OVERLAP:
            raise UsageError(f"The overlap is {self.overlap}; it must be 0 to {_MAX_OVERLAP}.")

    @property
    def is_whole(self) -> bool:
        """True where each picture is one patch."""
        return not self.windows and set(self.grids) <= {(1, 1)}

    @property
    def name(self) -> str:
        """The same for every way to write the same cut: "grid:1x1,3x3+windows:128@0.5"."""
        if self.is_whole:
            return WHOLE
        grids = ",".join(f"{rows}x{columns}" for rows, columns in sorted(set(self.grids)))
        sides = ",".join(map(str, sorted(set(self.windows))))
        parts = [f"grid:{grids}"] if grids else []
        parts += [f"windows:{sides}@{self.overlap!r}"] if sides else []
        return "+".join(parts)

    def boxes(self, width: int, height: int) -> Iterator[PixelBox]:
        """The patches of a picture, each once, xyxy: grids first, the coarsest of all first.

        Together they leave no pixel out. A window that is larger than the picture is clipped
        to it.
        """
        seen: set[PixelBox] = set()
        for box in self._all(width, height):
            if box not in seen:
                seen.add(box)
                yield box

    def _all(self, width: int, height: int) -> Iterator[PixelBox]:
        for rows, columns in sorted(set(self.grids or (() if self.windows else ((1, 1),)))):
            down, across = _cells(height, rows), _cells(width, columns)
            yield from ((x0, y0, x1, y1) for (y0, y1), (x0, x1) in product(down, across))
        for side in sorted(set(self.windows), reverse=True):
            down, across = (_windows(length, side, self.overlap) for length in (height, width))
            yield from ((x0, y0, x1, y1) for (y0, y1), (x0, x1) in product(down, across))


def _cells(length: int, count: int) -> list[tuple[float, float]]:
    """Equal cells, in whole pixels, that cover a length side by side."""
    count = max(1, min(count, length // _CELL_PIXELS))
    return list(pairwise(float(length * i // count) for i in range(count + 1)))


def _windows(length: int, side: int, overlap: float) -> list[tuple[float, float]]:
    """Windows of `side` from one end of a length to the other, evenly, as few as will do."""
    if side >= length:
        return [(0.0, float(length))]
    steps = math.ceil((length - side) / max(1.0, side * (1 - overlap)))
    starts = ((length - side) * i // steps for i in range(steps + 1))
    return [(float(start), float(start + side)) for start in starts]
