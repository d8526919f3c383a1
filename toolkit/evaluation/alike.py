"""Which pictures are the same, or so near to it that they must not stand on both sides.

The same picture saved again, in another size or quality, is nearly the same; so are frames
of a still scene a moment apart, and its mirror image, of which learning makes no difference.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

THUMBNAIL = 8  # pixels a side: what is left of a picture when it is compared
# The root of the mean square difference of two thumbnails: at most so much of 255, and so
# large a part of the deviation of either's values. Saving a picture as JPEG of quality 60, at
# two thirds of its size, makes no more; what is all fog must not be taken for one picture.
NEAR = 4.0
NEAR_PART = 0.1
_BLOCK = 2048  # rows of the table of distances at a time: memory stays linear


def group_alike(thumbnails: NDArray[np.uint8], names: Sequence[str] = ()) -> NDArray[np.int64]:
    """Numbers of groups, int64 (N,): those that are alike have one, and so has a name's group.

    thumbnails: uint8 (N, THUMBNAIL, THUMBNAIL, 3); names: (N,), "" for none. What is alike to
    the same third picture is of one group. A group's number is its first row.
    """
    groups = np.arange(len(thumbnails))
    if not len(thumbnails):
        return groups
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if name:
            _unite(groups, np.array([first.setdefault(name, row), row]))
    rows = thumbnails.reshape(len(thumbnails), -1)
    kinds, where, which = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(which, kind="stable")
    for same in np.split(order, np.flatnonzero(np.diff(which[order])) + 1):
        _unite(groups, same)
    mirrored = kinds.reshape(-1, *thumbnails.shape[1:])[:, :, ::-1].reshape(kinds.shape)
    for others in (kinds, mirrored):
        for near in _near(kinds, others):
            _unite(groups, where[near])
    return np.array([_find(groups, row) for row in range(len(groups))], np.int64)


def _near(rows: NDArray[np.uint8], others: NDArray[np.uint8]) -> Iterator[NDArray[np.int64]]:
    """For each row that is near to later ones of others: itself and those, a block at a time.

    others: the rows, or the same with their numbers in another order.
    """
    # Whole numbers below 2**24 stay whole.
    exact, other_way = rows.astype(np.float32), others.astype(np.float32)
    lengths = np.square(exact).sum(1)
    most = np.minimum(NEAR, NEAR_PART * exact.std(1)) ** 2 * (rows.shape[1] / 2)
    for start in range(0, len(rows), _BLOCK):
        for other in range(start, len(rows), _BLOCK):
            one, two = slice(start, start + _BLOCK), slice(other, other + _BLOCK)
            half = exact[one] @ other_way[two].T
            half *= -1
            half += lengths[one, None] / 2
            half += lengths[None, two] / 2
            near = half <= np.minimum(most[one, None], most[None, two])
            if start == other:
                np.fill_diagonal(near, False)
            for row in np.flatnonzero(near.any(1)):
                yield np.append(np.flatnonzero(near[row]) + other, row + start)


def _unite(groups: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
    roots = {_find(groups, int(row)) for row in np.unique(groups[rows])}
    groups[list(roots)] = groups[rows] = min(roots)


def _find(groups: NDArray[np.int64], row: int) -> int:
    while groups[row] != row:
        groups[row] = groups[groups[row]]
        row = int(groups[row])
    return row
