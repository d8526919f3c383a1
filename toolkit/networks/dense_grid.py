"""Where the windows of a dense pass lie in a picture: plain arithmetic, without torch."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import InputError

MAX_PIXELS = 65_536  # no window, stride or margin of a network is larger


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of the windows, and the part of the picture that they and their context need.

    rows, columns: which windows, counted over the whole picture. top, bottom, left, right:
    the pixels to cut, top:bottom and left:right. skip: the (row, column) of the first of the
    windows among those of the cut.
    """

    rows: slice
    columns: slice
    top: int
    bottom: int
    left: int
    right: int
    skip: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Grid:
    """Windows of height x width pixels, `stride` pixels apart both ways.

    Window (row, column) covers the pixels [row * stride, row * stride + height) down and
    [column * stride, column * stride + width) across. margin: how many pixels beyond its
    window an embedding sees at most, on any side, where the picture has them.
    """

    height: int
    width: int
    stride: int
    margin: int

    def __post_init__(self) -> None:
        if not all(1 <= n <= MAX_PIXELS for n in (self.height, self.width, self.stride)):
            raise ValueError(f"no grid has windows of {self.height}x{self.width} / {self.stride}")
        if not 0 <= self.margin <= MAX_PIXELS:
            raise ValueError(f"no grid has a margin of {self.margin}")

    @property
    def around(self) -> int:
        """How many windows on each side of one hold all that its embedding sees."""
        return -(-self.margin // self.stride)

    def count(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the windows that lie wholly in a picture of height x width.

        What is left over, less than a stride at the bottom and on the right, is in no
        window and not seen. Raises InputError for a picture that is smaller than a window.
        """
        if height < self.height or width < self.width:
            raise InputError(
                f"A picture of {width}x{height} pixels is smaller than a window, "
                f"{self.width}x{self.height}.",
                mend="Embed it as one patch (`vr embed`), or enlarge it first.",
            )
        return (height - self.height) // self.stride + 1, (width - self.width) // self.stride + 1

    def whole(self, height: int, width: int) -> tuple[int, int]:
        """The height and width in pixels that the windows of a picture cover together."""
        rows, columns = self.count(height, width)
        return (
            self.height + (rows - 1) * self.stride,
            self.width + (columns - 1) * self.stride,
        )

    def boxes(self, rows: int, columns: int) -> NDArray[np.float32]:
        """The windows in pixels, xyxy, float32 (rows, columns, 4)."""
        y, x = np.meshgrid(
            np.arange(rows) * self.stride, np.arange(columns) * self.stride, indexing="ij"
        )
        return np.stack([x, y, x + self.width, y + self.height], axis=-1).astype(np.float32)

    def tiles(self, height: int, width: int, side: int) -> Iterator[Tile]:
        """All windows of a picture, in parts whose cuts are about `side` pixels at most.

        A cut is larger where one window and its context are. Every window has in its cut
        all that it sees in the whole picture. Raises InputError.
        """
        rows, columns = self.count(height, width)
        down = _spans(self, rows, self.height, side)
        across = _spans(self, columns, self.width, side)
        for (own, first, top, bottom), (own_too, first_too, left, right) in product(down, across):
            yield Tile(own, own_too, top, bottom, left, right, (first, first_too))

    def as_json(self) -> dict[str, Any]:
        """As it stands in model.json and in the metadata of a dense graph."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of as_json. Raises KeyError, TypeError or ValueError."""
        return cls(*(int(content[key]) for key in ("height", "width", "stride", "margin")))


def _spans(grid: Grid, windows: int, window: int, side: int) -> list[tuple[slice, int, int, int]]:
    """Along one axis: the windows of a tile, how many to skip, where its cut begins and ends."""
    # A cut begins and ends with a window: there the strides of all layers fall as in the whole.
    room = max(0, side - window) // grid.stride + 1  # windows that fit, with those around
    parts = 1 if windows <= room else -(-windows // max(1, room - 2 * grid.around))
    edges = [windows * part // parts for part in range(parts + 1)]
    spans = []
    for first, stop in pairwise(edges):
        begin, end = max(0, first - grid.around), min(windows, stop + grid.around)
        pixels = begin * grid.stride, (end - 1) * grid.stride + window
        spans.append((slice(first, stop), first - begin, *pixels))
    return spans
