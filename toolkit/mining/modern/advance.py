"""One tick of all tracks at once: where the things in their boxes went.

MedianFlow (Kalal et al. 2010) on a grid of points in each box, of which those count that
move against the camera, now or of late: the others lie beside the thing or before it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.mining.modern.camera import Affine, moved_by
from toolkit.mining.modern.flow import Followed, Points

GRID = 6  # points across and down a box
STILL_PX = 0.4
_MIN_POINTS = 6
_MIN_KEPT = 0.25  # share of the points that must come back
_MIN_OWN = 0.3
_MIN_MOVING = 0.3  # share of the points that make the thing a moving one
_SAME_MOTION_PX = 1.5
_MAX_STRETCH = 1.12  # a box does not grow more than this in a tick
_FORGET = 0.3  # weight of this tick in what has moved of late
_OF_LATE = 0.4

Cells = NDArray[np.float32]  # (T, GRID * GRID), how much of late each place of a box moved


@dataclass(frozen=True, slots=True)
class Advance:
    """What a tick did to T tracks.

    found: (T,), whether it could be followed; step: (T, 2), pixels; scale: (T,), growth;
    error: (T,), median there and back in pixels; cells: (T, GRID * GRID), carried on.
    """

    found: NDArray[np.bool_]
    step: Points
    scale: NDArray[np.float32]
    error: NDArray[np.float32]
    cells: Cells

    def or_else(self, other: "Advance") -> "Advance":
        """The same, and the other for the tracks that were not found."""
        mine = self.found
        return Advance(
            mine | other.found,
            np.where(mine[:, None], self.step, other.step),
            np.where(mine, self.scale, other.scale),
            np.where(mine, self.error, other.error),
            np.where(mine[:, None], self.cells, other.cells),
        )


_UNIT = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID
_PLACES = np.stack(np.meshgrid(_UNIT, _UNIT), axis=-1).reshape(-1, 2)  # (GRID * GRID, 2) in a box


def grid_points(boxes: Points) -> Points:
    """The places of the grid in boxes (T, 4), (T, GRID * GRID, 2)."""
    corner, size = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
    return corner + _PLACES * size


def advance(
    points: Points, followed: Followed, cells: Cells, camera: Affine, *, may_rest: bool = True
) -> Advance:
    """What a tick did to tracks whose grids of points (T, N, 2) were followed, T >= 1.

    may_rest: whether a thing is found that does not move against the camera.
    """
    kept = followed.kept
    residual = followed.after - moved_by(camera, points)
    moving = kept & (np.hypot(residual[..., 0], residual[..., 1]) > STILL_PX)
    thing = cells > _OF_LATE * cells.max(axis=1, keepdims=True)  # none where nothing moved yet
    cells = cells + _FORGET * (moving - cells)
    known = kept & (cells > _OF_LATE * cells.max(axis=1, keepdims=True))
    known_enough = known.sum(axis=1) >= _MIN_POINTS
    used = np.where(known_enough[:, None], known, kept)
    moves = moving.sum(axis=1) >= np.maximum(_MIN_POINTS, _MIN_MOVING * kept.sum(axis=1))
    used = np.where(moves[:, None], moving, used)
    shift = followed.after - points
    step = _median(shift, used)
    off = np.abs(shift - step[:, None]).max(axis=-1)
    allowed = _SAME_MOTION_PX + 0.5 * np.hypot(step[:, 0], step[:, 1])
    agree = used & (off <= allowed[:, None])
    # Where the thing's own points are lost, those beside it tell nothing of it.
    own = (kept & thing).sum(axis=1) >= _MIN_OWN * thing.sum(axis=1)
    found = own & (kept.mean(axis=1) >= _MIN_KEPT) & (agree.sum(axis=1) >= _MIN_POINTS)
    if not may_rest:
        found &= moves
    error = _median(followed.error[..., None], agree)[:, 0]
    return Advance(found, step, _stretch(points, followed.after, agree), error, cells)


def _median(values: Points, used: NDArray[np.bool_]) -> Points:
    """The lower median of the used values (T, N, C) of each row, (T, C); 0 for none."""
    ordered = np.sort(np.where(used[..., None], values, np.inf), axis=1)
    middle = np.maximum(used.sum(axis=1) - 1, 0) // 2
    picked = ordered[np.arange(len(ordered)), middle]
    return np.where(np.isfinite(picked), picked, 0).astype(np.float32)


def _stretch(before: Points, after: Points, used: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How much the points (T, N, 2) drew apart, least squares, (T,)."""
    weight = used[..., None].astype(np.float32)
    count = np.maximum(weight.sum(axis=1, keepdims=True), 1)
    before = (before - (before * weight).sum(axis=1, keepdims=True) / count) * weight
    after = (after - (after * weight).sum(axis=1, keepdims=True) / count) * weight
    spread = (before**2).sum(axis=(1, 2))
    ratio = (before * after).sum(axis=(1, 2)) / np.maximum(spread, 1e-6)
    stretched = np.where(spread > 1, ratio, 1).clip(1 / _MAX_STRETCH, _MAX_STRETCH)
    return stretched.astype(np.float32)
