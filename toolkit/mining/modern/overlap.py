"""Overlaps of many boxes at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolkit.records import Box

Overlaps = NDArray[np.float64]


def as_array(boxes: Sequence[Box]) -> NDArray[np.float64]:
    """Boxes as xyxy rows, (N, 4)."""
    return np.array([box.as_list() for box in boxes], np.float64).reshape(-1, 4)


def areas(boxes: NDArray[np.float64]) -> Overlaps:
    """Of boxes (N, 4), square pixels, (N,)."""
    sides = boxes[:, 2:] - boxes[:, :2]
    product: Overlaps = sides[:, 0] * sides[:, 1]
    return product


def intersections(first: NDArray[np.float64], second: NDArray[np.float64]) -> Overlaps:
    """The shared areas of boxes (N, 4) and (M, 4), (N, M), square pixels."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(high - low, 0)
    product: Overlaps = sides[..., 0] * sides[..., 1]
    return product
