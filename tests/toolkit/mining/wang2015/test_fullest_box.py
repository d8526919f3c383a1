"""The box with the most points, against a loop over every place."""

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.mining.wang2015.box_search import fullest_box


def _by_loop(points: NDArray[np.float32], shape: tuple[int, int], side: int) -> tuple[int, int]:
    best: tuple[float, float] = (0, 0)
    place = (-1, -1)
    whole = np.floor(points)
    for y in range(shape[0] - side + 1):
        for x in range(shape[1] - side + 1):
            held = [p for p in whole if x <= p[0] < x + side and y <= p[1] < y + side]
            if not held:
                continue
            middle = np.mean(held, axis=0, dtype=np.float64) + 0.5
            away = round(float(np.sum((middle - [x + side / 2, y + side / 2]) ** 2)), 9)
            if (len(held), -away) > best or place == (-1, -1):
                best, place = (len(held), -away), (x, y)
    return place


@pytest.mark.parametrize("seed", range(12))
def test_it_is_the_box_that_a_loop_over_all_places_finds(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = int(random.integers(8, 16)), int(random.integers(8, 20))
    side = int(random.integers(3, 8))
    count = int(random.integers(1, 25))
    points = (random.random((count, 2)) * [shape[1], shape[0]]).astype(np.float32)
    if seed % 2:
        points = np.floor(points / 4) * 4  # many on one place, so that many boxes are equal
    assert fullest_box(points, shape, side) == _by_loop(points, shape, side)


def test_at_the_size_of_the_paper_no_place_holds_more() -> None:
    points = (np.random.default_rng(5).random((300, 2)) * [600, 448]).astype(np.float32)
    x, y = fullest_box(points, (448, 600), 227)

    def held(left: int, top: int) -> int:
        across = (points[:, 0] >= left) & (points[:, 0] < left + 227)
        return int((across & (points[:, 1] >= top) & (points[:, 1] < top + 227)).sum())

    assert (x, y) != (0, 0)
    assert held(x, y) == max(held(left, top) for left in range(374) for top in range(0, 222, 3))


def test_a_lone_point_is_in_the_middle_where_there_is_room() -> None:
    assert fullest_box(np.array([[300.4, 200.9]], np.float32), (448, 600), 227) == (187, 87)
    assert fullest_box(np.array([[2, 440]], np.float32), (448, 600), 227) == (0, 221)


def test_of_equals_it_is_the_upper_then_the_left_one() -> None:
    corners = np.array([[1, 1], [8, 1], [1, 8], [8, 8]], np.float32)
    assert fullest_box(corners, (10, 10), 3) == (0, 0)
    assert fullest_box(corners[[3, 1]], (10, 10), 3) == (7, 0)
    assert fullest_box(corners[[3, 2]], (10, 10), 3) == (0, 7)


def test_the_frame_may_be_as_small_as_the_box() -> None:
    assert fullest_box(np.array([[4, 4]], np.float32), (5, 5), 5) == (0, 0)


def test_no_points_have_no_box() -> None:
    with pytest.raises(ValueError, match="no points"):
        fullest_box(np.zeros((0, 2), np.float32), (448, 600), 227)
