"""Tracks that nearly repeat each other: the same footage in two files, or two exports of it.

Their boxes and moments differ, so most of their patches do too; but somewhere along the two
tracks the same look was cut out twice. That one match is enough to tell.
"""

import numpy as np
from numpy.typing import NDArray

# Bits of the perceptual hash. Of the pairs that show one thing at one moment in vtest.avi and
# in a smaller copy of it, 96 % are of tracks with patches this near, and none of the surely
# different pairs of vtest.avi; with 6 bits it is 96 and 1 %, with 2 bits 87 % and none.
TWIN_BITS = 4
_CROWD = 1000  # looks of one band
# Two hashes that differ in 4 bits are the same in at least one of 5 bands.
_BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))


def twin_tracks(tracks: NDArray[np.int64], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Every two tracks with any patches within TWIN_BITS of each other, (K, 2), sorted.

    tracks: (N,), a number from 0 on for each pair; hashes: (N, 2), of its query and positive.
    Both orders of two tracks are there, and no track with itself. Looks that thousands share
    may be left out.
    """
    looks = np.stack([hashes.ravel(), tracks.astype(np.uint64).repeat(2)], 1)
    looks = looks[np.lexsort(looks.T)]
    new = np.ones(len(looks), np.bool_)
    new[1:] = (looks[1:] != looks[:-1]).any(1)
    hashes, tracks = looks[new, 0], looks[new, 1].astype(np.int64)
    count = int(tracks.max(initial=0)) + 1
    codes = np.concatenate([_near_in_band(hashes, tracks, count, *band) for band in _BANDS])
    one, other = np.divmod(np.unique(codes), count)
    both = np.stack([np.concatenate([one, other]), np.concatenate([other, one])], 1)
    return both[np.lexsort(both.T[::-1])]


def _near_in_band(
    hashes: NDArray[np.uint64], tracks: NDArray[np.int64], count: int, shift: int, width: int
) -> NDArray[np.int64]:
    """The twins among the looks that are the same in one band, each as smaller * count + larger."""
    keys = ((hashes >> np.uint64(shift)) & np.uint64((1 << width) - 1)).astype(np.int64)
    # What is shared by thousands is a common look and no copy; comparing all of them with each
    # other would also take time and memory without bound.
    usual = np.flatnonzero(np.bincount(keys, minlength=1)[keys] <= _CROWD)
    order = usual[np.argsort(keys[usual], kind="stable")]
    keys, hashes, tracks = keys[order], hashes[order], tracks[order]
    found = [np.zeros(0, np.int64)]
    one = np.arange(len(keys))
    # Looks of one key lie together: each is compared with the next, the one after that, and so
    # on while any two are still of one key.
    for step in range(1, _CROWD):
        one = one[one + step < len(keys)]
        one = one[keys[one] == keys[one + step]]
        if not len(one):
            break
        a, b = tracks[one], tracks[one + step]
        near = (np.bitwise_count(hashes[one] ^ hashes[one + step]) <= TWIN_BITS) & (a != b)
        found.append(np.unique(np.minimum(a, b)[near] * count + np.maximum(a, b)[near]))
    return np.unique(np.concatenate(found))
