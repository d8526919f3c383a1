import numpy as np
import pytest

from toolkit.errors import InputError
from toolkit.networks.dense_grid import Grid

GRID = Grid(height=20, width=30, stride=8, margin=11)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [(20, 30, 1, 1), (27, 37, 1, 1), (28, 38, 2, 2), (35, 45, 2, 2), (36, 30, 3, 1)],
)
def test_windows_that_lie_wholly_in_the_picture(
    height: int, width: int, rows: int, columns: int
) -> None:
    assert GRID.count(height, width) == (rows, columns)
    assert GRID.whole(height, width) == (20 + 8 * (rows - 1), 30 + 8 * (columns - 1))


@pytest.mark.parametrize("size", [(19, 30), (20, 29), (0, 0)])
def test_a_picture_smaller_than_a_window_is_an_input_error(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="30x20") as caught:
        GRID.count(*size)
    assert "vr embed" in caught.value.mend


def test_boxes_are_the_pixels_that_a_slice_takes() -> None:
    boxes = GRID.boxes(3, 2)
    assert (boxes.shape, boxes.dtype) == ((3, 2, 4), np.float32)
    assert boxes[2, 1].tolist() == [8, 16, 38, 36]
    assert boxes[0, 0].tolist() == [0, 0, 30, 20]


def test_it_survives_json() -> None:
    assert Grid.from_json(GRID.as_json()) == GRID


@pytest.mark.parametrize(
    "change", [{"stride": 0}, {"height": -1}, {"margin": -1}, {"width": 1 << 20}]
)
def test_numbers_that_are_no_grid_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no grid"):
        Grid.from_json({**GRID.as_json(), **change})


@pytest.mark.parametrize("side", [1, 30, 60, 90, 200, 10_000])
@pytest.mark.parametrize("size", [(20, 30), (41, 200), (199, 33), (260, 301)])
def test_tiles_hold_every_window_once_with_all_that_it_sees(
    side: int, size: tuple[int, int]
) -> None:
    rows, columns = GRID.count(*size)
    bottom, right = GRID.whole(*size)
    seen = np.zeros((rows, columns), int)
    for tile in GRID.tiles(*size, side):
        seen[tile.rows, tile.columns] += 1
        inside = GRID.count(tile.bottom - tile.top, tile.right - tile.left)
        for row in range(tile.rows.start, tile.rows.stop):
            for column in range(tile.columns.start, tile.columns.stop):
                x0, y0, x1, y1 = GRID.boxes(rows, columns)[row, column].tolist()
                assert tile.top <= max(0, y0 - 11)
                assert tile.left <= max(0, x0 - 11)
                assert min(bottom, y1 + 11) <= tile.bottom <= bottom
                assert min(right, x1 + 11) <= tile.right <= right
                # the window of the cut that is said to be this one lies where this one does
                place = row - tile.rows.start + tile.skip[0], column - tile.columns.start
                assert tile.top + place[0] * 8 == y0
                assert tile.left + (place[1] + tile.skip[1]) * 8 == x0
                assert place[0] < inside[0]
                assert place[1] + tile.skip[1] < inside[1]
    assert (seen == 1).all()


@pytest.mark.parametrize("side", [80, 120, 400])
def test_cuts_are_no_longer_than_asked_for(side: int) -> None:
    """Beside one window there are 2 x 11 pixels of context, in steps of 8: 62 pixels."""
    tiles = list(GRID.tiles(1000, 1500, side))
    assert max(tile.bottom - tile.top for tile in tiles) <= side
    assert max(tile.right - tile.left for tile in tiles) <= side
    assert len(tiles) > 1


def test_a_small_picture_is_one_tile() -> None:
    (tile,) = GRID.tiles(60, 61, 64)
    assert (tile.top, tile.left, tile.bottom, tile.right) == (0, 0, 60, 54)
    assert tile.skip == (0, 0)
