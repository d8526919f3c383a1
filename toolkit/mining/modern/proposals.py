"""Where something moves that the camera does not explain: the paper's section 3, dense.

The paper counts moving SURF points in fixed boxes; here a dense flow (DIS, ultrafast)
minus the camera's motion is thresholded, and each connected piece gives its own box.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.mining.modern.motion import Affine, Points, dense_flow
from toolkit.records import Box
from toolkit.video.frame import GrayImage

Mask = NDArray[np.bool_]  # (height, width) of the analysed frame

ACTIVE = 0.3  # share of a box that moves in a thing that waves or turns on the spot
_MIN_RESIDUAL_PX = 0.5  # the paper's threshold
_MAX_RESIDUAL_PX = 2.0  # beyond this it is motion, even where most of the frame has it
_NOISE_FACTOR = 4.0  # flow this many times the typical residual is no noise
_MIN_CHANGE = 10  # gray levels; flow bleeds into flat surroundings, where nothing changes
_MAX_MOVING = 0.6  # a frame in which more than this moves tells nothing from anything
_MAX_AREA = 0.45  # of the frame
_MIN_FILL = 0.3  # of the box by its piece
_MIN_SIDE_PX = 10


@dataclass(frozen=True, slots=True)
class Moving:
    """What moves in a frame: a mask, and the box of each sizeable piece, largest first.

    flow: (height, width, 2), from each pixel of the frame back to the one before.
    """

    mask: Mask
    boxes: list[Box]
    flow: NDArray[np.float32]

    def share(self, box: Box) -> float:
        """The share of a box that moves, 0 to 1."""
        inside = self.mask[max(0, int(box.y0)) : int(box.y1), max(0, int(box.x0)) : int(box.x1)]
        return float(inside.mean()) if inside.size else 0.0

    def velocity(self, points: Points) -> Points:
        """The median motion of points into this frame, (1, 2), pixels."""
        column, row = points.astype(np.intp).T
        median: Points = np.median(self.flow[row, column], axis=0, keepdims=True)
        return -median


def find_moving(previous: GrayImage, current: GrayImage, camera: Affine) -> Moving | None:
    """Moving pieces of `current`, given the camera's motion from `previous` to it.

    None where so much moves that the camera cannot be told from the things.
    """
    flow = dense_flow(current, previous)
    mask = _moving_mask(previous, current, camera, flow)
    if mask.mean() > _MAX_MOVING:
        return None
    return Moving(mask, _boxes(mask), flow)


def _moving_mask(
    previous: GrayImage, current: GrayImage, camera: Affine, flow: NDArray[np.float32]
) -> Mask:
    import cv2

    backward = cv2.invertAffineTransform(camera)
    height, width = current.shape
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    (a, b, tx), (c, d, ty) = backward.astype(np.float32)
    across = flow[..., 0] - ((a - 1) * x + b * y + tx)
    down = flow[..., 1] - (c * x + (d - 1) * y + ty)
    residual = np.hypot(across, down)
    noise = _NOISE_FACTOR * float(np.median(residual[::4, ::4]))
    threshold = min(max(noise, _MIN_RESIDUAL_PX), _MAX_RESIDUAL_PX)
    warped = cv2.warpAffine(previous, camera, (width, height), borderMode=cv2.BORDER_REPLICATE)
    change = cv2.blur(cv2.absdiff(current, warped), (3, 3)) > _MIN_CHANGE
    changed = cv2.dilate(change.astype(np.uint8), np.ones((3, 3), np.uint8))
    mask: Mask = (residual > threshold) & (changed > 0)
    return mask


def _boxes(mask: Mask) -> list[Box]:
    import cv2

    cleaned = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    pieces = cv2.morphologyEx(cleaned, cv2.MORPH_CLOSE, np.ones((5, 3), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(pieces, connectivity=8)
    boxes = []
    for x, y, width, height, pixels in stats[1:].tolist():
        if (
            min(width, height) >= _MIN_SIDE_PX
            and width * height <= _MAX_AREA * mask.size
            and pixels >= _MIN_FILL * width * height
        ):
            boxes.append(Box(x, y, x + width, y + height))
    return sorted(boxes, key=lambda box: (-box.area, box.x0, box.y0))
