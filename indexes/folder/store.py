"""An index in a folder, open for reading."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.catalog.reader import CatalogReader
from indexes.catalog.schema import SEGMENTS
from indexes.records import Filter, Nearest, Place, Segment
from indexes.stores import ANY, no_patch
from indexes.vectors.segment import OpenSegment, open_segment
from toolkit.embedding import Embeddings
from toolkit.errors import MismatchError
from toolkit.model_card import ModelCard

_TRIES = 5  # a merge may take segments away between the snapshot and their opening


class FolderStore:
    """A snapshot of an index in a folder, behind `indexes.stores.PatchStore`."""

    def __init__(self, catalog: CatalogReader, device: str, *, allow_partial: bool = False) -> None:
        self._catalog = catalog
        self._segments: list[OpenSegment] = []
        self._masks: dict[Filter, list[NDArray[np.bool_] | None]] = {}
        problems: list[str] = []
        try:
            for segment in catalog.segments:
                try:
                    self._segments.append(self._open(segment, device))
                except MismatchError as error:
                    if not allow_partial:
                        raise
                    problems.append(error.problem)
        except BaseException:
            self.close()
            raise
        self.left_out = tuple(problems)

    @property
    def name(self) -> str:
        """The folder."""
        return str(self._catalog.index)

    @property
    def card(self) -> ModelCard:
        """The model that made the index."""
        return self._catalog.card

    @property
    def catalog(self) -> CatalogReader:
        """The catalog of the same snapshot."""
        return self._catalog

    @property
    def segments(self) -> Sequence[OpenSegment]:
        """The segments that could be opened, in the order they were made."""
        return self._segments

    def __len__(self) -> int:
        """The number of patches."""
        return self._catalog.count()

    def close(self) -> None:
        """Give the snapshot up."""
        for segment in self._segments:
            segment.close()
        self._catalog.close()

    def nearest(
        self, queries: Embeddings, count: int, only: Filter = ANY, sure: int | None = None
    ) -> Nearest:
        """The `count` patches of highest cosine for each query; see `PatchStore`."""
        parts = [
            _found(segment, *segment.search(queries, min(count, len(segment.rows)), mask, sure))
            for segment, mask in zip(self._segments, self._allowed(only), strict=True)
        ]
        if len(parts) == 1:
            return parts[0]
        return _best(parts, len(queries), count)

    def places(self, patches: Sequence[int]) -> dict[int, Place]:
        """What is known of patches, by id."""
        return self._catalog.places(patches)

    def thumbnails(self, patches: Sequence[int]) -> dict[int, bytes]:
        """The small JPEGs of patches, by id."""
        return self._catalog.thumbnails(patches)

    def sightings(self, patch: int) -> list[Place]:
        """The patches of its track by source and time. Raises InputError for an unknown id."""
        patches = self._catalog.same_track(patch)
        if not patches:
            raise no_patch(self.name, patch)
        places = self._catalog.places(patches)
        return [places[key] for key in patches]

    def vectors_of(self, patches: Sequence[int]) -> Embeddings:
        """The vectors of patches, float32 (N, D). Raises InputError for an unknown id."""
        wanted = np.asarray(patches, np.int64)
        vectors = np.empty((len(wanted), self.card.dim), np.float32)
        missing = np.ones(len(wanted), np.bool_)
        for segment, mask in zip(self._segments, self._allowed(ANY), strict=True):
            rows, inside = _rows_of(segment, wanted)
            if mask is not None:
                inside &= mask[rows]
            vectors[inside] = segment.vectors[rows[inside]]
            missing &= ~inside
        if missing.any():
            raise no_patch(self.name, int(wanted[missing][0]))
        return vectors

    def _open(self, segment: Segment, device: str) -> OpenSegment:
        return open_segment(self._catalog.index / SEGMENTS, segment, self.card.dim, device)

    def _allowed(self, only: Filter) -> list[NDArray[np.bool_] | None]:
        """For each segment the rows that may be found; None for all of them."""
        if only not in self._masks:
            self._masks.clear()  # one filter at a time: each takes a byte a row
            self._masks[only] = [self._mask(segment, only) for segment in self._segments]
        return self._masks[only]

    def _mask(self, segment: OpenSegment, only: Filter) -> NDArray[np.bool_] | None:
        if not only.is_empty:
            mask = np.zeros(len(segment.rows), np.bool_)
            rows, inside = _rows_of(segment, self._catalog.allowed(only))
            mask[rows[inside]] = True
            return mask
        rows, inside = _rows_of(segment, self._catalog.tombstones())
        if not inside.any():
            return None
        mask = np.ones(len(segment.rows), np.bool_)
        mask[rows[inside]] = False
        return mask


def _rows_of(
    segment: OpenSegment, patches: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The row of each patch, and whether it is in the segment; ids ascend within one."""
    ids = segment.rows[:, 0]
    rows = np.searchsorted(ids, patches)
    rows[rows == len(ids)] = 0
    return rows, ids[rows] == patches


def _found(segment: OpenSegment, scores: NDArray[np.float32], rows: NDArray[np.int64]) -> Nearest:
    known = segment.rows[rows]
    known[rows < 0] = (-1, 0)
    return Nearest(scores, known[..., 0], known[..., 1])


def _best(parts: Sequence[Nearest], queries: int, count: int) -> Nearest:
    """The best `count` of all parts; at equal scores in the order of the segments."""
    if not parts:
        empty = np.empty((queries, 0))
        return Nearest(empty.astype(np.float32), empty.astype(np.int64), empty.astype(np.int64))
    scores = np.concatenate([part.scores for part in parts], axis=1)
    patches = np.concatenate([part.patches for part in parts], axis=1)
    things = np.concatenate([part.things for part in parts], axis=1)
    falling = np.where(patches < 0, np.inf, -scores)
    order = np.argsort(falling, axis=1, kind="stable")[:, :count]
    rows = np.arange(queries)[:, None]
    return Nearest(scores[rows, order], patches[rows, order], things[rows, order])


def open_folder(index: Path, device: str = "cpu", *, allow_partial: bool = False) -> FolderStore:
    """Open an index in a folder.

    allow_partial: leave damaged segments out and say so in `left_out`. Raises InputError
    where there is no index, MismatchError naming the file where it is damaged or of another
    version, MissingError where FAISS or the GPU is not there.
    """
    for _ in range(_TRIES):
        catalog = CatalogReader(index)
        try:
            return FolderStore(catalog, device)
        except MismatchError:
            # A merge that ended just now has deleted what the snapshot names; what is damaged
            # is so in the newest snapshot too.
            if _still_named(index, catalog):
                break
    return FolderStore(CatalogReader(index), device, allow_partial=allow_partial)


def _still_named(index: Path, catalog: CatalogReader) -> bool:
    """Whether the newest snapshot names the same segments."""
    newest = CatalogReader(index)
    try:
        return [s.stem for s in newest.segments] == [s.stem for s in catalog.segments]
    finally:
        newest.close()
