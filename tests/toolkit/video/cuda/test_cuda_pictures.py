"""Gray copies and boxes of frames on a device, against the CPU's and plain arithmetic."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.video.cuda_frame import CudaFrame, Luma, _means
from toolkit.video.frame import Frame

FULL = Luma((0.299, 0.587, 0.114), 0.0, interlaced=False)
FIELDS = Luma((0.299, 0.587, 0.114), 0.0, interlaced=True)


def _smooth(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture (height, width, 3) without hard edges, of colours that video can hold."""
    import cv2

    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 60, 200, cv2.NORM_MINMAX).astype(
        np.uint8
    )


def _on_device(picture: NDArray[np.uint8], luma: Luma = FULL) -> CudaFrame:
    import torch

    return CudaFrame(0.0, torch.from_numpy(np.ascontiguousarray(picture)), luma)


def _of_video(
    pixels: str, size: tuple[int, int], matrix: int = 5, color_range: int = 1
) -> tuple[CudaFrame, Frame]:
    import av

    image = av.VideoFrame.from_ndarray(_smooth(*size), format="rgb24")
    image = image.reformat(format=pixels, dst_colorspace=matrix, dst_color_range=color_range)
    image.colorspace, image.color_range = matrix, color_range
    frame = Frame(0.0, image, 0)
    return _on_device(frame.rgb(), Luma.of(frame)), frame


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "nv12"])
@pytest.mark.parametrize(("matrix", "color_range"), [(5, 1), (5, 2), (1, 1), (1, 2)])
def test_gray_has_the_values_of_the_video(pixels: str, matrix: int, color_range: int) -> None:
    mine, frame = _of_video(pixels, (320, 180), matrix, color_range)
    assert np.abs(mine.small(320).astype(int) - frame.gray()).mean() < 2
    assert np.abs(mine.small(107).astype(int) - frame.small(107)).max() <= 3


@pytest.mark.parametrize("size", [(320, 180), (322, 178), (97, 301), (640, 2)])
@pytest.mark.parametrize("long_side", [7, 64, 96, 640])
def test_small_has_the_size_of_the_cpu_s(size: tuple[int, int], long_side: int) -> None:
    mine, frame = _of_video("yuv444p", size)
    small, expected = mine.small(long_side), frame.small(long_side)
    assert small.shape == expected.shape
    assert small.dtype == np.uint8
    assert small.flags.c_contiguous
    assert np.abs(small.astype(int) - expected).max() <= 3


@pytest.mark.parametrize(("source", "target"), [(12, 4), (10, 4), (7, 5), (5, 1), (1080, 216)])
def test_means_are_those_of_a_loop(source: int, target: int) -> None:
    expected = np.zeros((target, source))
    fine = 60  # parts of a pixel; divides every edge of these sizes but the last, which is whole
    for part in range(source * fine):
        expected[part * target // (source * fine), part // fine] += target / (source * fine)
    assert np.abs(_means(source, target, "cpu").numpy() - expected).max() < 1e-6
    assert np.allclose(_means(source, target, "cpu").numpy().sum(axis=1), 1)


def test_a_crop_is_cut_from_the_picture() -> None:
    picture = _smooth(40, 30)
    frame = _on_device(picture)
    assert (frame.width, frame.height) == (40, 30)
    assert np.array_equal(frame.rgb(), picture)
    cut = frame.crop(3, 5, 20, 30)
    assert np.array_equal(cut, picture[5:30, 3:20])
    assert cut.flags.c_contiguous
    cut[:] = 0
    assert np.array_equal(frame.rgb(), picture)


@pytest.mark.parametrize("box", [(-1, 0, 4, 4), (0, 0, 41, 4), (5, 5, 5, 9), (5, 9, 9, 5)])
def test_a_crop_that_is_not_inside_the_frame_is_refused(box: Any) -> None:
    with pytest.raises(ValueError, match="is no box in 40x30"):
        _on_device(_smooth(40, 30)).crop(*box)


@pytest.mark.parametrize("height", [30, 31])
def test_of_two_fields_only_the_top_one_is_shown(height: int) -> None:
    picture = _smooth(40, height)
    combed = picture.copy()
    combed[1::2] = 0
    expected = picture.astype(int)
    for row in range(1, height, 2):
        below = row + 1 if row + 1 < height else row - 1
        expected[row] = (expected[row - 1] + expected[below]) // 2
    frame = _on_device(combed, FIELDS)
    assert np.array_equal(frame.rgb(), expected)
    for top in (0, 1, 4, 7):
        assert np.array_equal(frame.crop(2, top, 9, top + 11), expected[top : top + 11, 2:9])
        assert np.array_equal(frame.crop(2, top, 9, top + 1), expected[top : top + 1, 2:9])
    gray = expected @ np.array([0.299, 0.587, 0.114])
    assert np.abs(frame.small(40) - gray).max() <= 1
