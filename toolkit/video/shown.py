"""What mining asks of a frame, wherever it was decoded."""

from typing import Protocol

from toolkit.images import RgbImage
from toolkit.video.frame import GrayImage


class ShownFrame(Protocol):
    """A frame at its PTS, upright: `toolkit.video.frame.Frame`, or `CudaFrame` on a GPU."""

    @property
    def time_s(self) -> float:
        """PTS seconds."""
        ...

    @property
    def width(self) -> int:
        """Pixels across the upright frame."""
        ...

    @property
    def height(self) -> int:
        """Pixels down the upright frame."""
        ...

    def small(self, long_side: int) -> GrayImage:
        """A gray copy, uint8 (height, width), its longer side at most `long_side` pixels."""
        ...

    def rgb(self) -> RgbImage:
        """The picture as uint8 RGB (height, width, 3)."""
        ...

    def crop(self, x0: int, y0: int, x1: int, y1: int) -> RgbImage:
        """A box of `rgb()`, in pixels, x1 and y1 not included."""
        ...
