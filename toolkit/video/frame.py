"""One decoded frame: cheap in gray, converted to colour only when someone asks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from toolkit.images import RgbImage

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

GrayImage = NDArray[np.uint8]  # (height, width)

# Formats whose first plane is the 8-bit luma, so that gray costs nothing.
_LUMA_FIRST = frozenset(
    {"gray", "nv12", "nv21"}
    | {f"yuv{range_}{chroma}p" for range_ in ("", "j") for chroma in (410, 411, 420, 422, 440, 444)}
    | {f"yuva{chroma}p" for chroma in (420, 422, 444)}
)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame at its PTS, seconds; pictures come out upright (rotation applied)."""

    time_s: float
    image: "VideoFrame"
    quarter_turns: int  # anticlockwise, 0 to 3, to make it upright

    @property
    def width(self) -> int:
        """Pixels across the upright frame."""
        return self.image.height if self.quarter_turns % 2 else self.image.width

    @property
    def height(self) -> int:
        """Pixels down the upright frame."""
        return self.image.width if self.quarter_turns % 2 else self.image.height

    def gray(self) -> GrayImage:
        """The luma as uint8 (height, width): a view of the decoder's memory where it can be."""
        image = self.image
        if image.format.name not in _LUMA_FIRST:
            image = image.reformat(format="gray")
        plane = image.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return np.rot90(rows[: image.height, : image.width], self.quarter_turns)

    def rgb(self) -> RgbImage:
        """The picture as uint8 RGB (height, width, 3); this conversion costs time."""
        pixels = self.image.to_ndarray(format="rgb24")
        return np.ascontiguousarray(np.rot90(pixels, self.quarter_turns))
