"""What a track gives at regular times: where it is, what it looks like, how it got there."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.images import RgbImage, patch_pixels, shrink
from toolkit.mining.mined import View
from toolkit.records import Box, Sighting
from toolkit.video.frame import GrayImage
from toolkit.video.shown import ShownFrame

_SIDE = 24
_MARGIN = 3  # pixels either way that a box may be off
_SOFT = 1.5  # pixels of the blur that takes light and shade away
PLAIN = 12.0  # gray levels of contrast below which there is nothing to recognise
_MIN_DETAIL = 1.0  # gray levels; below it correlation compares noise


@dataclass(frozen=True, slots=True)
class Look:
    """A box and a little around it, at a fixed size, to compare appearances.

    contrast: the standard deviation of the gray levels in the box; detail: float32
    (30, 30), the look without its light and shade. A shadow's edge, or a dark thing before
    a bright wall, look alike wherever they go: only the texture tells what is there.
    """

    contrast: float
    detail: NDArray[np.float32]

    @classmethod
    def at(cls, gray: GrayImage, box: Box) -> Self:
        """What a box of a gray frame shows."""
        import cv2

        side = _SIDE + 2 * _MARGIN
        wide = box.grown(side / _SIDE)
        across, down = wide.width / side, wide.height / side
        # A pixel's middle lies half a pixel inside it.
        left, top = wide.x0 + across / 2 - 0.5, wide.y0 + down / 2 - 0.5
        matrix = np.array([[across, 0, left], [0, down, top]], np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture = cv2.warpAffine(
            gray, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        _, deviation = cv2.meanStdDev(_inside(picture))
        levels = picture.astype(np.float32)
        return cls(float(deviation[0, 0]), levels - cv2.GaussianBlur(levels, (0, 0), _SOFT))

    def likeness(self, other: "Look") -> float:
        """The best normalised cross-correlation of the details over small shifts, -1 to 1."""
        import cv2

        mine = _inside(self.detail)
        if min(float(np.abs(mine).max()), float(np.abs(other.detail).max())) < _MIN_DETAIL:
            return 0.0
        _, best, _, _ = cv2.minMaxLoc(cv2.matchTemplate(other.detail, mine, cv2.TM_CCOEFF_NORMED))
        return min(max(best, -1.0), 1.0) if math.isfinite(best) else 0.0


def _inside(look: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(look[_MARGIN : _MARGIN + _SIDE, _MARGIN : _MARGIN + _SIDE])


@dataclass(frozen=True, slots=True)
class Step:
    """The way from the sample before.

    forward_backward: the worst tick's median error there and back, as a fraction of the
    box's diagonal; travel: (x, y) against the background, in lengths of the thing;
    activity: the share of the box that is seen to move at the end of it, 0 to 1; fit: the
    box's IoU with the piece of the picture that moves there.
    """

    forward_backward: float
    travel: tuple[float, float]
    activity: float
    fit: float


@dataclass(slots=True)
class Cutting:
    """A patch that is cut only when somebody wants it: most samples end in no pair.

    It keeps its frame. A track has seven samples in a gap, however long that is, and all
    tracks are sampled together, so few frames are kept.
    """

    frame: ShownFrame
    box: Box
    longest: int
    _patch: RgbImage | None = None

    def patch(self) -> RgbImage:
        """The square patch around the box, at most `longest` pixels a side; cut once."""
        if self._patch is None:
            pixels = patch_pixels(self.box, self.frame.width, self.frame.height)
            self._patch = shrink(self.frame.crop(*pixels), self.longest)
        return self._patch


@dataclass(frozen=True, slots=True)
class TrackSample:
    """What is known of track `track` (numbered in its footage) at one moment.

    step is None at the start of a track, and where it was lost and found again.
    """

    track: int
    sighting: Sighting
    cutting: Cutting
    look: Look
    step: Step | None

    def view(self) -> View:
        """The sample with its patch, as one end of a pair."""
        return View(self.track, self.sighting, self.cutting.patch())
