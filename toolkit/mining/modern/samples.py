"""What a track gives at regular times: where it is, what it looks like, how it got there."""

from dataclasses import dataclass

import numpy as np

from toolkit.mining.mined import View
from toolkit.records import Box
from toolkit.video.frame import GrayImage

_SIDE = 32
_MARGIN = 4  # pixels either way that a box may be off
PLAIN = 12.0  # gray levels of contrast below which there is nothing to recognise
_MIN_CONTRAST = 2.0  # gray levels; below it correlation compares noise


@dataclass(frozen=True, slots=True)
class Step:
    """The way from the sample before.

    forward_backward: the worst tick's median error there and back, as a fraction of the
    box's diagonal; travel: (x, y) against the background, in lengths of the thing;
    activity: the share of the box that is seen to move at the end of it, 0 to 1.
    """

    forward_backward: float
    travel: tuple[float, float]
    activity: float


@dataclass(frozen=True, slots=True)
class TrackSample(View):
    """A view of a track, and what it takes to judge it.

    look: the box and a little around it, gray (40, 40), to compare appearances; step is
    None at the start of a track, and where it was lost and found again.
    """

    look: GrayImage
    step: Step | None


def look_at(gray: GrayImage, box: Box) -> GrayImage:
    """The box and a margin around it, stretched to a fixed size."""
    import cv2

    side = _SIDE + 2 * _MARGIN
    wide = box.grown(side / _SIDE)
    matrix = np.array(
        [[wide.width / side, 0, wide.x0], [0, wide.height / side, wide.y0]], np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    look = cv2.warpAffine(gray, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(look, np.uint8)


def contrast(look: GrayImage) -> float:
    """The standard deviation of the gray levels inside the box."""
    return float(look[_MARGIN : _MARGIN + _SIDE, _MARGIN : _MARGIN + _SIDE].std())


def likeness(first: GrayImage, second: GrayImage) -> float:
    """The best normalised cross-correlation of two looks over small shifts, -1 to 1."""
    import cv2

    inner = slice(_MARGIN, _MARGIN + _SIDE)
    if min(float(first[inner, inner].std()), float(second.std())) < _MIN_CONTRAST:
        return 0.0
    scores = cv2.matchTemplate(second, first[inner, inner], cv2.TM_CCOEFF_NORMED)
    return float(np.clip(np.nan_to_num(scores, posinf=0, neginf=0), -1, 1).max())
