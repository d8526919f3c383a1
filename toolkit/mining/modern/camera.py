"""What of the motion the camera did: one affine motion that most of the picture obeys."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.mining.modern.flow import Points
from toolkit.mining.modern.picture import STEP, Picture

Affine = NDArray[np.float64]  # (2, 3)

STILL: Affine = np.eye(2, 3)
_MIN_POINTS = 12
_MIN_TEXTURE = 2.0  # gray levels from a place to the next but one, in a mean of nine
_GRID = (12, 8)


def background_points(picture: Picture) -> Points:
    """The most textured place of each cell of a grid, (N, 2); fewer where it is flat."""
    import cv2

    # On the coarse frame noise has gone.
    coarse = picture.coarse.astype(np.float32)
    across = cv2.Sobel(coarse, cv2.CV_32F, 1, 0, ksize=1)
    down = cv2.Sobel(coarse, cv2.CV_32F, 0, 1, ksize=1)
    # The weaker of the two directions: along an edge nothing can be followed.
    strength = np.minimum(cv2.blur(np.abs(across), (3, 3)), cv2.blur(np.abs(down), (3, 3)))
    points = spread_points(strength, *_GRID, least=_MIN_TEXTURE)
    return points * np.float32(STEP)


def spread_points(strength: NDArray[np.float32], across: int, down: int, *, least: float) -> Points:
    """The strongest pixel of each cell of a grid, (N, 2), where it is over `least`."""
    height, width = strength.shape
    down, across = min(down, height), min(across, width)
    cell_h, cell_w = height // down, width // across
    whole = strength[: cell_h * down, : cell_w * across]
    by_cell = whole.reshape(down, cell_h, across, cell_w).transpose(0, 2, 1, 3)
    cells = by_cell.reshape(down * across, cell_h * cell_w)
    best = cells.argmax(axis=1)
    textured = cells[np.arange(len(cells)), best] > least
    row, column = np.divmod(np.arange(len(cells)), across)
    x = column * cell_w + best % cell_w
    y = row * cell_h + best // cell_w
    points: Points = np.stack([x, y], axis=1)[textured].astype(np.float32)
    return points


def camera_motion(before: Points, after: Points) -> tuple[Affine, float] | None:
    """The affine motion that most points (N, 2) share, and the share of points that obey it.

    None where there are too few points to say. RANSAC draws from a fixed seed inside
    OpenCV, so the answer is the same each time.
    """
    import cv2

    if len(before) < _MIN_POINTS:
        return None
    found: tuple[Any, Any] = cv2.estimateAffine2D(
        before, after, method=cv2.RANSAC, ransacReprojThreshold=0.7, maxIters=500
    )
    affine, inliers = found
    return None if affine is None else (affine, float(inliers.mean()))


def moved_by(affine: Affine, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Where the camera's motion alone takes points (..., 2)."""
    return points @ affine[:, :2].T + affine[:, 2]
