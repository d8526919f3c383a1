"""A 64-bit perceptual hash of a patch: patches that look nearly alike differ in few bits.

It says which patches may show one thing met twice (`toolkit.patches.relations`). It is not
meant for finding things: lighting hardly changes it, but a turn of the thing does.
"""

import math

import numpy as np
from numpy.typing import NDArray

from toolkit.images import RgbImage, resize

BITS = 64
_SIDE = 32  # the gray square whose frequencies are taken
_LOW = 8  # frequencies each way
# Whole numbers all the way: a coefficient beside the median must not fall on its other side
# because another processor adds in another order.
_LUMA = np.array([299, 587, 114], np.int64)
_SCALE = 1 << 12


def _cosines() -> NDArray[np.int64]:
    """The first rows of the DCT-II of length _SIDE, (_LOW, _SIDE), in fixed point."""
    turns = [[math.pi * k * (2 * n + 1) / (2 * _SIDE) for n in range(_SIDE)] for k in range(_LOW)]
    return np.array([[round(_SCALE * math.cos(turn)) for turn in row] for row in turns], np.int64)


_COSINES = _cosines()


def perceptual_hash(patch: RgbImage) -> int:
    """The hash of a patch, uint8 (height, width, 3): a whole number of 64 bits.

    A bit for each of the 8x8 lowest frequencies of the gray 32x32 patch, set where the
    coefficient lies above the median of all but the constant one; row by row, the first is
    the highest bit. The same pixels give the same hash on every machine.
    """
    gray = resize(patch, _SIDE, _SIDE).astype(np.int64) @ _LUMA
    coefficients = (_COSINES @ gray @ _COSINES.T).reshape(-1)
    above = coefficients > np.sort(coefficients[1:])[(BITS - 1) // 2]
    return int.from_bytes(np.packbits(above).tobytes(), "big")


def hamming(one: int, other: int) -> int:
    """How many bits two hashes differ in, 0 to 64."""
    return (one ^ other).bit_count()
