"""Small copies, crops and colours of frames of any format, against plain arithmetic."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.video.frame import Frame

PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "nv12")
OTHERS = ("p010le", "yuv411p", "yuva420p", "gray", "gray10le", "gbrp", "rgb24", "bgra", "yuyv422")


def _smooth(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """A colourful picture (height, width, 3) without hard edges."""
    import cv2

    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(
        np.uint8
    )


def _frame(picture: NDArray[np.uint8], pixels: str, turns: int = 0) -> Frame:
    import av

    image = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
    return Frame(0.0, image, turns)


@pytest.mark.parametrize("pixels", [*PLANAR, *OTHERS])
@pytest.mark.parametrize("size", [(320, 240), (322, 242), (321, 241), (33, 17)])
def test_a_crop_has_the_pixels_of_the_whole_picture(pixels: str, size: tuple[int, int]) -> None:
    if pixels == "yuyv422" and size[0] % 2:
        pytest.skip("This format has no odd widths.")
    random = np.random.default_rng(1)
    for turns in range(4):
        frame = _frame(_smooth(*size), pixels, turns)
        whole = np.rot90(frame.image.to_ndarray(format="rgb24"), turns)
        assert (frame.height, frame.width) == whole.shape[:2]
        assert np.array_equal(frame.rgb(), whole)
        for _ in range(6):
            x0, y0 = (int(random.integers(0, side)) for side in (frame.width, frame.height))
            x1 = int(random.integers(x0 + 1, frame.width + 1))
            y1 = int(random.integers(y0 + 1, frame.height + 1))
            cut = frame.crop(x0, y0, x1, y1)
            assert np.array_equal(cut, whole[y0:y1, x0:x1])
            assert cut.flags.c_contiguous


def test_a_crop_that_is_not_inside_the_frame_is_refused() -> None:
    frame = _frame(_smooth(64, 48), "yuv420p", 1)
    assert (frame.width, frame.height) == (48, 64)
    assert frame.crop(0, 0, 48, 64).shape == (64, 48, 3)
    for box in [(-1, 0, 4, 4), (0, 0, 49, 4), (0, 0, 4, 65), (5, 5, 5, 9), (5, 9, 9, 5)]:
        with pytest.raises(ValueError, match="is no box in 48x64"):
            frame.crop(*box)


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_colours_follow_the_matrix_and_range_of_the_frame(
    matrix: str, full_range: bool, bits: int
) -> None:
    """Planes are computed from colours by the standards' formulas, and must come back."""
    import av

    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    colours = np.random.default_rng(2).integers(20, 236, (4, 4, 3)).repeat(16, 0).repeat(16, 1)
    r, g, b = np.moveaxis(colours / 255, -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
    if full_range:
        planes = [255 * y, 255 * cb + 128, 255 * cr + 128]
    else:
        planes = [219 * y + 16, 224 * cb + 128, 224 * cr + 128]
    image = av.VideoFrame(64, 64, "yuv420p" if bits == 8 else "yuv420p10le")
    image.colorspace, image.color_range = {"bt601": 5, "bt709": 1}[matrix], 2 if full_range else 1
    for plane, values in zip(image.planes, planes, strict=True):
        step = 64 // plane.width
        whole = np.round(values[::step, ::step] * 2 ** (bits - 8))
        dtype = np.uint8 if bits == 8 else np.uint16
        rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
        rows[:, : plane.width] = whole.astype(dtype)
    frame = Frame(0.0, image, 0)
    middles = np.s_[8::16, 8::16]  # far from the edges between colours
    assert np.abs(frame.rgb().astype(int) - colours)[middles].max() <= 3
    cut = frame.crop(16, 16, 48, 64).astype(int) - colours[16:64, 16:48]
    assert np.abs(cut)[middles].max() <= 3
    luma = planes[0]  # gray keeps the video's own range, and 10 bits are scaled to 8
    assert np.abs(frame.gray() - luma).max() <= 1


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv420p10le", "gray10le", "p010le"])
@pytest.mark.parametrize("factor", [2, 3, 5])
def test_small_is_the_mean_of_what_a_pixel_covers(pixels: str, factor: int) -> None:
    height, width = 36 * factor, 48 * factor
    for turns in range(4):
        frame = _frame(_smooth(width, height), pixels, turns)
        blocks = frame.gray().astype(float)
        blocks = blocks.reshape(frame.height // factor, factor, frame.width // factor, factor)
        small = frame.small(48)
        assert small.flags.c_contiguous
        assert np.abs(small - blocks.mean((1, 3))).max() <= 1


@pytest.mark.parametrize("pixels", [*PLANAR, *OTHERS])
@pytest.mark.parametrize("size", [(321, 241), (640, 362)])
def test_small_at_an_uneven_factor(pixels: str, size: tuple[int, int]) -> None:
    import cv2

    if pixels == "yuyv422" and size[0] % 2:
        pytest.skip("This format has no odd widths.")
    for turns in (0, 1):
        frame = _frame(_smooth(*size), pixels, turns)
        small = frame.small(100)
        assert max(small.shape) == 100
        gray = np.ascontiguousarray(frame.gray())
        expected = cv2.resize(gray, small.shape[::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("long_side", [64, 65, 1000])
def test_small_never_enlarges_and_is_a_copy(long_side: int) -> None:
    frame = _frame(_smooth(64, 48), "yuv420p")
    small = frame.small(long_side)
    assert np.array_equal(small, frame.gray())
    small[:] = 0
    assert frame.gray().any()


def test_small_of_a_sliver_is_a_pixel_wide() -> None:
    assert _frame(_smooth(640, 2), "yuv444p").small(100).shape == (1, 100)


def test_bottom_up_pictures_are_turned_over(tmp_path: Any) -> None:
    """Windows bitmaps are stored from the bottom row; so are raw AVIs of them."""
    from toolkit.video.decode import frames

    picture = _smooth(64, 48)
    path = tmp_path / "raw.avi"
    _raw_avi(path, np.ascontiguousarray(picture[::-1, :, ::-1]).tobytes(), 64, 48)
    frame = next(iter(frames(path)))
    assert np.array_equal(frame.rgb(), picture)
    assert np.array_equal(frame.crop(5, 7, 40, 30), picture[7:30, 5:40])
    luma = picture @ np.array([0.299, 0.587, 0.114])
    assert np.abs(frame.gray() - luma).max() <= 2
    blocks = luma.reshape(24, 2, 32, 2).mean((1, 3))
    assert np.abs(frame.small(32) - blocks).max() <= 2


def _raw_avi(path: Any, pixels: bytes, width: int, height: int) -> None:
    import struct

    def chunk(name: bytes, body: bytes) -> bytes:
        return name + struct.pack("<I", len(body)) + body

    size = len(pixels)
    main = struct.pack("<14I", 40000, 0, 0, 0x10, 1, 0, 1, size, width, height, 0, 0, 0, 0)
    head = struct.pack(
        "<4s4sI2H8I4h", b"vids", b"DIB ", *[0] * 4, 1, 25, 0, 1, size, 0, 0, *[0] * 4
    )
    bitmap = struct.pack("<3I2H6I", 40, width, height, 1, 24, 0, size, 0, 0, 0, 0)
    stream = chunk(b"LIST", b"strl" + chunk(b"strh", head) + chunk(b"strf", bitmap))
    header = chunk(b"LIST", b"hdrl" + chunk(b"avih", main) + stream)
    movie = chunk(b"LIST", b"movi" + chunk(b"00db", pixels))
    path.write_bytes(chunk(b"RIFF", b"AVI " + header + movie))
