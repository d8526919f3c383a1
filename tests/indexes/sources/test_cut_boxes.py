"""Where the patches of a picture lie, against naive loops over every pixel."""

import numpy as np
import pytest

from indexes.sources import Cut
from toolkit.errors import UsageError

SIZES = [(1, 1), (7, 9), (8, 8), (40, 56), (101, 37), (640, 480)]


def cover(boxes, width, height):
    """How many boxes hold each pixel."""
    count = np.zeros((height, width), int)
    for x0, y0, x1, y1 in boxes:
        for value in (x0, y0, x1, y1):
            assert isinstance(value, float)
            assert value == int(value)
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        count[int(y0) : int(y1), int(x0) : int(x1)] += 1
    return count


@pytest.mark.parametrize("cut", [Cut(), Cut(grids=((1, 1),)), Cut(windows=(65536,))])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_whole_picture_is_one_box(cut, width, height):
    assert list(cut.boxes(width, height)) == [(0.0, 0.0, float(width), float(height))]


def test_a_grid_is_rows_by_columns_from_the_upper_left():
    assert list(Cut(grids=((2, 3),)).boxes(90, 40)) == [
        (0, 0, 30, 20), (30, 0, 60, 20), (60, 0, 90, 20),
        (0, 20, 30, 40), (30, 20, 60, 40), (60, 20, 90, 40),
    ]  # fmt: skip


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (3, 3), (7, 5), (100, 100)])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_cells_of_a_grid_hold_every_pixel_once(rows, columns, width, height):
    boxes = list(Cut(grids=((rows, columns),)).boxes(width, height))
    assert (cover(boxes, width, height) == 1).all()
    across, down = max(1, min(columns, width // 8)), max(1, min(rows, height // 8))
    assert len(boxes) == across * down
    for sides in ({x1 - x0 for x0, _, x1, _ in boxes}, {y1 - y0 for _, y0, _, y1 in boxes}):
        assert max(sides) - min(sides) <= 1


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("side", [8, 20, 37, 200])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_windows_leave_no_pixel_out_and_overlap_at_least_as_asked(side, overlap, width, height):
    if width > 200 and overlap > 0.5:
        side = max(side, 37)  # nearly as many as there are pixels, else
    boxes = list(Cut(windows=(side,), overlap=overlap).boxes(width, height))
    assert (cover(boxes, width, height) >= 1).all()
    assert len(set(boxes)) == len(boxes)
    for low, length in ((0, width), (1, height)):
        starts = sorted({box[low] for box in boxes})
        assert {box[low + 2] - box[low] for box in boxes} == {min(side, length)}
        assert (starts[0], starts[-1]) == (0, max(length - side, 0))
        steps = np.diff(starts)
        assert (steps < side * (1 - overlap) + 1).all()
        # One window less would not do.
        assert len(starts) < 2 or (length - side) / (len(starts) - 1) > 0
        assert len(starts) < 3 or (length - side) / (len(starts) - 2) > side * (1 - overlap)


def test_several_scales_give_each_box_once_and_a_small_picture_is_not_lost():
    cut = Cut(grids=((1, 1), (2, 2)), windows=(16, 64, 128))
    assert list(cut.boxes(12, 12)) == [(0, 0, 12, 12)]
    boxes = list(cut.boxes(64, 64))
    assert boxes[:5] == [
        (0, 0, 64, 64), (0, 0, 32, 32), (32, 0, 64, 32), (0, 32, 32, 64), (32, 32, 64, 64),
    ]  # fmt: skip
    assert len(boxes) == len(set(boxes)) == 1 + 4 + 49


@pytest.mark.parametrize(
    ("cut", "name"),
    [
        (Cut(), "whole"),
        (Cut(grids=((1, 1), (1, 1)), overlap=0.1), "whole"),
        (Cut(grids=((3, 2), (1, 1), (3, 2))), "grid:1x1,3x2"),
        (Cut(windows=(256, 128, 256)), "windows:128,256@0.5"),
        (Cut(grids=((2, 2),), windows=(64,), overlap=0.25), "grid:2x2+windows:64@0.25"),
    ],
)
def test_the_same_cut_has_the_same_name_however_it_is_written(cut, name):
    assert cut.name == name


@pytest.mark.parametrize(
    "wrong",
    [
        {"grids": ((0, 1),)},
        {"grids": ((1, 101),)},
        {"windows": (7,)},
        {"windows": (65_537,)},
        {"overlap": -0.1},
        {"overlap": 0.96},
        {"overlap": float("nan")},
    ],
    ids=str,
)
def test_a_cut_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(UsageError):
        Cut(**wrong)
