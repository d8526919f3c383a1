"""One thing that is being followed, from tick to tick."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from toolkit.mining.modern.advance import GRID, STILL_PX
from toolkit.mining.modern.samples import Look
from toolkit.records import Box


def _no_cells() -> NDArray[np.float32]:
    return np.zeros(GRID * GRID, np.float32)


@dataclass(slots=True)
class LiveTrack:
    """State of a track in pixels of the analysed frame; `shift` and `error` since a sample.

    velocity: (x, y), the last tick's motion in pixels; look: what was seen last; cells: which
    places of its box moved of late; error: the worst tick's, there and back, as a fraction of
    the box's diagonal; activity: the share of the box that moved when last looked at; fit:
    its IoU with the piece that moved there; shift: what it moved against the background;
    sampled: whether it has given a sample yet.
    """

    number: int
    box: Box
    moved_s: float
    velocity: tuple[float, float]
    look: Look
    cells: NDArray[np.float32] = field(default_factory=_no_cells)
    error: float = 0.0
    activity: float = 0.0
    fit: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    sampled: bool = False

    def move(self, step: tuple[float, float], scale: float, error_px: float) -> None:
        """Take one tick: a step in pixels, a growth, an error in pixels."""
        cx, cy = self.box.center
        width, height = self.box.width * scale, self.box.height * scale
        self.box = Box.around(cx + step[0], cy + step[1], width, height)
        self.velocity = step
        self.error = max(self.error, error_px / math.hypot(width, height))

    @property
    def travels(self) -> bool:
        """Whether all of it moved in the last tick, by more than tracking is wrong."""
        return math.hypot(*self.velocity) > 2 * STILL_PX

    @property
    def travel(self) -> tuple[float, float]:
        """`shift` in lengths of the thing (the square root of its box's area)."""
        length = math.sqrt(self.box.area)
        return self.shift[0] / length, self.shift[1] / length

    def correct(self, box: Box, weight: float) -> None:
        """Draw the box towards where the thing is seen to move."""
        drawn = zip(self.box.as_list(), box.as_list(), strict=True)
        self.box = Box(*(old + weight * (new - old) for old, new in drawn))
