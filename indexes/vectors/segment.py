"""An open segment: search by row, exact or approximate, over mapped files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexes.catalog.schema import damaged
from indexes.records import Segment
from indexes.vectors.allowed import Allowed
from indexes.vectors.base import Base, open_base
from indexes.vectors.effort import AT, Effort, widen
from indexes.vectors.exact import NONE, Found, search_exact
from indexes.vectors.files import FLAT, ROWS, base_suffix, open_flat, open_rows
from indexes.vectors.load import threads_for
from toolkit.embedding import Embeddings, chunks

if TYPE_CHECKING:
    from indexes.vectors.gpu import GpuBase, GpuFlat

USUAL = "usual_cosine"
_FILTERED = 0.9  # of all rows; where more are allowed, next to nothing was taken away
_FAR, _FAR_COUNT = 1.5, 16 * AT  # so much farther than usual, and how hard is looked then
_QUERIES = 1024  # searched at once, so that thousands take no more memory


class OpenSegment:
    """A segment to search. Many threads may share one.

    vectors: float32 (N, D), if mapped then not aligned, so copy what is multiplied; rows: int64
    (N, 2), the patch id and the thing id of each.
    """

    def __init__(
        self, segment: Segment, flat: Any, vectors: Embeddings, rows: NDArray[np.int64]
    ) -> None:
        self.segment = segment
        self.vectors = vectors
        self.rows = rows
        self.base: Base | GpuBase | None = None
        self.gpu_flat: GpuFlat | None = None
        self.effort = Effort()
        self.usual_cosine = -1.0  # that nearly all vectors have with their tenth nearest
        self._flat = flat
        self._last: Allowed | None = None

    def __len__(self) -> int:
        return self.segment.vectors

    @property
    def flat(self) -> Any:
        """The exact vectors as FAISS has them."""
        return self._flat

    def search(
        self,
        queries: Embeddings,
        count: int,
        allowed: NDArray[np.bool_] | None = None,
        sure: int | None = None,
    ) -> Found:
        """The `count` rows of highest cosine with each of the queries (Q, D) of length 1.

        allowed: bool (N,), the rows that may be found, None for all; an array that is given
        again must not have changed. sure: how many of the `count`, from the best, are sought
        as surely as the recall says, the others as far as they turn up; None for all. Gives
        scores float32 (Q, count), exact and falling, and rows int64 (Q, count), -1 with the
        score -inf where there are no more. As many are found as there are: where an
        approximate search comes back with fewer, every allowed row is looked at.
        """
        if queries.ndim != 2 or queries.shape[1] != self.vectors.shape[1] or count < 1:
            raise ValueError(f"{count} neighbours of {queries.shape} in {self.vectors.shape}")
        block = np.ascontiguousarray(queries, np.float32)
        among = self._among(allowed)
        if len(block) <= _QUERIES:
            return self._search(block, count, among, sure)
        parts = [self._search(block[p], count, among, sure) for p in chunks(len(block), _QUERIES)]
        scores, rows = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(rows)

    def close(self) -> None:
        """Give the files up."""
        for part in (self.base, self.gpu_flat):
            if part is not None:
                part.close()
        self.base = self.gpu_flat = self._flat = self._last = None

    def _among(self, mask: NDArray[np.bool_] | None) -> Allowed | None:
        if mask is None:
            return None
        last = self._last
        if last is None or last.mask is not mask:
            last = self._last = Allowed(mask)
        return None if last.is_all else last

    def _search(
        self, queries: Embeddings, count: int, allowed: Allowed | None, sure: int | None
    ) -> Found:
        with threads_for(len(queries)):
            effort = None
            if self.base is not None:
                possible = None if allowed is None else allowed.count
                effort = widen(self.effort, self.base.extent, count, possible, sure)
            if self.base is None or effort is None:
                return self._search_exact(queries, count, allowed)
            scores, rows = self.base.search(queries, count, effort, allowed)
            self._mend(queries, allowed, scores, rows)
            return scores, rows

    def _search_exact(self, queries: Embeddings, count: int, allowed: Allowed | None) -> Found:
        if self.gpu_flat is not None and allowed is None:
            found = self.gpu_flat.search(queries, count)
            if found is not None:
                return found
        return search_exact(self._flat, self.vectors, queries, count, allowed)

    def _mend(
        self,
        queries: Embeddings,
        allowed: Allowed | None,
        scores: NDArray[np.float32],
        rows: NDArray[np.int64],
    ) -> None:
        """Search once more, in place, where an approximate search is not to be trusted.

        That is where fewer rows came back than there are, and where a query has not the
        neighbours that are usual in this index: the recall that was measured is of queries that
        have them. A filter can take them away, and then every allowed row is looked at; a query
        that looks like nothing in the index has none, and many cells are as near to it.
        """
        count = rows.shape[1]
        possible = min(count, len(self) if allowed is None else allowed.count)
        is_filtered = allowed is not None and allowed.count < _FILTERED * len(self)
        floor = 1 - (1 if is_filtered else _FAR) * (1 - self.usual_cosine)
        # Nearly always there is nothing to do. NumPy would see it later than a list of one.
        if min(scores[:, possible - 1].tolist(), default=floor) >= floor:
            return
        doubtful = rows[:, possible - 1] == NONE
        far = scores[:, min(possible, AT) - 1] < floor
        if is_filtered:
            doubtful |= far
        else:
            self._look_harder(queries, allowed, (scores, rows), np.flatnonzero(far & ~doubtful))
        if doubtful.any():
            those = np.flatnonzero(doubtful)
            again = np.ascontiguousarray(queries[those])
            exact = search_exact(self._flat, self.vectors, again, count, allowed)
            scores[those], rows[those] = exact

    def _look_harder(
        self, queries: Embeddings, allowed: Allowed | None, found: Found, those: NDArray[np.intp]
    ) -> None:
        """Find those of the queries again, in place, with far more effort."""
        if not len(those) or self.base is None:
            return
        scores, rows = found
        again, count = np.ascontiguousarray(queries[those]), rows.shape[1]
        effort = widen(self.effort, self.base.extent, max(count, _FAR_COUNT), None)
        if effort is None:
            found = search_exact(self._flat, self.vectors, again, count, allowed)
        else:
            found = self.base.search(again, count, effort, allowed)
        scores[those], rows[those] = found


def open_segment(folder: Path, segment: Segment, dim: int, device: str = "cpu") -> OpenSegment:
    """Open a segment for searching; its files are mapped.

    Sizes, header and shapes are checked, and the hash of what FAISS parses; `verify_segment`
    checks all hashes. Raises MismatchError naming the file that is damaged, MissingError
    where FAISS is not installed or the device is not there.
    """
    path = folder / (segment.stem + FLAT)
    for suffix in (FLAT, ROWS):
        if suffix not in segment.files:
            raise damaged(folder / (segment.stem + suffix), "the catalog does not name it")
    flat, vectors = open_flat(path, segment, dim)
    opened = OpenSegment(segment, flat, vectors, open_rows(folder / (segment.stem + ROWS), segment))
    _open_base(opened, folder, flat)
    if device == "cuda":
        from indexes.vectors.gpu import to_gpu

        to_gpu(opened)
    return opened


def _open_base(opened: OpenSegment, folder: Path, flat: Any) -> None:
    segment = opened.segment
    suffix = base_suffix(segment.files)
    if suffix is None:
        return
    path = folder / (segment.stem + suffix)
    opened.base = open_base(path, segment.files[suffix], flat)
    try:
        opened.effort = Effort.from_settings(segment.settings)
        opened.usual_cosine = float(segment.settings.get(USUAL, -1.0))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise damaged(path, f"the catalog has wrong settings for it ({error!r})") from error
