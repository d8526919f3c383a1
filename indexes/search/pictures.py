"""What to look for, as people name it: a picture, a moment of a video, a region of either."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import InputError, UsageError
from toolkit.images import RgbImage, crop_patch, read_image
from toolkit.records import Box
from toolkit.video.find import VIDEO_SUFFIXES

_MOMENT = re.compile(r"(?P<path>.+)@(?P<time>(?:\d+:)?(?:\d+:)?\d+(?:\.\d*)?)", re.DOTALL)
_TIMES = "seconds (12.5) or a clock (1:02.5)"


@dataclass(frozen=True, slots=True)
class Example:
    """A picture to look for, or to keep away from.

    name: as it was given; image: uint8 RGB (height, width, 3), the region where there is
    one; path: the file; time_s: PTS seconds of the frame, None for an image; box: the region.
    """

    name: str
    image: RgbImage
    path: Path
    time_s: float | None = None
    box: Box | None = None


def read_example(text: str, box: Box | None = None) -> Example:
    """Read an image, or the frame on display at VIDEO@SECONDS; a clock (1:02.5) will do too.

    A file whose whole name is `text` comes first, so that names may hold an @. Raises
    ImageError or InputError for what is no picture, VideoError for a time outside the video,
    UsageError for a box outside the picture.
    """
    path, time_s = split_moment(text)
    if time_s is None:
        picture = _read_image(path)
        return Example(text, cut_region(picture, box), path, None, box)
    from toolkit.video.moments import moment_of

    shown_s, picture = moment_of(path, time_s)
    return Example(text, cut_region(picture, box), path, shown_s, box)


def split_moment(text: str) -> tuple[Path, float | None]:
    """The file, and the second where one is named."""
    found = _MOMENT.fullmatch(text)
    if found is None or os.path.lexists(text):
        return Path(text), None
    return Path(found["path"]), seconds(found["time"])


def seconds(text: str) -> float:
    """Seconds of a number or of a clock: "62.5", "1:02.5". Raises UsageError."""
    try:
        whole = 0.0
        for part in text.split(":"):
            if not re.fullmatch(r"\d+(\.\d*)?", part):
                raise ValueError
            whole = 60 * whole + float(part)
    except ValueError as error:
        raise UsageError(f"{text!r} is no time.", mend=f"Give {_TIMES}.") from error
    return whole


def cut_region(picture: RgbImage, box: Box | None) -> RgbImage:
    """The patch that a network sees of a box. Raises UsageError for one outside the picture."""
    if box is None:
        return picture
    height, width = picture.shape[:2]
    if box.intersection(Box(0, 0, width, height)) <= 0:
        given = ",".join(f"{value:g}" for value in box.as_list())
        raise UsageError(
            f"The box {given} lies outside the image, which has {width}x{height} pixels.",
            mend="Give --box x0,y0,x1,y1 in pixels of the image.",
        )
    return crop_patch(picture, box)


def _read_image(path: Path) -> RgbImage:
    if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
        raise InputError(
            f"{path} is a video, not an image.",
            mend=f"Give a moment of it too: {path}@SECONDS.",
        )
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, not an image.",
            mend="Give the images in it, or a list of them with --batch.",
        )
    if not os.path.lexists(path) and "@" in path.name:
        raise InputError(
            f"There is no image {path}.",
            mend=f"For a moment of a video give its time in {_TIMES}: VIDEO@12.5.",
        )
    return read_image(path)
