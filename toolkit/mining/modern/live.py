"""One thing that is being followed, from tick to tick (MedianFlow, Kalal et al. 2010)."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from toolkit.mining.modern.motion import Affine, Followed, Points, moved_by, spread_points
from toolkit.mining.modern.proposals import Mask
from toolkit.records import Box
from toolkit.video.frame import GrayImage

MIN_POINTS = 5
_GRID = 7  # at most this squared points a thing
_MAX_STRETCH = 1.12  # a box does not grow more than this in a tick
_MIN_KEPT = 0.25  # share of the points that must come back
_SAME_MOTION_PX = 1.5
_STILL_PX = 0.4
_MIN_MOVING = 0.25  # share of the points that make the thing a moving one


@dataclass(slots=True)
class LiveTrack:
    """State of a track in pixels of the analysed frame; `shift` and `errors` since a sample.

    velocity: (1, 2), the last tick's motion in pixels, to start the next search from;
    activity: the share of the box that moved when last looked at; look: what was seen then;
    shift: what it moved against the background; errors: there-and-back, a tick each, as
    fractions of the box's diagonal; sampled: whether it has given a sample yet.
    """

    number: int
    box: Box
    points: Points
    moved_s: float
    velocity: Points
    look: GrayImage
    errors: list[float] = field(default_factory=list)
    activity: float = 0.0
    shift: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    sampled: bool = False

    def advance(self, followed: Followed, camera: Affine, *, may_rest: bool = True) -> bool:
        """Take one tick; False where the thing is lost, or rests and may not."""
        kept = followed.kept
        before, after, error = followed.before[kept], followed.after[kept], followed.error[kept]
        moving = _moving(before, after, camera)
        if moving.sum() >= max(MIN_POINTS, _MIN_MOVING * len(kept)):
            # The other points lie beside the thing, or before it.
            before, after, error = before[moving], after[moving], error[moving]
        elif not may_rest:
            return False
        if len(before) < max(MIN_POINTS, _MIN_KEPT * len(kept)):
            return False
        step = np.median(after - before, axis=0)
        spread = np.abs(after - before - step).max(axis=1)
        agree = spread <= _SAME_MOTION_PX + 0.5 * float(np.hypot(*step))
        if agree.sum() < MIN_POINTS:
            return False
        self._move(step, _stretch(before[agree], after[agree]), camera)
        self.errors.append(float(np.median(error[agree])) / self._diagonal)
        self.points = after[agree]
        return True

    def _move(self, step: Points, scale: float, camera: Affine) -> None:
        cx, cy = self.box.center
        dx, dy = step.tolist()
        width, height = self.box.width * scale, self.box.height * scale
        self.box = Box.around(cx + dx, cy + dy, width, height)
        self.shift += self.box.center - moved_by(camera, np.array([[cx, cy]]))[0]
        self.velocity = step.reshape(1, 2)

    @property
    def _diagonal(self) -> float:
        return float(np.hypot(self.box.width, self.box.height))

    @property
    def travels(self) -> bool:
        """Whether all of it moved in the last tick, by more than tracking is wrong."""
        return float(np.hypot(*self.velocity[0])) > 2 * _STILL_PX

    @property
    def travel(self) -> tuple[float, float]:
        """`shift` in lengths of the thing (the square root of its box's area)."""
        dx, dy = (self.shift / math.sqrt(self.box.area)).tolist()
        return dx, dy

    def correct(self, box: Box, weight: float) -> None:
        """Draw the box towards where the thing is seen to move."""
        old = np.array(self.box.as_list())
        self.box = Box(*(old + weight * (np.array(box.as_list()) - old)).tolist())

    def reseed(self, strength: NDArray[np.float32], mask: Mask) -> None:
        """Take fresh points on the moving part; the old ones stay where there are too few."""
        fresh = seed(self.box, strength, mask)
        if len(fresh) >= 2 * MIN_POINTS:
            self.points = fresh


def seed(box: Box, strength: NDArray[np.float32], mask: Mask) -> Points:
    """Well-textured moving points of a box, evenly spread, (N, 2)."""
    height, width = strength.shape
    x0, y0 = max(0, int(box.x0)), max(0, int(box.y0))
    x1, y1 = min(width, int(np.ceil(box.x1))), min(height, int(np.ceil(box.y1)))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return np.zeros((0, 2), np.float32)
    inside = np.where(mask[y0:y1, x0:x1], strength[y0:y1, x0:x1], 0)
    across, down = min(_GRID, (x1 - x0) // 2), min(_GRID, (y1 - y0) // 2)
    return spread_points(inside, across, down) + np.array([x0, y0], np.float32)


def _moving(before: Points, after: Points, camera: Affine) -> NDArray[np.bool_]:
    """The points whose motion the camera does not explain."""
    residual = np.linalg.norm(after - moved_by(camera, before), axis=1)
    moving: NDArray[np.bool_] = residual > _STILL_PX
    return moving


def _stretch(before: Points, after: Points) -> float:
    """The median change of distance between pairs of points."""
    first, second = np.triu_indices(len(before), 1)
    old = np.linalg.norm(before[first] - before[second], axis=1)
    new = np.linalg.norm(after[first] - after[second], axis=1)
    apart = old > 3
    if apart.sum() < 6:
        return 1.0
    ratio = float(np.median(new[apart] / old[apart]))
    return min(max(ratio, 1 / _MAX_STRETCH), _MAX_STRETCH)
