"""Where points, and where all pixels, go from one analysed frame to the next.

Analysed frames are small gray copies, uint8 (height, width); points are float32 (..., 2), x
and y in their pixels. Points are followed by Lucas-Kanade there and back, and one that does
not come back to where it was is lost (Kalal et al., Forward-Backward Error, 2010). The dense
flow is DIS (Kroeger et al. 2016), near enough to find what moves, not to follow it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.mining.one_thread import one_thread
from toolkit.video.frame import GrayImage

Points = NDArray[np.float32]  # (..., 2)
FlowField = NDArray[np.float32]  # (height, width, 2)

LOST_PX = 1.0  # a point that comes back further off than this is lost
_LOST_SHARE = 0.05  # and, in the dense flow, than this share of its motion
_WINDOW = (9, 9)
_LEVELS = 3
_STEPS = 10
_MIN_EIGENVALUE = 1e-5
# DIS compares patches of 8 pixels; in less it reads foreign memory.
_MIN_SIDE = 32
# At the size of the places a finer scale with fewer patches is nearer and quicker than the
# preset at twice that size.
_FINEST_SCALE = 1
_PATCH_STRIDE = 6
_ITERATIONS = 8


@dataclass(frozen=True, slots=True)
class Followed:
    """Where points went: after (..., 2), error (...) in pixels there and back.

    kept: (...), those that came back to where they were.
    """

    after: Points
    error: NDArray[np.float32]
    kept: NDArray[np.bool_]

    def split(self, end: int) -> "tuple[Followed, Followed]":
        """The first `end` points, and the rest."""
        first, rest = slice(None, end), slice(end, None)
        return self._at(first), self._at(rest)

    def _at(self, rows: slice) -> "Followed":
        return Followed(self.after[rows], self.error[rows], self.kept[rows])

    def scaled(self, factor: float) -> "Followed":
        """The same in pixels that are so many times smaller."""
        small = np.float32(factor)
        return Followed(self.after * small, self.error * small, self.kept)

    def of_tracks(self, tracks: int) -> "Followed":
        """As (tracks, N, ...), for T tracks of equally many points each."""
        return Followed(
            self.after.reshape(tracks, -1, 2),
            self.error.reshape(tracks, -1),
            self.kept.reshape(tracks, -1),
        )


def follow(previous: GrayImage, current: GrayImage, points: Points, expected: Points) -> Followed:
    """Follow points (N, 2) by pyramidal Lucas-Kanade, there and back.

    `expected` is where they should come to by how they moved so far: a start from there finds
    what moves faster than the pyramid reaches. What leaves the frame is lost.
    """
    if not len(points):
        return Followed(points, np.zeros(0, np.float32), np.zeros(0, bool))
    move = expected - points
    after, found = _lucas_kanade(previous, current, points, expected)
    back, returned = _lucas_kanade(current, previous, after, after - move)
    error = np.hypot(*(back - points).T)
    height, width = current.shape
    inside = ((after >= 0) & (after < (width, height))).all(axis=-1)
    kept = found & returned & inside & (error <= LOST_PX)
    return Followed(after, error, kept)


def _lucas_kanade(
    first: GrayImage, second: GrayImage, start: Points, guess: Points
) -> tuple[Points, NDArray[np.bool_]]:
    import cv2

    after, found, _ = cv2.calcOpticalFlowPyrLK(
        first,
        second,
        start[:, None],
        guess[:, None].astype(np.float32),  # overwritten with the result
        winSize=_WINDOW,
        maxLevel=_LEVELS,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _STEPS, 0.03),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        minEigThreshold=_MIN_EIGENVALUE,
    )
    return np.asarray(after[:, 0], np.float32), found[:, 0] == 1


def follow_area(there: FlowField, back: FlowField, points: Points) -> Followed:
    """Follow points (..., 2) by the dense flow between two frames, there and back.

    Where single points are lost, in blur or on plain clothes, their surroundings still tell.
    """
    forth = _at(there, points)
    after = points + forth
    miss = forth + _at(back, after)
    error = np.hypot(miss[..., 0], miss[..., 1])
    height, width = there.shape[:2]
    inside = ((after >= 0) & (after < (width, height))).all(axis=-1)
    allowed = LOST_PX + _LOST_SHARE * np.hypot(forth[..., 0], forth[..., 1])
    return Followed(after, error, inside & (error <= allowed))


def _at(field: FlowField, points: Points) -> Points:
    """The flow at the pixels nearest to points (..., 2), at the border beyond it."""
    height, width = field.shape[:2]
    column = np.rint(points[..., 0]).astype(np.intp).clip(0, width - 1)
    row = np.rint(points[..., 1]).astype(np.intp).clip(0, height - 1)
    picked: Points = field[row, column]
    return picked


def dense_flow(first: GrayImage, second: GrayImage) -> FlowField:
    """Where each pixel of `first` goes to, (height, width, 2)."""
    import cv2

    # DIS cuts the frame into one stripe a thread, so its result depends on their number.
    with one_thread():
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        dis.setFinestScale(_FINEST_SCALE)
        dis.setPatchStride(_PATCH_STRIDE)
        dis.setGradientDescentIterations(_ITERATIONS)
        flow = dis.calc(_padded(first), _padded(second), np.zeros(0))
        height, width = first.shape
        return np.asarray(flow[:height, :width], np.float32)


def _padded(gray: GrayImage) -> GrayImage:
    import cv2

    down, right = (max(0, _MIN_SIDE - side) for side in gray.shape)
    if not down and not right:
        return gray
    return np.asarray(cv2.copyMakeBorder(gray, 0, down, 0, right, cv2.BORDER_REPLICATE), np.uint8)
