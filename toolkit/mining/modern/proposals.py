"""Where something moves that the camera does not explain: the paper's section 3, dense.

The paper counts moving SURF points in fixed boxes; here a dense flow minus the camera's
motion is thresholded, and each connected piece gives its own box.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.mining.modern.camera import Affine
from toolkit.mining.modern.engine import FlowEngine
from toolkit.mining.modern.flow import FlowField
from toolkit.mining.modern.picture import MIN_CHANGE, STEP, Picture
from toolkit.records import Box
from toolkit.video.frame import GrayImage

Mask = NDArray[np.bool_]  # (height, width) of the analysed frame, over STEP

ACTIVE = 0.3  # share of a box that moves in a thing that waves or turns on the spot
_MIN_RESIDUAL_PX = 0.5  # the paper's threshold
_MAX_RESIDUAL_PX = 2.0  # beyond this it is motion, even where most of the frame has it
_NOISE_FACTOR = 4.0  # flow this many times the typical residual is no noise
_MAX_MOVING = 0.6  # a frame in which more than this moves tells nothing from anything
_MAX_AREA = 0.45  # of the frame
_MIN_FILL = 0.3  # of the box by its piece
_MIN_SIDE_PX = 10


@dataclass(frozen=True, slots=True)
class Moving:
    """What moves in a frame: a mask, and the box of each sizeable piece, largest first.

    back: (height, width, 2) over STEP, from each place of the frame back to the one before,
    in pixels of the frame.
    """

    mask: Mask
    boxes: list[Box]
    back: FlowField

    def share(self, box: Box) -> float:
        """The share of a box that moves, 0 to 1."""
        inside = self.mask[_places(box)]
        return np.count_nonzero(inside) / inside.size if inside.size else 0.0

    def velocity(self, box: Box) -> tuple[float, float]:
        """The median motion of what moves in a box, into this frame, in pixels."""
        places = _places(box)
        inside = self.back[places][self.mask[places]]
        if not len(inside):
            return 0.0, 0.0
        x, y = (-np.median(inside, axis=0)).tolist()
        return x, y


def _places(box: Box) -> tuple[slice, slice]:
    rows = slice(max(0, int(box.y0 / STEP)), max(0, math.ceil(box.y1 / STEP)))
    return rows, slice(max(0, int(box.x0 / STEP)), max(0, math.ceil(box.x1 / STEP)))


def find_moving(
    previous: Picture, current: Picture, camera: Affine, engine: FlowEngine
) -> Moving | None:
    """Moving pieces of `current`, given the camera's motion from `previous` to it.

    None where so much moves that the camera cannot be told from the things.
    """
    before, after = previous.coarse, current.coarse
    if current.equals(previous):
        return Moving(np.zeros(after.shape, bool), [], np.zeros((*after.shape, 2), np.float32))
    coarse_camera = camera / [1, 1, STEP]
    back = engine.dense_flow(after, before)
    mask = _residual(coarse_camera, back) & _changed(before, after, coarse_camera)
    if np.count_nonzero(mask) > _MAX_MOVING * mask.size:
        return None
    return Moving(mask, _boxes(mask), back * np.float32(STEP))


def _residual(camera: Affine, flow: FlowField) -> Mask:
    """Where the flow back is another than the camera's, all in places."""
    import cv2

    backward = cv2.invertAffineTransform(camera)
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    (a, b, tx), (c, d, ty) = backward.astype(np.float32)
    across = flow[..., 0] - ((a - 1) * x + b * y + tx)
    down = flow[..., 1] - (c * x + (d - 1) * y + ty)
    residual = cv2.magnitude(across, down)
    noise = _NOISE_FACTOR * float(np.median(residual[::2, ::2]))
    threshold = min(max(noise, _MIN_RESIDUAL_PX / STEP), _MAX_RESIDUAL_PX / STEP)
    mask: Mask = residual > threshold
    return mask


def _changed(before: GrayImage, after: GrayImage, camera: Affine) -> Mask:
    """Where the picture is another than the camera's motion makes it.

    Flow bleeds into flat surroundings, where nothing changes.
    """
    import cv2

    height, width = after.shape
    warped = cv2.warpAffine(before, camera, (width, height), borderMode=cv2.BORDER_REPLICATE)
    change = cv2.dilate(cv2.absdiff(after, warped), np.ones((3, 3), np.uint8))
    changed: Mask = change > MIN_CHANGE
    return changed


def _boxes(mask: Mask) -> list[Box]:
    import cv2

    cleaned = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    pieces = cv2.morphologyEx(cleaned, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(pieces, connectivity=8)
    boxes = []
    for x, y, width, height, places in stats[1:].tolist():
        box = Box(x * STEP, y * STEP, (x + width) * STEP, (y + height) * STEP)
        if (
            min(box.width, box.height) >= _MIN_SIDE_PX
            and box.area <= _MAX_AREA * mask.size * STEP**2
            and places >= _MIN_FILL * width * height
        ):
            boxes.append(box)
    return sorted(boxes, key=lambda box: (-box.area, box.x0, box.y0))
