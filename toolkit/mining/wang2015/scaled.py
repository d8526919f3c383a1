"""The frame as the recipe sees it: 448x600, and the way back to the original's pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.images import RgbImage
from toolkit.records import Box
from toolkit.video.frame import GrayImage
from toolkit.video.shown import ShownFrame

BOX_PX = 227
LONG_PX = 600
SHORT_PX = 448

BgrImage = NDArray[np.uint8]  # (height, width, 3), as OpenCV's trackers want it


@dataclass(frozen=True, slots=True)
class ScaledFrame:
    """A frame at its PTS, scaled to 448x600 (600x448 where it is higher than wide).

    picture: uint8 BGR; gray: uint8; width, height: pixels of the upright original. The
    aspect is that of the scaled frame: the paper names one size for all its videos.
    """

    time_s: float
    picture: BgrImage
    gray: GrayImage
    width: int
    height: int

    @classmethod
    def of(cls, frame: ShownFrame) -> "ScaledFrame":
        """A small copy; nothing of the decoder's frame is kept."""
        import cv2

        landscape = frame.width >= frame.height
        size = (LONG_PX, SHORT_PX) if landscape else (SHORT_PX, LONG_PX)
        larger = frame.width * frame.height > LONG_PX * SHORT_PX
        how = cv2.INTER_AREA if larger else cv2.INTER_LINEAR
        small = cv2.resize(frame.rgb(), size, interpolation=how)
        picture = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2BGR), np.uint8)
        gray = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        return cls(frame.time_s, picture, gray, frame.width, frame.height)

    def inside(self, x: int, y: int) -> tuple[int, int]:
        """The corner of a box at (x, y), moved so that the whole box lies in the frame."""
        height, width = self.gray.shape
        return min(max(x, 0), width - BOX_PX), min(max(y, 0), height - BOX_PX)

    def visible(self, x: int, y: int) -> float:
        """The share of the box at (x, y) that lies in the frame."""
        height, width = self.gray.shape
        return Box(x, y, x + BOX_PX, y + BOX_PX).intersection(Box(0, 0, width, height)) / BOX_PX**2

    def original(self, x: int, y: int) -> Box:
        """The box at (x, y) in pixels of the original."""
        height, width = self.gray.shape
        across, down = self.width / width, self.height / height
        return Box(x * across, y * down, (x + BOX_PX) * across, (y + BOX_PX) * down)

    def patch(self, x: int, y: int) -> RgbImage:
        """The box at (x, y), which must lie in the frame, as uint8 RGB (227, 227, 3)."""
        cut = self.picture[y : y + BOX_PX, x : x + BOX_PX, ::-1]
        return np.ascontiguousarray(cut)
