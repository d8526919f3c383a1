"""The pictures of a transfer at the input size: read once, kept as far as memory allows."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.label_split import LabelSplit, split_by_content
from toolkit.evaluation.labelled import (
    LabelledFiles,
    LabelledPictures,
    OnProgress,
    read_labelled,
)
from toolkit.images import read_image
from toolkit.preprocess import Preprocessing

CACHE_BYTES = 2 * 1024**3
_READERS = 4

Images = NDArray[np.uint8]  # (N, height, width, 3)


class PictureStore:
    """Pictures by their rows; those that did not fit into memory are read again each time."""

    def __init__(
        self,
        found: LabelledFiles,
        preprocessing: Preprocessing,
        on_progress: OnProgress = lambda _: None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        shape = (preprocessing.height, preprocessing.width, 3)
        most = min(len(found.files), cache_bytes // int(np.prod(shape)))
        self._kept = np.empty((most, *shape), np.uint8)
        self._preprocessing = preprocessing
        self._filled = 0
        self.pictures: LabelledPictures = read_labelled(
            found, preprocessing, self._keep, on_progress
        )
        self.split: LabelSplit = split_by_content(self.pictures)

    def _keep(self, images: Images) -> None:
        room = self._kept[self._filled : self._filled + len(images)]
        room[:] = images[: len(room)]
        self._filled += len(room)

    def take(self, rows: NDArray[np.int64]) -> Images:
        """The pictures of the rows, uint8 (R, height, width, 3). Raises ImageError."""
        images = np.empty((len(rows), *self._kept.shape[1:]), np.uint8)
        kept = rows < self._filled
        images[kept] = self._kept[rows[kept]]
        again = np.flatnonzero(~kept)
        if len(again):
            with ThreadPoolExecutor(_READERS) as pool:
                files = [self.pictures.files[int(rows[place])].path for place in again]
                for place, image in zip(again, pool.map(self._read, files), strict=True):
                    images[place] = image
        return images

    def batches(self, rows: NDArray[np.int64], size: int) -> Iterator[Images]:
        """The pictures of the rows, `size` at a time."""
        for start in range(0, len(rows), size):
            yield self.take(rows[start : start + size])

    def _read(self, path: Path) -> Images:
        return self._preprocessing.fit(read_image(path))

    def digest(self) -> str:
        """SHA-256 over each picture's bytes, class and side: other data is another run."""
        digest = hashlib.sha256("\n".join(self.pictures.classes).encode())
        tested = set(self.split.test.tolist())
        for row, sha256 in enumerate(self.pictures.sha256):
            digest.update(f"\n{sha256} {self.pictures.labels[row]} {row in tested}".encode())
        return digest.hexdigest()
