"""Following points from one frame to the next, and what of it the camera did.

Points are float32 (N, 2), x and y in pixels of the analysed (small) frames, which are
uint8 (height, width).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.records import Box
from toolkit.video.frame import GrayImage

Points = NDArray[np.float32]  # (N, 2)
Affine = NDArray[np.float64]  # (2, 3)

STILL: Affine = np.eye(2, 3)
_WINDOW = (13, 13)
_LEVELS = 3
_LOST_PX = 1.0  # a point that does not come back to within a pixel is lost
_MIN_CAMERA_POINTS = 12
_MIN_EIGENVALUE = 1e-5
# DIS compares patches of 8 pixels at a quarter of the size; in less it reads foreign memory.
_MIN_FLOW_SIDE = 32
_MIN_CORNER = 1e-5  # minimal eigenvalue below which a place has no texture to follow


@dataclass(frozen=True, slots=True)
class Followed:
    """Where points went: before and after (N, 2), error (N,) in pixels there and back.

    kept: (N,), those that came back to where they were.
    """

    before: Points
    after: Points
    error: NDArray[np.float32]
    kept: NDArray[np.bool_]

    def split(self, ends: list[int]) -> "list[Followed]":
        """The same in groups that end before these rows."""
        parts = (np.split(rows, ends) for rows in (self.before, self.after, self.error, self.kept))
        return [Followed(*part) for part in zip(*parts, strict=True)]


def follow(previous: GrayImage, current: GrayImage, points: Points, expected: Points) -> Followed:
    """Pyramidal Lucas-Kanade there and back (Kalal et al., Forward-Backward Error, 2010).

    `expected` is where the points should come to by how they moved so far: a start from
    there finds what moves faster than the pyramid reaches.
    """
    if not len(points):
        return Followed(points, points, np.zeros(0, np.float32), np.zeros(0, bool))
    start = points.reshape(-1, 1, 2)
    move = expected.reshape(-1, 1, 2) - start
    after, found = _lucas_kanade(previous, current, start, start + move)
    back, returned = _lucas_kanade(current, previous, after, after - move)
    error = np.linalg.norm((back - start)[:, 0], axis=1).astype(np.float32)
    kept = (found[:, 0] == 1) & (returned[:, 0] == 1) & (error <= _LOST_PX)
    return Followed(points, after[:, 0], error, kept)


def _lucas_kanade(first: GrayImage, second: GrayImage, start: Any, guess: Any) -> tuple[Any, Any]:
    import cv2

    after, found, _ = cv2.calcOpticalFlowPyrLK(
        first,
        second,
        start,
        guess,  # overwritten with the result
        winSize=_WINDOW,
        maxLevel=_LEVELS,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.02),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        minEigThreshold=_MIN_EIGENVALUE,
    )
    return after, found


def dense_flow(first: GrayImage, second: GrayImage) -> NDArray[np.float32]:
    """Where each pixel of `first` goes to, (height, width, 2): DIS, ultrafast."""
    import cv2

    # DIS cuts the frame into one stripe a thread, so its result depends on their number.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        flow = dis.calc(_padded(first), _padded(second), np.zeros(0))
        height, width = first.shape
        return np.asarray(flow[:height, :width], np.float32)
    finally:
        cv2.setNumThreads(threads)


def _padded(gray: GrayImage) -> GrayImage:
    import cv2

    down, right = (max(0, _MIN_FLOW_SIDE - side) for side in gray.shape)
    if not down and not right:
        return gray
    return np.asarray(cv2.copyMakeBorder(gray, 0, down, 0, right, cv2.BORDER_REPLICATE), np.uint8)


class DenseFlow:
    """The dense flow there and back between two frames, computed when first asked for."""

    def __init__(self, previous: GrayImage, current: GrayImage) -> None:
        self._frames = previous, current
        self._flows: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the frames."""
        height, width = self._frames[0].shape
        return height, width

    def follow(self, points: Points) -> Followed:
        """Follow points by it; those that do not come back to where they were are lost."""
        if self._flows is None:
            previous, current = self._frames
            self._flows = dense_flow(previous, current), dense_flow(current, previous)
        there, back = self._flows
        height, width = self.shape
        forth = _at(there, points)
        after = points + forth
        inside = ((after >= 0) & (after < [width, height])).all(axis=1)
        error = np.linalg.norm(forth + _at(back, after), axis=1).astype(np.float32)
        allowed = _LOST_PX + 0.05 * np.linalg.norm(forth, axis=1)
        return Followed(points, after.astype(np.float32), error, inside & (error <= allowed))


def _at(flow: NDArray[np.float32], points: Points) -> NDArray[np.float32]:
    height, width = flow.shape[:2]
    column, row = points.round().astype(np.intp).T
    picked: NDArray[np.float32] = flow[row.clip(0, height - 1), column.clip(0, width - 1)]
    return picked


def grid_points(box: Box, shape: tuple[int, int], across: int = 10) -> Points:
    """A regular grid of points over the part of a box that lies in the frame, (N, 2)."""
    height, width = shape
    x = np.linspace(max(box.x0, 0), min(box.x1, width) - 1, across)
    y = np.linspace(max(box.y0, 0), min(box.y1, height) - 1, across)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)


def camera_motion(before: Points, after: Points) -> tuple[Affine, float] | None:
    """The affine motion that most points share, and the share of points that obey it.

    None where there are too few points to say. RANSAC draws from a fixed seed inside
    OpenCV, so the answer is the same each time.
    """
    import cv2

    if len(before) < _MIN_CAMERA_POINTS:
        return None
    found: tuple[Any, Any] = cv2.estimateAffine2D(
        before, after, method=cv2.RANSAC, ransacReprojThreshold=0.7, maxIters=500
    )
    affine, inliers = found
    return None if affine is None else (affine, float(inliers.mean()))


def moved_by(affine: Affine, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Where the camera's motion alone takes points (N, 2)."""
    return points @ affine[:, :2].T + affine[:, 2]


def corner_strength(gray: GrayImage) -> NDArray[np.float32]:
    """How well each pixel can be followed (Shi and Tomasi's minimal eigenvalue), (H, W)."""
    import cv2

    return cv2.cornerMinEigenVal(gray, 5).astype(np.float32)


def spread_points(strength: NDArray[np.float32], across: int, down: int) -> Points:
    """The strongest pixel of each cell of a grid: texture, evenly spread; (N, 2)."""
    height, width = strength.shape
    down, across = min(down, height), min(across, width)
    cell_h, cell_w = height // down, width // across
    whole = strength[: cell_h * down, : cell_w * across]
    by_cell = whole.reshape(down, cell_h, across, cell_w).transpose(0, 2, 1, 3)
    cells = by_cell.reshape(down * across, cell_h * cell_w)
    best = cells.argmax(axis=1)
    textured = cells[np.arange(len(cells)), best] > _MIN_CORNER
    row, column = np.divmod(np.arange(len(cells)), across)
    x = column * cell_w + best % cell_w
    y = row * cell_h + best // cell_w
    points: Points = np.stack([x, y], axis=1)[textured].astype(np.float32)
    return points
