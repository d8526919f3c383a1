"""Exact vectors, written as they come: memory holds none of them."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from indexes.records import Segment
from indexes.vectors.checks import check_vectors
from indexes.vectors.files import FLAT, HEADER_BYTES, ROWS, flat_header, mark_files
from toolkit.drafts import close_draft, new_draft, sweep
from toolkit.embedding import Embeddings
from toolkit.workspace import atomic_file, storage_errors

KIND, KEY = "flat", "Flat"
# Drafts of these are hidden; those that a kill left are swept by the next writer.
_FLAT_DRAFT, _ROWS_DRAFT = "new" + FLAT, "new" + ROWS


class FlatWriter:
    """Takes vectors one block after the other and makes a segment of them.

    Nothing of it has its name before `finish`. Raises StorageError where the folder cannot
    be written; then `discard` it.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        """Begin a segment of vectors of `dim` numbers in the folder, made where needed."""
        self.folder = folder
        self.dim = dim
        self.rows = 0
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name in (_FLAT_DRAFT, _ROWS_DRAFT):
                sweep(folder / name)
            self._draft = new_draft(folder / _FLAT_DRAFT)
            self._stream = self._draft.open("r+b", buffering=0)
            try:
                self._write(flat_header(0, dim))
            except BaseException:
                self.discard()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.discard()

    def append(self, vectors: Embeddings) -> None:
        """Add rows (N, dim), all of them or none.

        Raises StorageError; InputError or MismatchError for rows that are no unit vectors
        of `dim` numbers (`check_vectors`).
        """
        rows = check_vectors(vectors, self.dim, self.rows)
        if not len(rows):
            return
        try:
            with storage_errors(self.folder):
                self._write(rows.astype("<f4", copy=False).data.cast("B"))
        except BaseException:
            self._cut()
            raise
        self.rows += len(rows)

    def truncate(self, rows: int) -> None:
        """Take back all but the first rows."""
        if not 0 <= rows <= self.rows:
            raise ValueError(f"{self.rows} rows cannot be cut to {rows}")
        self.rows = rows
        self._cut()

    def finish(self, rows: NDArray[np.int64]) -> Segment:
        """Make the files of the segment and end the writer.

        rows: int64 (N, 2), patch id and thing id of each vector, N > 0. Raises StorageError.
        """
        if rows.dtype != np.int64 or rows.shape != (self.rows, 2) or not self.rows:
            raise ValueError(f"{rows.dtype} {rows.shape} for {self.rows} rows of a segment")
        try:
            with storage_errors(self.folder):
                self._stream.seek(0)
                self._write(flat_header(self.rows, self.dim))
            return self._name(rows)
        finally:
            self.discard()

    def discard(self) -> None:
        """End the writer; what has not become a segment is gone. Done twice it is the same."""
        self._stream.close()
        close_draft(self._draft)

    def _name(self, rows: NDArray[np.int64]) -> Segment:
        waiting = new_draft(self.folder / _ROWS_DRAFT)
        try:
            with storage_errors(self.folder), waiting.open("wb") as stream:
                np.save(stream, rows, allow_pickle=False)
            stem, marks = mark_files(self._draft, waiting)
            for draft, suffix in ((waiting, ROWS), (self._draft, FLAT)):
                with atomic_file(self.folder / (stem + suffix)) as named:
                    draft.replace(named)
        finally:
            close_draft(waiting)
        return Segment(stem, self.rows, KIND, KEY, {}, marks)

    def _write(self, content: bytes | memoryview) -> None:
        left = memoryview(content)
        while left:
            left = left[self._stream.write(left) :]

    def _cut(self) -> None:
        # Shortening needs no room, so it works on a full disk too.
        end = HEADER_BYTES + self.rows * self.dim * 4
        os.truncate(self._stream.fileno(), end)
        self._stream.seek(end)
