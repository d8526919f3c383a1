"""How far a pair can be trusted: there and back with KCF, and whether it looks the same."""

import math
from collections.abc import Sequence

import numpy as np

from toolkit.images import RgbImage
from toolkit.mining.wang2015.kcf import KcfTracker
from toolkit.mining.wang2015.scaled import BOX_PX, BgrImage
from toolkit.records import TrackQuality

LOST = 1.0  # the error there and back, at most: KCF may leave the frame on its way back
_SIDE = 40
_MARGIN = 4  # of 40 pixels that the box may be off either way
_MIN_CONTRAST = 2.0  # gray levels; below it correlation compares noise

# Errors and likenesses at which the score falls to 0 and reaches 1; between, linear.
_WORST_ERROR, _BEST_ERROR = 0.1, 0.01
_WORST_LIKENESS, _BEST_LIKENESS = 0.0, 0.8


def forward_backward(
    pictures: Sequence[BgrImage], start: tuple[int, int], end: tuple[int, int]
) -> float:
    """How far from `start` KCF comes out that goes back from `end`, in diagonals of the box.

    pictures: of the track, in the order of time; start and end: the box's corner in the
    first and the last. LOST where it does not come back at all.
    """
    tracker = KcfTracker(pictures[-1], *end)
    back = end
    for picture in reversed(pictures[:-1]):
        place = tracker.follow(picture)
        if place is None:
            return LOST
        back = place
    return min(math.dist(start, back) / (BOX_PX * math.sqrt(2)), LOST)


def judge(error: float, query: RgbImage, positive: RgbImage) -> TrackQuality:
    """The quality of a pair of patches whose track has this error there and back.

    The score is the geometric mean of two ramps, so that one bad sign is enough.
    """
    appearance = likeness(query, positive)
    by_error = _ramp(error, _WORST_ERROR, _BEST_ERROR)
    by_look = _ramp(appearance, _WORST_LIKENESS, _BEST_LIKENESS)
    return TrackQuality(
        round(math.sqrt(by_error * by_look), 4), round(error, 5), round(appearance, 4)
    )


def likeness(first: RgbImage, second: RgbImage) -> float:
    """The best normalised cross-correlation of two patches over small shifts, -1 to 1."""
    import cv2

    looks = [
        cv2.resize(
            cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA
        )
        for patch in (first, second)
    ]
    middle = looks[0][_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    if min(float(middle.std()), float(looks[1].std())) < _MIN_CONTRAST:
        return 0.0
    scores = cv2.matchTemplate(looks[1], middle, cv2.TM_CCOEFF_NORMED)
    return float(np.clip(np.nan_to_num(scores, posinf=0, neginf=0), -1, 1).max())


def _ramp(value: float, worst: float, best: float) -> float:
    return min(max((value - worst) / (best - worst), 0.0), 1.0)
