"""Fills an index: patches in, embedded in batches, out as segments and rows.

A source is in the index as a whole or not at all; a commit falls between two sources.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.catalog import Catalog
from indexes.schema import SEGMENTS
from indexes.sources import IndexPatch, Source
from indexes.vectors import write_segment
from toolkit.embedding import Embedder, Embeddings
from toolkit.errors import InputError, MismatchError
from toolkit.images import RgbImage, encode_jpeg, shrink
from toolkit.video.decode import DamagedVideoError

THUMBNAIL_PIXELS = 96
THUMBNAIL_QUALITY = 85
_LENGTH_TOLERANCE = 0.05  # int8 engines miss the length 1 by a little; a broken one by more


class IndexWriter:
    """Takes one source after the other into an open catalog.

    Memory holds one batch of pictures and the vectors since the last commit.
    """

    def __init__(self, index: Path, catalog: Catalog, embedder: Embedder, batch: int) -> None:
        self._folder = index / SEGMENTS
        self._catalog = catalog
        self._embedder = embedder
        self._batch = batch
        self._segment_id = catalog.next_segment()
        self._rows: list[NDArray[np.float32]] = []
        self._waiting: list[tuple[str, RgbImage]] = []  # (origin, fitted picture)
        # The patches and the last input at the end of the last whole source. One record, set
        # in one step: an interrupt may come between any two.
        self._whole = (0, catalog.last_input())

    @property
    def uncommitted(self) -> int:
        """Patches since the last commit; the row of the next one."""
        return len(self._rows) + len(self._waiting)

    def add(self, source: Source, sha256: str, patches: Iterable[IndexPatch]) -> None:
        """Take a source in; a sighting of a track that is there already is left out.

        `patches` reads the source as it goes. Where that raises InputError, nothing of the
        source stays; but DamagedVideoError comes after all that the video has, which stays.
        """
        input_id = self._catalog.add_input(source, sha256)
        try:
            for patch in patches:
                if not self._catalog.holds(patch):
                    self._take(patch, input_id)
        except DamagedVideoError:
            self._whole = (self.uncommitted, input_id)
            raise
        except InputError:
            self._back_to_whole()
            raise
        self._whole = (self.uncommitted, input_id)

    def commit(self) -> None:
        """Write the segment, then make it and its patches visible in one transaction."""
        self._embed()
        if self._rows:
            segment = write_segment(self._folder, np.stack(self._rows))
            self._catalog.add_segment(self._segment_id, segment)
        self._catalog.commit()
        self._rows.clear()
        self._whole = (0, self._whole[1])
        self._catalog.begin()
        self._segment_id = self._catalog.next_segment()

    def commit_whole_sources(self) -> None:
        """After an interrupt, wherever it came: drop the source under way, commit the rest."""
        if not self._catalog.is_open():  # it came just after a commit, which had everything
            return
        self._back_to_whole()
        if not self._catalog.is_empty():
            self.commit()

    def _take(self, patch: IndexPatch, input_id: int) -> None:
        thumbnail = encode_jpeg(shrink(patch.image, THUMBNAIL_PIXELS), quality=THUMBNAIL_QUALITY)
        place = (self._segment_id, self.uncommitted)
        self._catalog.add_patch(patch, thumbnail, input_id, place)
        fitted = self._embedder.card.preprocessing.fit(patch.image)
        self._waiting.append((patch.origin.path, fitted))
        if len(self._waiting) >= self._batch:
            self._embed()

    def _back_to_whole(self) -> None:
        # Sources come one after the other, so what a source added is the tail. Done twice, or
        # after an interrupt in the middle of it or of _embed, it comes to the same.
        patches, input_id = self._whole
        del self._waiting[max(patches - len(self._rows), 0) :]
        del self._rows[patches:]
        self._catalog.drop_inputs_after(input_id)

    def _embed(self) -> None:
        if not self._waiting:
            return
        names = [name for name, _ in self._waiting]
        images = np.stack([image for _, image in self._waiting])
        self._rows += list(checked(self._embedder.embed(images), self._embedder, names))
        self._waiting.clear()


def checked(embeddings: Embeddings, embedder: Embedder, names: list[str]) -> Embeddings:
    """The embeddings of the named pictures, (N, D), made exactly of length 1.

    Raises MismatchError, naming a picture, where the model gave something else.
    """
    expected = (len(names), embedder.card.dim)
    mend = "The model does not do what its card says: export or train it again."
    if embeddings.shape != expected:
        raise MismatchError(
            f"The model gave an array of shape {embeddings.shape} for {names[0]} "
            f"and those after it; {expected} was expected.",
            mend=mend,
        )
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) < _LENGTH_TOLERANCE))
    if wrong.size:
        first = int(wrong[0])
        raise MismatchError(
            f"The model gave a vector of length {lengths[first]:.3g} for {names[first]}; "
            "1 was expected.",
            mend=mend,
        )
    return np.asarray(embeddings / lengths[:, None], np.float32)
