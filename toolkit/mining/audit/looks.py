"""How alike two patches are in what mining itself never looked at: their colours.

Mining follows texture and compares the layout of gray levels, so a pair that it kept has
passed those tests, true or false. Colour and brightness histograms are a second opinion.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from toolkit.images import RgbImage, crop, resize
from toolkit.records import Box

_BANDS = 3  # from top to bottom: hair, jacket and trousers are told apart, left and right not
_BINS = 16
_SIDE = 48  # px; the longer side at which colours are counted
# Red against green and yellow against blue of real things lie near gray: bins where they are.
_CHROMA = 64.0
_LEAST = 1e-3  # affinity: one channel without any overlap must not outweigh all the others


def look(patch: RgbImage, box: Box) -> NDArray[np.float64]:
    """The colours of the thing in a stored patch, (9, 16): histograms, square roots.

    Only the part of the square that the box covers is counted, the middle columns most: the
    surroundings would make two things at one place alike.
    """
    inside = _inside(patch, box)
    channels = _opponents(inside)
    height, width = inside.shape[:2]
    columns = np.exp(-0.5 * (((np.arange(width) + 0.5) / width - 0.5) / 0.25) ** 2)
    edges = [round(band * height / _BANDS) for band in range(_BANDS + 1)]
    histograms = []
    for top, below in pairwise(edges):
        rows = slice(min(top, height - 1), max(below, top + 1))
        weights = np.broadcast_to(columns, inside.shape[:2])[rows].ravel()
        histograms += [_histogram(channel[rows].ravel(), weights) for channel in channels]
    return np.sqrt(histograms)


def likeness(some: NDArray[np.float64], every: NDArray[np.float64]) -> NDArray[np.float64]:
    """How alike looks (M, 9, 16) and (N, 9, 16) are, (M, N): 0 for the same, below for less.

    The mean over the channels of the logarithm of the Bhattacharyya affinity.
    """
    total = np.zeros((len(some), len(every)))
    for channel in range(some.shape[1]):
        affinity = some[:, channel] @ every[:, channel].T
        total += np.log(np.clip(affinity, _LEAST, 1.0))
    mean: NDArray[np.float64] = total / some.shape[1]
    return mean


def _inside(patch: RgbImage, box: Box) -> RgbImage:
    height, width = patch.shape[:2]
    longer = max(box.width, box.height)
    part = Box.around(
        width / 2, height / 2, width * box.width / longer, height * box.height / longer
    )
    inside = crop(patch, part)
    factor = min(1.0, _SIDE / max(inside.shape[:2]))
    size = [max(1, round(side * factor)) for side in inside.shape[:2]]
    return resize(inside, size[0], size[1])


def _opponents(image: RgbImage) -> list[NDArray[np.float64]]:
    """Brightness, red against green, yellow against blue; each 0 to 1."""
    red, green, blue = np.moveaxis(image.astype(np.float64), 2, 0)
    chroma = [red - green, (red + green) / 2 - blue]
    light = (red + green + blue) / (3 * 255)
    return [light, *(np.clip(0.5 + 0.5 * c / _CHROMA, 0, 1) for c in chroma)]


def _histogram(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """A histogram that sums to 1; a value counts in the two bins that it lies between."""
    place = np.clip(values * _BINS - 0.5, 0, _BINS - 1)
    lower = np.minimum(place.astype(np.int64), _BINS - 2)
    share = place - lower
    counts = np.bincount(lower, weights * (1 - share), _BINS)
    counts += np.bincount(lower + 1, weights * share, _BINS)
    histogram: NDArray[np.float64] = counts / counts.sum()
    return histogram
