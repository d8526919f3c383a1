"""One decoded frame: cheap in gray and in parts, converted as a whole only on demand."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolkit.images import RgbImage
from toolkit.video import planes

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

GrayImage = NDArray[np.uint8]  # (height, width)
_Span = tuple[int, int]  # the first, and the one after the last


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame at its PTS, seconds; pictures come out upright (rotation applied).

    Pixels are those that are stored: where they are not square (DVD, some cameras), pictures
    are as narrow or wide as they are kept, and boxes with them. Of an interlaced frame only
    the top field is shown, its missing rows interpolated: the other field is of another
    moment, and both together comb whatever moves.
    """

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
        """The luma as uint8 (height, width): a view of the decoder's memory where it can be.

        Values are the video's own: 16 to 235 for most, 0 to 255 for full range.
        """
        field, name = self._luma()
        field = planes.eight_bits(field, name)
        if self.image.interlaced_frame:
            field = _with_rows_between(field)[: self.image.height]
        return self._upright(field)

    def small(self, long_side: int) -> GrayImage:
        """A gray copy, contiguous uint8, its longer side at most `long_side` pixels.

        Each pixel is the mean of those that it covers; nothing is enlarged.
        """
        factor = long_side / max(self.width, self.height)
        if factor >= 1:
            return np.array(self.gray(), order="C")
        height, width = (max(1, round(side * factor)) for side in (self.height, self.width))
        if self.quarter_turns % 2:
            height, width = width, height
        return np.ascontiguousarray(self._upright(self._shrunk(width, height)))

    def _shrunk(self, width: int, height: int) -> GrayImage:
        field, name = self._luma()
        if name == "gray" and field.shape == (2 * height, 2 * width):
            import cv2  # has a way of its own for exact halves, much faster than any other

            halved = cv2.resize(field, (width, height), interpolation=cv2.INTER_AREA)
            return np.asarray(halved, np.uint8)
        return planes.eight_bits(planes.resized(field, name, width, height), name)

    def rgb(self) -> RgbImage:
        """The picture as uint8 RGB (height, width, 3); this conversion costs time."""
        return self.crop(0, 0, self.width, self.height)

    def crop(self, x0: int, y0: int, x1: int, y1: int) -> RgbImage:
        """A box of `rgb()`, the same pixels, without converting the rest of the frame.

        Of 4:2:0 with more than 8 bits, colours at hard edges come out some levels different.
        The box is in pixels of the upright frame, x1 and y1 not included, and lies inside it.
        """
        if not (0 <= x0 < x1 <= self.width and 0 <= y0 < y1 <= self.height):
            raise ValueError(f"({x0}, {y0}, {x1}, {y1}) is no box in {self.width}x{self.height}.")
        columns, rows = self._stored(x0, y0, x1, y1)
        cut = self._field_part(columns, rows) if self.image.interlaced_frame else None
        if cut is None:
            cut = self._part(columns, rows)
        return np.ascontiguousarray(self._upright(cut))

    def _part(self, columns: _Span, rows: _Span) -> RgbImage:
        whole = (columns, rows) == ((0, self.image.width), (0, self.image.height))
        found = None if whole else planes.part(self.image, columns, rows)
        image, x, y = found or (self.image, columns[0], rows[0])
        rgb = planes.converted(image, "rgb24")
        return rgb[y : y + rows[1] - rows[0], x : x + columns[1] - columns[0]]

    def _field_part(self, columns: _Span, rows: _Span) -> RgbImage:
        """The same of the top field; its colours are kept apart from the other field's too."""
        fields = rows[0] // 2, min(rows[1] // 2 + 1, -(-self.image.height // 2))
        found = planes.part(self.image, columns, fields, step=2)
        if found is None:
            rgb = planes.converted(self.image, "rgb24")[::2]
            found_x, found_y = columns[0], fields[0]
        else:
            image, found_x, found_y = found
            rgb = planes.converted(image, "rgb24")
        field = rgb[found_y : found_y + fields[1] - fields[0]]
        field = field[:, found_x : found_x + columns[1] - columns[0]]
        first = rows[0] % 2
        return _with_rows_between(field)[first : first + rows[1] - rows[0]]

    def _stored(self, x0: int, y0: int, x1: int, y1: int) -> tuple[_Span, _Span]:
        """Columns and rows of the stored picture that show a box of the upright one."""
        width, height = self.image.width, self.image.height
        match self.quarter_turns:
            case 1:
                return (width - y1, width - y0), (x0, x1)
            case 2:
                return (width - x1, width - x0), (height - y1, height - y0)
            case 3:
                return (y0, y1), (height - x1, height - x0)
        return (x0, x1), (y0, y1)

    def _luma(self) -> tuple[NDArray[Any], str]:
        """The luma, of the top field where there are two, and the gray format it is in."""
        name = planes.luma_format(self.image)
        if name is None:
            gray = planes.converted(self.image, "gray")
            name = "gray"
        else:
            gray = planes.luma(self.image)
        return gray[:: 2 if self.image.interlaced_frame else 1], name

    def _upright(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.rot90(picture, self.quarter_turns)


def _with_rows_between(field: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Twice the rows: after each one the mean of it and the next, or itself at the end."""
    after = np.concatenate((field[1:], field[-1:]))
    full = np.empty((2 * len(field), *field.shape[1:]), np.uint8)
    full[::2] = field
    full[1::2] = (field & after) + ((field ^ after) >> 1)
    return full
