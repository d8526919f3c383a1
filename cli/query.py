"""A picture that a command is given, or the region of it that `--box` names."""

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import UsageError
from toolkit.records import Box

if TYPE_CHECKING:
    from toolkit.images import RgbImage


def read_query(image: Path, box: str | None) -> "RgbImage":
    """uint8 RGB (height, width, 3), upright. Raises ImageError, UsageError for the box."""
    from indexes.search.pictures import cut_region
    from toolkit.images import read_image

    region = None if box is None else parse_box(box)
    return cut_region(read_image(image), region)


def parse_box(text: str) -> Box:
    """Four numbers, "x0,y0,x1,y1". Raises UsageError for what is no box."""
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
        return Box(x0, y0, x1, y1)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no box.",
            mend="Give --box x0,y0,x1,y1: four numbers with x0 < x1 and y0 < y1.",
        ) from error
