"""What an embedding has to beat: features that need no training.

Each takes uint8 RGB patches (N, height, width, 3) and gives rows of length 1, (N, D).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Feature = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def color_histogram(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """8x8x8 RGB histograms; the dot product of their roots is the Bhattacharyya coefficient."""
    bins = (patches >> 5).astype(np.int64)
    codes = bins[..., 0] * 64 + bins[..., 1] * 8 + bins[..., 2]
    counts = np.zeros((len(patches), 512), np.float32)
    for row, patch in zip(counts, codes, strict=True):
        row += np.bincount(patch.ravel(), minlength=512)
    return _unit(np.sqrt(counts))


def hog(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Histograms of oriented gradients (Dalal & Triggs, CVPR 2005) of 64x64 gray patches."""
    import cv2

    descriptor = cv2.HOGDescriptor((64, 64), (16, 16), (8, 8), (8, 8), 9)
    rows = []
    for patch in patches:
        gray = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(gray, (64, 64), interpolation=cv2.INTER_AREA)
        rows.append(np.asarray(descriptor.compute(small), np.float32).ravel())
    width = descriptor.getDescriptorSize()
    return _unit(np.stack(rows) if rows else np.zeros((0, width), np.float32))


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    rows: NDArray[np.float32] = features / np.maximum(length, np.float32(1e-12))
    return rows


BASELINES: dict[str, Feature] = {"color histogram": color_histogram, "hog": hog}
