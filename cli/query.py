"""A picture that a command is given, or the region of it that `--box` names."""

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import UsageError
from toolkit.records import Box

if TYPE_CHECKING:
    from toolkit.images import RgbImage


def read_query(image: Path, box: str | None) -> "RgbImage":
    """uint8 RGB (height, width, 3), upright. Raises ImageError, UsageError for the box."""
    from toolkit.images import crop_patch, read_image

    picture = read_image(image)
    if box is None:
        return picture
    region = _parse_box(box)
    height, width = picture.shape[:2]
    if region.intersection(Box(0, 0, width, height)) <= 0:
        raise UsageError(
            f"The box {box} lies outside the image, which has {width}x{height} pixels.",
            mend="Give --box x0,y0,x1,y1 in pixels of the image.",
        )
    return crop_patch(picture, region)


def _parse_box(text: str) -> Box:
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
        return Box(x0, y0, x1, y1)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no box.",
            mend="Give --box x0,y0,x1,y1: four numbers with x0 < x1 and y0 < y1.",
        ) from error
