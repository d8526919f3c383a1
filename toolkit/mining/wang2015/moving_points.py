"""Interest points, and which of them move against the background.

Points are float32 (N, 2), x and y in pixels of the scaled frame.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.video.frame import GrayImage

Points = NDArray[np.float32]  # (N, 2)
Homography = NDArray[np.float64]  # (3, 3), from one frame to the next

MOVING_PX = 0.5
_AGREE_PX = 1.0  # both numbers as in the improved trajectories, which trust no homography
MIN_AGREEING = 25  # that fewer matches obey
_MOST_POINTS = 2000  # the strongest; the time to match them grows with their square
_WINDOW = (15, 15)
_LEVELS = 3


@dataclass(frozen=True, slots=True)
class InterestPoints:
    """Points of a frame (N, 2) and their SIFT descriptors, float32 (N, 128), whole numbers."""

    points: Points
    descriptors: NDArray[np.float32]


class Detector:
    """SIFT, where the paper has SURF."""

    def __init__(self) -> None:
        import cv2

        self._sift = cv2.SIFT.create(nfeatures=_MOST_POINTS)

    def detect(self, gray: GrayImage) -> InterestPoints:
        """The interest points of a frame; a plain one has none."""
        found: tuple[Any, Any] = self._sift.detectAndCompute(gray, np.zeros(0, np.uint8))
        keypoints, descriptors = found
        if descriptors is None:
            return InterestPoints(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
        points = np.array([keypoint.pt for keypoint in keypoints], np.float32)
        return InterestPoints(points, descriptors)


def match(first: InterestPoints, second: InterestPoints) -> tuple[Points, Points]:
    """The points of two frames that are each other's nearest, in the order of the first.

    Returns two (M, 2). Descriptors are whole numbers with a squared length under 2**19, so
    float32 holds each product exactly, in whatever order it is summed.
    """
    if not len(first.points) or not len(second.points):
        return first.points[:0], second.points[:0]
    squares = np.einsum("ij,ij->i", second.descriptors, second.descriptors)
    likeness = 2 * (first.descriptors @ second.descriptors.T)
    forth = (likeness - squares).argmax(axis=1)
    own = np.einsum("ij,ij->i", first.descriptors, first.descriptors)
    back = (likeness - own[:, None]).argmax(axis=0)
    mutual = back[forth] == np.arange(len(forth))
    return first.points[mutual], second.points[forth[mutual]]


def camera_motion(before: Points, after: Points) -> Homography | None:
    """The homography that most matches (M, 2) obey, or None where too few do.

    OpenCV's RANSAC draws from a fixed seed, so the answer is the same each time.
    """
    import cv2

    if len(before) < MIN_AGREEING:
        return None
    found: tuple[Any, Any] = cv2.findHomography(before, after, cv2.RANSAC, _AGREE_PX)
    homography, inliers = found
    if homography is None or int(inliers.sum()) < MIN_AGREEING:
        return None
    return np.asarray(homography, np.float64)


def follow(first: GrayImage, second: GrayImage, points: Points) -> tuple[Points, Points]:
    """Where points went, by pyramidal Lucas-Kanade: those that were found, before and after."""
    import cv2

    if not len(points):
        return points, points
    after, found, _ = cv2.calcOpticalFlowPyrLK(
        first, second, points.reshape(-1, 1, 2), None, winSize=_WINDOW, maxLevel=_LEVELS
    )  # type: ignore[call-overload]
    kept = found[:, 0] == 1
    return points[kept], after[kept, 0]


def residual_flow(before: Points, after: Points, camera: Homography) -> NDArray[np.float64]:
    """How far points moved, (N,) pixels, once the camera's motion is taken back."""
    whole = np.column_stack([after, np.ones(len(after))]).astype(np.float64)
    back = whole @ np.linalg.inv(camera).T
    steady: NDArray[np.float64] = back[:, :2] / back[:, 2:]
    return np.asarray(np.linalg.norm(steady - before, axis=1), np.float64)
