"""An index in a folder, open for writing: rows in, a segment and a transaction out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.catalog.schema import FILE_NAME, SEGMENTS, no_index, version_of
from indexes.catalog.writer import Catalog, writing_catalog
from indexes.folder.files import check_target, sweep
from indexes.sources import IndexPatch, Source
from indexes.stores import NewRow
from indexes.vectors.flat import FlatWriter
from toolkit.lock import writing
from toolkit.model_card import ModelCard


class FolderSink:
    """Behind `indexes.stores.PatchSink`: rows go to the open catalog and to a draft on disk.

    Memory holds two numbers a row. Use `folder_sink`.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.folder = catalog.index / SEGMENTS
        self._draft: FlatWriter | None = None
        self._rows: list[NDArray[np.int64]] = []  # of each `add`, int64 (N, 2): id and thing
        self._count = 0  # of these rows
        self._starts: dict[int, int] = {}  # input -> its first row in the draft

    @property
    def uncommitted(self) -> int:
        """Rows since the last commit."""
        return self._count

    def is_empty(self) -> bool:
        """True where there is no patch at all."""
        return self.catalog.is_empty()

    def has_input(self, source: Source, sha256: str) -> bool:
        """True where the same bytes were read in the same way before."""
        return self.catalog.has_input(source, sha256)

    def begin_input(self, source: Source, sha256: str) -> int:
        """Note that a source is being read; its number."""
        return self.catalog.add_input(source, sha256)

    def last_input(self) -> int:
        """The number of the source that was noted last; 0 for none."""
        return self.catalog.last_input()

    def holds(self, patch: IndexPatch) -> bool:
        """True where the same sighting of the same track is there already."""
        if patch.track is None and not self.catalog.reads_again:
            return False  # most patches of a large table
        return self.catalog.holds(patch)

    def note_left_out(self, patch: IndexPatch) -> None:
        """Note that the source being read has a sighting that is there already."""
        self.catalog.note_left_out(patch)

    def add(self, rows: Sequence[NewRow]) -> None:
        """Take rows in, all or, where it raises, none of them; by rising input."""
        if not rows:
            return
        before = self._count
        vectors = np.stack([row.vector for row in rows])
        draft = self._draft = self._draft or FlatWriter(self.folder, vectors.shape[1])
        for offset, row in enumerate(rows):
            self._starts.setdefault(row.input, before + offset)
        try:
            with self.catalog.all_or_nothing():
                added = self.catalog.add_patches(rows)
                draft.append(vectors)
        except BaseException:
            draft.truncate(before)
            raise
        self._rows.append(added)
        self._count += len(added)

    def drop_inputs_after(self, number: int) -> None:
        """Take the sources noted after this one, and all rows of theirs, out again."""
        dropped = [start for key, start in self._starts.items() if key > number]
        kept = min([*dropped, self._count])
        rows = np.concatenate([*self._rows, np.empty((0, 2), np.int64)])[:kept]
        self.catalog.drop_inputs_after(number)
        self._rows, self._count = ([rows] if kept else []), kept
        self._starts = {key: start for key, start in self._starts.items() if key <= number}
        if self._draft is not None:
            self._draft.truncate(kept)

    def commit(self) -> None:
        """Write the segment, then make it and its patches visible in one transaction."""
        if self._count and self._draft is not None:
            self.catalog.add_segment(self._draft.finish(np.concatenate(self._rows)))
            self._draft = None
        self.catalog.commit()
        self._rows, self._starts, self._count = [], {}, 0
        self.catalog.begin()

    def discard(self) -> None:
        """Delete the draft, if there is one."""
        if self._draft is not None:
            self._draft.discard()
            self._draft = None


@contextmanager
def folder_sink(
    index: Path, card: ModelCard, *, overwrite: bool = False, wait_s: float = 0.0
) -> Iterator[FolderSink]:
    """Open an index in a folder for its one writer, and make it where needed.

    What was not committed at the end is gone. Raises StorageError where another process
    writes it for longer than `wait_s`, where it cannot be written, or the folder holds
    something else; MismatchError where it is of another model.
    """
    check_target(index)
    with writing(index, f"the index {index}", wait_s), writing_catalog(index) as catalog:
        catalog.begin()
        sweep(index, catalog)
        catalog.use_model(card, overwrite=overwrite)
        sink = FolderSink(catalog)
        try:
            yield sink
        finally:
            sink.discard()


@contextmanager
def editing(index: Path, wait_s: float = 0.0) -> Iterator[Catalog]:
    """The catalog of an index that is there, in a transaction, for its one writer.

    What was not committed at the end is undone. Raises InputError where there is no index,
    StorageError and MismatchError as `folder_sink`.
    """
    if not (index / FILE_NAME).is_file():
        raise no_index(index)
    with writing(index, f"the index {index}", wait_s), writing_catalog(index) as catalog:
        if version_of(catalog.connection, index / FILE_NAME) == 0:
            raise no_index(index)
        catalog.begin()
        sweep(index, catalog)
        yield catalog
