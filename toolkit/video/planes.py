"""The decoder's memory as arrays: luma without a copy, parts of a picture, other sizes."""

import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.plane import VideoPlane

# Formats whose first plane is the luma, and the gray format that has its values.
_LUMA = re.compile(r"yuv[aj]?4[0-4][0-4]p|nv\d\d|gray")
_DEEP_LUMA = re.compile(r"(?:yuva?4[0-4][0-4]p|gray)(9|10|12|14|16)([lb]e)")
_SHIFTED_LUMA = re.compile(r"p[024]1[0-6]([lb]e)")  # values at the upper end of 16 bits
# Formats of several planes of which one holds two components in turn.
_PAIRED = re.compile(r"nv\d\d|p[024]1[0-6][lb]e")

# Chroma is interpolated over its neighbours, and blocks of pixels are converted together.
_MARGIN = 8

_local = threading.local()


def luma_format(image: "VideoFrame") -> str | None:
    """The gray format whose values the first plane holds; None where it is not the luma."""
    name = image.format.name
    if _LUMA.fullmatch(name):
        return "gray"
    if deep := _DEEP_LUMA.fullmatch(name):
        return f"gray{deep[1]}{deep[2]}"
    if shifted := _SHIFTED_LUMA.fullmatch(name):
        return f"gray16{shifted[1]}"
    return None


def luma(image: "VideoFrame") -> NDArray[Any]:
    """The luma plane (height, width), a view: uint8, or uint16 in the byte order of its format."""
    name = luma_format(image) or ""
    dtype = "u1" if name == "gray" else ">u2" if name.endswith("be") else "<u2"
    return _rows(image.planes[0]).view(dtype)[:, : image.width]


def eight_bits(gray: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """The values of a gray format in 8 bits; the lower bits are cut off."""
    if name == "gray":
        return gray
    bits = int(name.removeprefix("gray")[:-2])
    return (gray >> (bits - 8)).astype(np.uint8)


def resized(gray: NDArray[Any], name: str, width: int, height: int) -> NDArray[Any]:
    """A picture in a gray format, rows apart or not, in another size and the same format."""
    from av.video.frame import VideoFrame

    native = gray.view(gray.dtype.newbyteorder("="))
    image = VideoFrame.from_numpy_buffer(native, format=name)  # no copy
    # The mean of what a pixel covers is no interpolation where rows have to be added.
    how = "AREA" if height <= len(gray) else "BILINEAR"
    return _reformatted(image, width=width, height=height, format=name, interpolation=how)


def converted(image: "VideoFrame", name: str) -> NDArray[np.uint8]:
    """The picture in an 8-bit format ("gray", "rgb24") as an array."""
    return np.asarray(_reformatted(image, format=name), np.uint8)


def _reformatted(image: "VideoFrame", **to: Any) -> NDArray[Any]:
    from av.video.reformatter import VideoReformatter

    if not hasattr(_local, "reformatter"):
        _local.reformatter = VideoReformatter()  # it keeps the tables of the last conversion
    reformatter: VideoReformatter = _local.reformatter
    # By default it starts a thread a core for each picture, which costs more than it saves.
    return reformatter.reformat(image, **to, threads=1).to_ndarray()


def part(
    image: "VideoFrame", columns: tuple[int, int], rows: tuple[int, int], step: int = 1
) -> "tuple[VideoFrame, int, int] | None":
    """A frame with a part of the picture, and where in it that part begins: (frame, x, y).

    columns, rows: the first and the one after the last; step 2 takes each second row, and
    `rows` counts those. Around the part lies as much as makes its colours, once converted,
    equal those of the whole. None for formats that cannot be cut.
    """
    from av.video.frame import VideoFrame

    height = -(-image.height // step)
    sizes = _sample_sizes(image, height)
    if sizes is None:
        return None
    x0, x1 = _widened(columns, image.width)
    y0, y1 = _widened(rows, height)
    cut = VideoFrame(x1 - x0, y1 - y0, image.format.name)
    cut.colorspace, cut.color_range = image.colorspace, image.color_range
    for size, source, target in zip(sizes, image.planes, cut.planes, strict=True):
        size_x, size_y, size_bytes = size
        from_rows, to_rows = _rows(source)[::step], _rows(target)
        left, top = x0 // size_x * size_bytes, y0 // size_y
        width = target.width * size_bytes
        to_rows[:, :width] = from_rows[top : top + target.height, left : left + width]
    return cut, columns[0] - x0, rows[0] - y0


def _widened(span: tuple[int, int], end: int) -> tuple[int, int]:
    first = max(span[0] - _MARGIN, 0) // _MARGIN * _MARGIN
    return first, min(-(-(span[1] + _MARGIN) // _MARGIN) * _MARGIN, end)


def _sample_sizes(image: "VideoFrame", height: int) -> Sequence[tuple[int, int, int]] | None:
    """Pixels across and down that a sample of each plane covers, and its bytes.

    None where they are not known, or do not divide the picture: then it is converted in
    another way, which stretches the chroma to it, and a part would not equal the whole.
    """
    form = image.format
    planes = [[c for c in form.components if c.plane == i] for i in range(len(image.planes))]
    alone = all(len(components) == 1 for components in planes)
    if form.has_palette or form.is_bit_stream or not (alone or _PAIRED.fullmatch(form.name)):
        return None
    sizes: list[tuple[int, int, int]] = []
    for components in planes:
        across = round(image.width / components[0].width)
        down = round(image.height / components[0].height)
        sizes.append((across, down, sum(-(-c.bits // 8) for c in components)))
    across, down = (max(size[i] for size in sizes) for i in (0, 1))
    subsampled = (across, down) != (1, 1)
    if subsampled and (image.width % max(across, 2) or height % max(down, 2)):
        return None
    return sizes


def _rows(plane: "VideoPlane") -> NDArray[np.uint8]:
    """The bytes of a plane (height, bytes a row), top row first, a view."""
    rows = np.frombuffer(memoryview(plane), np.uint8)
    rows = rows.reshape(-1, abs(plane.line_size))[: plane.height]
    return rows[::-1] if plane.line_size < 0 else rows
