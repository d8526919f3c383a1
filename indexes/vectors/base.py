"""An approximate index over the exact vectors of a segment.

Whatever it is, its answers are the exact cosines: HNSW walks over the mapped vectors
themselves, an inverted file of exact vectors has them, and what is compressed only names
candidates, whose cosines are worked out from the mapped vectors.
"""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from indexes.catalog.schema import damaged
from indexes.records import FileMark
from indexes.vectors.allowed import Allowed
from indexes.vectors.effort import Effort, Extent
from indexes.vectors.exact import Found, padded
from indexes.vectors.files import map_file, mark_of, read_mapped
from indexes.vectors.keys import core_of, transforms_of
from indexes.vectors.load import load_faiss
from toolkit.embedding import Embeddings


class Base:
    """An open approximate index with the exact vectors behind it."""

    def __init__(self, index: Any, content: NDArray[np.uint8], flat: Any) -> None:
        """index: the FAISS index in the mapped `content`; flat: that of the exact vectors."""
        faiss = load_faiss()
        self._content = content
        self.index = index
        self._core = core_of(index)
        self._flat = flat
        self.is_graph = isinstance(self._core, faiss.IndexHNSW)
        self.cells = 0 if self.is_graph else int(self._core.nlist)
        self.code_bytes = 0 if self.is_graph else int(self._core.code_size)
        self._is_transformed = bool(transforms_of(index))
        stores_exact = isinstance(self._core, faiss.IndexIVFFlat) or is_exact_graph(self._core)
        self.refines = not stores_exact or self._is_transformed
        self.size_bytes = content.nbytes
        self._refined = faiss.IndexRefine(index, flat) if self.refines else index
        self.extent = Extent(int(index.ntotal), int(index.d), self.cells)
        self._last: tuple[tuple[Effort, int, Allowed | None], Any] | None = None

    def __len__(self) -> int:
        return self.extent.vectors

    def search(
        self, queries: Embeddings, count: int, effort: Effort, allowed: Allowed | None = None
    ) -> Found:
        """The rows it finds, best first, scores exact; -1 and -inf where it found no more."""
        parameters = self.parameters(effort, count, allowed)
        scores, rows = self._refined.search(queries, count, params=parameters)
        return padded(scores, rows, count)

    def copy(self) -> Any:
        """The FAISS index once more, in memory of its own: what is mapped cannot grow."""
        return load_faiss().deserialize_index(self._content)

    def close(self) -> None:
        """Nothing is held beyond the mapped file."""

    def candidates(self, queries: Embeddings, depth: int, effort: Effort) -> NDArray[np.int64]:
        """The rows that would be looked at closely, in the order of the index itself."""
        parameters = self._base_parameters(effort, None)
        return np.asarray(self.index.search(queries, depth, params=parameters)[1])

    def parameters(self, effort: Effort, count: int, allowed: Allowed | None) -> Any:
        """How FAISS is told all this.

        The last are kept: making them takes as long as a good part of a search. They keep the
        allowed rows alive, which FAISS reads.
        """
        key, last = (effort, count, allowed), self._last
        if last is None or last[0] != key:
            last = self._last = (key, self._made(effort, count, allowed))
        return last[1]

    def _made(self, effort: Effort, count: int, allowed: Allowed | None) -> Any:
        inner = self._base_parameters(effort, allowed.selector if allowed else None)
        if not self.refines:
            return inner
        # FAISS cuts the product to a whole number, so half a candidate more is asked for.
        factor = max((effort.rerank + 0.5) / count, 1.0)
        return load_faiss().IndexRefineSearchParameters(k_factor=factor, base_index_params=inner)

    def _base_parameters(self, effort: Effort, selector: Any) -> Any:
        faiss = load_faiss()
        chosen = {"sel": selector} if selector is not None else {}
        if self.is_graph:
            inner = faiss.SearchParametersHNSW(efSearch=max(effort.ef_search, 1), **chosen)
        else:
            inner = self._inverted_parameters(effort, chosen)
        if not self._is_transformed:
            return inner
        return faiss.SearchParametersPreTransform(index_params=inner)

    def _inverted_parameters(self, effort: Effort, chosen: dict[str, Any]) -> Any:
        faiss = load_faiss()
        nprobe = min(max(effort.nprobe, 1), self.cells)
        if isinstance(faiss.downcast_index(self._core.quantizer), faiss.IndexHNSW):
            # The cells themselves are found by a graph, which has to look beyond those it gives.
            chosen["quantizer_params"] = faiss.SearchParametersHNSW(efSearch=2 * nprobe + 16)
        kind = (
            faiss.IVFPQSearchParameters
            if isinstance(self._core, faiss.IndexIVFPQ)
            else faiss.SearchParametersIVF
        )
        return kind(nprobe=nprobe, **chosen)


def is_exact_graph(index: Any) -> bool:
    """True for a graph over exact vectors, be they in it or still to be put behind it."""
    faiss = load_faiss()
    if not isinstance(index, faiss.IndexHNSW):
        return False
    storage = faiss.downcast_index(index.storage)
    return storage is None or isinstance(storage, faiss.IndexFlat)


def write_base(index: Any, path: Path) -> None:
    """Write an approximate index; of a graph over exact vectors the graph alone."""
    faiss = load_faiss()
    flags = faiss.IO_FLAG_SKIP_STORAGE if is_exact_graph(faiss.downcast_index(index)) else 0
    with path.open("wb") as stream:
        sink = _Sink(stream)
        try:
            faiss.write_index(index, faiss.PyCallbackIOWriter(sink.write), flags)
        except RuntimeError:
            if sink.error is not None:
                raise sink.error from None
            raise


class _Sink:
    """Takes what FAISS writes; keeps the error that FAISS would turn into one of its own."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            return self._stream.write(content)
        except OSError as error:
            self.error = error
            return 0


def open_base(path: Path, mark: FileMark, flat: Any) -> Base:
    """Open the approximate index of the vectors in `flat`. Raises MismatchError.

    Its hash is checked first: FAISS trusts what it parses.
    """
    content = map_file(path, mark)
    if mark_of(path) != mark:
        raise damaged(path, "its bytes are not those that were written")
    return base_of(content, path, flat)


def base_of(content: NDArray[np.uint8], path: Path, flat: Any) -> Base:
    """A Base of bytes that are known to be good."""
    faiss = load_faiss()
    try:
        index = read_mapped(content)
        core = core_of(index)
    except Exception as error:  # FAISS raises what its C++ throws, of several types
        raise damaged(path, f"FAISS cannot read it ({error})") from error
    if isinstance(core, faiss.IndexHNSW) and core.storage is None:
        core.storage, core.own_fields = flat, False  # Base keeps it alive
    if (index.ntotal, index.d) != (flat.ntotal, flat.d) or index.metric_type != flat.metric_type:
        raise damaged(path, f"it is of {index.ntotal} vectors of {index.d} numbers")
    return Base(index, content, flat)
