"""Where one shot ends and the next begins."""

import numpy as np

from toolkit.video.frame import GrayImage

_SIDE = 24
_SOME_CHANGE = 6.0  # mean gray levels; enough of a change where the points are lost too
_BIG_CHANGE = 35.0  # more than a van that drives through the picture makes
_COLLAPSE = 0.12  # share of points that come back, below which the picture is another
_DOUBT = 0.6


def is_cut(previous: GrayImage, current: GrayImage, followed: float) -> bool:
    """Whether two frames in a row are of different shots.

    `followed` is the share of background points that came back from there. Across a cut
    hardly any does, while even a thing that fills half the picture leaves the others.
    """
    if followed >= _DOUBT:
        return False
    return _change(previous, current) > (_SOME_CHANGE if followed < _COLLAPSE else _BIG_CHANGE)


def _change(previous: GrayImage, current: GrayImage) -> float:
    import cv2

    size = (_SIDE, _SIDE)
    before = cv2.resize(previous, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    after = cv2.resize(current, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    # A lamp that goes on or a camera that adapts changes all alike: that is no cut.
    shift = float(np.median(after - before))
    return float(np.abs(after - before - shift).mean())
