"""Where one shot ends and the next begins."""

import numpy as np
from numpy.typing import NDArray

from toolkit.video.frame import GrayImage

_SIDE = 24
_CHANGE = 10.0  # mean gray levels that a new picture differs by, at least
_ALIKE = 0.4  # correlation that a car which fills half the picture leaves, and no cut does
_PLAIN = 1.0  # gray levels of contrast below which there is nothing to correlate


def is_cut(previous: GrayImage, current: GrayImage) -> bool:
    """Whether two frames in a row are of different shots: another picture, even when small.

    A lamp that goes on or a camera that adapts changes all of it alike, and is no cut.
    """
    before, after = _thumbnail(previous), _thumbnail(current)
    change = after - before
    if np.abs(change - np.median(change)).mean() <= _CHANGE:
        return False
    before, after = before - before.mean(), after - after.mean()
    contrast = float(before.std() * after.std())
    return contrast < _PLAIN or float((before * after).mean()) / contrast < _ALIKE


def _thumbnail(gray: GrayImage) -> NDArray[np.float64]:
    import cv2

    return cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
