"""Fills an index: patches in, embedded in batches, out as rows.

A source is in the index as a whole or not at all; a commit falls between two sources.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexes.build.uninterrupted import uninterrupted
from indexes.catalog.patch_rows import identity
from indexes.sources import IndexPatch, Source
from indexes.stores import NewRow, PatchSink
from toolkit.embedding import Embedder, Embeddings
from toolkit.errors import InputError, MismatchError
from toolkit.images import RgbImage, encode_jpeg, shrink
from toolkit.video.decode import DamagedVideoError

THUMBNAIL_PIXELS = 96
THUMBNAIL_QUALITY = 85
ROWS_AT_ONCE = 4096  # of those that have their vectors already
_LENGTH_TOLERANCE = 0.05  # int8 engines miss the length 1 by a little; a broken one by more


class _Waiting(NamedTuple):
    """A patch on its way, of the input with this number; fitted: None where it has its vector."""

    patch: IndexPatch
    input: int
    fitted: RgbImage | None = None
    thumbnail: bytes | None = None


class IndexWriter:
    """Takes one source after the other into an open sink; memory holds one batch of pictures.

    A Ctrl-C may come anywhere: steps that must not be halved hold it back.
    """

    def __init__(self, sink: PatchSink, embedder: Embedder, batch: int) -> None:
        self._sink = sink
        self._embedder = embedder
        self._batch = batch
        self._waiting: list[_Waiting] = []
        self._pictures = 0  # of these, to be embedded
        self._sightings: set[tuple[str, str, float | None]] = set()  # of tracks, among these
        self._whole = sink.last_input()  # the last input that was read to its end

    @property
    def uncommitted(self) -> int:
        """Patches since the last commit."""
        return self._sink.uncommitted + len(self._waiting)

    def add(self, source: Source, sha256: str, patches: Iterable[IndexPatch]) -> None:
        """Take a source in; a sighting of a track that is there already is left out.

        `patches` reads the source as it goes. Where that raises InputError, nothing of the
        source stays; but DamagedVideoError comes after all that the video has, which stays.
        """
        number = self._sink.begin_input(source, sha256)
        try:
            for patch in patches:
                self._take(patch, number)
        except DamagedVideoError:
            self._whole = number
            raise
        except InputError:
            self._back_to_whole()
            raise
        self._whole = number

    def commit(self) -> None:
        """Embed what waits, and make everything visible at once."""
        self._flush()
        with uninterrupted():
            self._sink.commit()

    def commit_whole_sources(self) -> None:
        """After an interrupt, wherever it came: drop the source under way, commit the rest."""
        self._back_to_whole()
        if self.uncommitted or not self._sink.is_empty():
            self.commit()

    def _take(self, patch: IndexPatch, number: int) -> None:
        if self._left_out(patch):
            return
        if patch.image is None:
            self._waiting.append(_Waiting(patch, number))
        else:
            small = shrink(patch.image, THUMBNAIL_PIXELS)
            thumbnail = encode_jpeg(small, quality=THUMBNAIL_QUALITY)
            fitted = None
            if patch.vector is None:
                fitted = self._embedder.card.preprocessing.fit(patch.image)
                self._pictures += 1
            self._waiting.append(_Waiting(patch, number, fitted, thumbnail))
        if self._pictures >= self._batch or len(self._waiting) >= ROWS_AT_ONCE:
            self._flush()

    def _left_out(self, patch: IndexPatch) -> bool:
        if patch.track is not None:
            sighting = (identity(patch.origin), patch.track, patch.time_s)
            if sighting in self._sightings:
                self._sink.note_left_out(patch)
                return True
        if self._sink.holds(patch):
            self._sink.note_left_out(patch)
            return True
        if patch.track is not None:
            self._sightings.add(sighting)
        return False

    def _back_to_whole(self) -> None:
        # Sources come one after the other, so what a source added is the tail.
        with uninterrupted():
            self._keep([item for item in self._waiting if item.input <= self._whole])
            self._sink.drop_inputs_after(self._whole)

    def _flush(self) -> None:
        if self._waiting:
            vectors = self._vectors()
            rows = [
                NewRow(item.patch, vector, item.thumbnail, item.input)
                for item, vector in zip(self._waiting, vectors, strict=True)
            ]
            with uninterrupted():
                self._sink.add(rows)
                self._keep([])

    def _keep(self, waiting: list[_Waiting]) -> None:
        self._waiting = waiting
        self._pictures = sum(item.fitted is not None for item in waiting)
        self._sightings = {
            (identity(item.patch.origin), item.patch.track, item.patch.time_s)
            for item in waiting
            if item.patch.track is not None
        }

    def _vectors(self) -> list[NDArray[np.float32]]:
        """The vectors of what waits, in its order."""
        pictures = [item.fitted for item in self._waiting if item.fitted is not None]
        names = [item.patch.origin.path for item in self._waiting if item.fitted is not None]
        made: Embeddings | list[NDArray[np.float32]] = []
        if pictures:
            made = checked(self._embedder.embed(np.stack(pictures)), self._embedder, names)
        embedded = iter(made)
        return [
            next(embedded) if item.patch.vector is None else item.patch.vector
            for item in self._waiting
        ]


def checked(embeddings: Embeddings, embedder: Embedder, names: Sequence[str]) -> Embeddings:
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
