"""The box that holds the most points, over every place that it can have in the frame."""

import numpy as np
from numpy.typing import NDArray

Sums = NDArray[np.int64]


def fullest_box(points: NDArray[np.float32], shape: tuple[int, int], side: int) -> tuple[int, int]:
    """The corner (x, y) of the square of `side` pixels that holds most of the points (N, 2).

    shape: height and width of the frame, whose pixels (whole numbers) are the places; a
    point at the left or upper edge is in, one at the right or lower edge is not. Among
    equals, the box with its middle nearest to the mean of the points in it, then the upper,
    then the left one. The arithmetic is exact. Raises ValueError for no points.
    """
    if not len(points):
        raise ValueError("no points to hold")
    column, row = np.floor(points).astype(np.int64).T
    held = _held(np.ones(len(points), np.int64), row, column, shape, side)
    most = int(held.max())
    places = np.argwhere(held == most)  # from top to bottom, from left to right
    top, left = places.T
    # Twice the distance of the boxes' middles from the means of their points, times `most`.
    across = 2 * _held(column, row, column, shape, side)[top, left] + most * (1 - 2 * left - side)
    down = 2 * _held(row, row, column, shape, side)[top, left] + most * (1 - 2 * top - side)
    y, x = places[(across**2 + down**2).argmin()].tolist()
    return x, y


def _held(
    values: Sums, row: Sums, column: Sums, shape: tuple[int, int], side: int
) -> NDArray[np.int64]:
    """The sum of the points' values in each place of the box: (height, width) - side + 1."""
    height, width = shape
    integral = np.zeros((height + 1, width + 1), np.int64)
    np.add.at(integral, (row + 1, column + 1), values)
    integral = integral.cumsum(axis=0).cumsum(axis=1)
    sums: Sums = integral[side:, side:] - integral[:-side, side:]
    return sums - integral[side:, :-side] + integral[:-side, :-side]
