"""Which frames have a query, and where it lies in them."""

import numpy as np

from toolkit.mining.tally import Tally
from toolkit.mining.wang2015.box_search import fullest_box
from toolkit.mining.wang2015.moving_points import (
    MIN_AGREEING,
    MOVING_PX,
    Detector,
    InterestPoints,
    Points,
    camera_motion,
    follow,
    match,
    residual_flow,
)
from toolkit.mining.wang2015.scaled import BOX_PX, ScaledFrame

FEWEST_MOVING, MOST_MOVING = 0.25, 0.75  # shares of a frame's points; with these it is kept

_TOO_FEW_POINTS = "frames with too few points"
_UNCLEAR_CAMERA = "frames with unclear camera motion"
_FEW_MOVING = "frames with few moving points"
_MOSTLY_MOVING = "frames with mostly moving points"


class QueryFinder:
    """Looks for the box with the most moving points, and counts the frames without."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._detector = Detector()
        self._known: tuple[ScaledFrame, InterestPoints] | None = None

    def find(self, frame: ScaledFrame, following: ScaledFrame) -> tuple[int, int] | None:
        """The corner (x, y) of the query's box in `frame`, or None where it is rejected."""
        moving = self._moving(frame, following)
        if moving is None:
            return None
        height, width = frame.gray.shape
        return fullest_box(moving, (height, width), BOX_PX)

    def _moving(self, frame: ScaledFrame, following: ScaledFrame) -> Points | None:
        """The moving points of a frame, or None for one that is rejected."""
        points = self._points(frame)
        before, after = match(points, self._points(following))
        camera = camera_motion(before, after)
        if camera is None:
            few = len(before) < MIN_AGREEING
            self._tally.reject(_TOO_FEW_POINTS if few else _UNCLEAR_CAMERA)
            return None
        # SIFT gives one place several times, once for each of its directions.
        places = np.unique(points.points, axis=0)
        before, after = follow(frame.gray, following.gray, places)
        moving = residual_flow(before, after, camera) > MOVING_PX
        share = float(moving.mean()) if len(moving) else 0.0
        if FEWEST_MOVING <= share <= MOST_MOVING:
            return before[moving]
        self._tally.reject(_FEW_MOVING if share < FEWEST_MOVING else _MOSTLY_MOVING)
        return None

    def _points(self, frame: ScaledFrame) -> InterestPoints:
        """Each frame is asked for twice in a row, as the second and as the first of two."""
        if self._known is None or self._known[0] is not frame:
            self._known = frame, self._detector.detect(frame.gray)
        return self._known[1]
