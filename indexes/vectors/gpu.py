"""Segments on an NVIDIA GPU: searched and filled there, within a stated part of its memory.

Written against FAISS's documentation; what has run on a GPU stands in docs/gpu.md. The GPU
searches what it is right about and nothing else:

- exact vectors, and inverted files of exact vectors or of product codes (through cuVS where
  this FAISS has it). A graph has no GPU form here: its exact vectors are searched instead;
- where only some rows are allowed (a filter, or patches that were removed), the segment on
  the processor is searched: classic GPU indexes ignore selectors without a word;
- likewise where more neighbours or cells are asked for than a GPU index takes.

What does not fit into the memory is refused.
"""

from functools import cache
from typing import Any

from indexes.vectors.allowed import Allowed
from indexes.vectors.base import Base
from indexes.vectors.effort import Effort, Extent
from indexes.vectors.exact import Found, padded
from indexes.vectors.keys import core_of
from indexes.vectors.load import load_faiss
from indexes.vectors.segment import OpenSegment
from indexes.vectors.train import OnProgress, fill
from toolkit.embedding import Embeddings
from toolkit.errors import MissingError, UsageError
from toolkit.machine.cuda import list_gpus

MEMORY_SHARE = 0.8  # of the GPU's memory, for all segments of this process together
TEMPORARY_BYTES = 512 << 20  # that FAISS works in, of that share
MOST_NEIGHBOURS = 2048  # of a GPU index, and as many cells

_DEVICE = 0


class GpuRoom:
    """The memory that segments may take on the GPU, and FAISS's resources there."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.taken_bytes = 0
        self.resources = load_faiss().StandardGpuResources()
        self.resources.setTempMemory(TEMPORARY_BYTES)

    def take(self, size_bytes: int, what: str) -> None:
        """Reserve room. Raises MissingError where there is too little."""
        free = self.limit_bytes - TEMPORARY_BYTES - self.taken_bytes
        if size_bytes > free:
            raise MissingError(
                f"{what} takes {size_bytes >> 20} MiB on the GPU; {max(free, 0) >> 20} MiB of "
                f"{self.limit_bytes >> 20} MiB are free.",
                mend="Use --device cpu, or build a smaller index: --memory.",
            )
        self.taken_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        """Give room back."""
        self.taken_bytes -= size_bytes

    def move(self, index: Any, size_bytes: int, what: str) -> Any:
        """A copy of an index on the GPU, for which so much room is taken.

        Raises MissingError where there is too little, UsageError for a kind that has no form
        there.
        """
        faiss = load_faiss()
        self.take(size_bytes, what)
        options = faiss.GpuClonerOptions()
        options.indicesOptions = faiss.INDICES_64_BIT
        try:
            return faiss.index_cpu_to_gpu(self.resources, _DEVICE, index, options)
        except RuntimeError as error:  # what FAISS throws in C++
            self.give(size_bytes)
            raise UsageError(
                f"FAISS cannot move this index to the GPU: {error}.",
                mend="Use --device cpu, or build with --index-key IVF2048,PQ32np.",
            ) from error


@cache
def gpu_room() -> GpuRoom:
    """The one room of this process. Raises MissingError where FAISS has no GPU."""
    faiss = load_faiss()
    built = hasattr(faiss, "StandardGpuResources")
    gpus = list_gpus() if built and faiss.get_num_gpus() else []
    if not gpus:
        why = "finds no NVIDIA GPU" if built else "is built for the CPU alone"
        raise MissingError(
            f"--device cuda cannot be had: this FAISS ({faiss.__version__}) {why}.",
            mend="Use --device cpu, or a machine with an NVIDIA GPU, its driver and the extra "
            "gpu: pip install 'vr-toolkit[gpu]'.",
        )
    return GpuRoom(int(gpus[_DEVICE].memory_bytes * MEMORY_SHARE))


def resolve_device(asked: str) -> str:
    """Where FAISS computes, cpu or cuda, for what was asked: auto, cpu or cuda.

    Raises MissingError where CUDA is asked for and cannot be had.
    """
    if asked == "auto":
        faiss = load_faiss()
        return "cuda" if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() else "cpu"
    if asked == "cuda":
        gpu_room()
    return asked


class GpuFlat:
    """The exact vectors of a segment on the GPU, beside those on the disk."""

    def __init__(self, flat: Any, size_bytes: int) -> None:
        self._room = gpu_room()
        self._size_bytes = size_bytes
        self._index = self._room.move(flat, size_bytes, "A segment of exact vectors")

    def search(self, queries: Embeddings, count: int) -> Found | None:
        """The nearest of all rows; None where so many are not to be had from a GPU."""
        if count > MOST_NEIGHBOURS:
            return None
        scores, rows = self._index.search(queries, min(count, int(self._index.ntotal)))
        return padded(scores, rows, count)

    def close(self) -> None:
        """Give the memory back."""
        self._index = None
        self._room.give(self._size_bytes)


class GpuBase:
    """An inverted file on the GPU, the same one on the processor, and the exact vectors."""

    def __init__(self, base: Base, flat: Any, size_bytes: int) -> None:
        self._room = gpu_room()
        self._size_bytes = size_bytes
        self._base = base
        self._index = self._room.move(base.index, size_bytes, "A segment")
        self._refined = load_faiss().IndexRefine(self._index, flat) if base.refines else self._index

    @property
    def extent(self) -> Extent:
        """How large it is."""
        return self._base.extent

    def search(
        self, queries: Embeddings, count: int, effort: Effort, allowed: Allowed | None = None
    ) -> Found:
        """As `Base.search`; by the processor where the GPU would not be right."""
        most = max(count, effort.rerank, effort.nprobe)
        if allowed is not None or most > MOST_NEIGHBOURS:
            return self._base.search(queries, count, effort, allowed)
        parameters = self._base.parameters(effort, count, None)
        scores, rows = self._refined.search(queries, count, params=parameters)
        return padded(scores, rows, count)

    def close(self) -> None:
        """Give the memory back."""
        self._index = self._refined = None
        self._room.give(self._size_bytes)


def to_gpu(opened: OpenSegment) -> None:
    """Put a segment on the GPU, in its open form. Raises MissingError, UsageError."""
    if isinstance(opened.base, Base) and not opened.base.is_graph:
        opened.base = GpuBase(opened.base, opened.flat, opened.base.size_bytes)
    else:
        opened.base = None
        opened.gpu_flat = GpuFlat(opened.flat, opened.vectors.nbytes)


def fill_on_gpu(index: Any, vectors: Embeddings, first: int, on_progress: OnProgress) -> Any:
    """As `train.fill`, on the GPU; the filled index, in ordinary memory again.

    Raises MissingError where there is no GPU or too little room, or for a graph without
    cuVS, UsageError for what has no form there.
    """
    room, faiss = gpu_room(), load_faiss()
    core = core_of(index)
    if isinstance(core, faiss.IndexHNSW):
        return _graph_by_cagra(index, vectors, room)
    size_bytes = len(vectors) * (int(core.code_size) + 8)
    there = room.move(index, size_bytes, "The index to be built")
    try:
        fill(there, vectors, first, on_progress)
        return faiss.index_gpu_to_cpu(there)
    finally:
        room.give(size_bytes)


def _graph_by_cagra(index: Any, vectors: Embeddings, room: GpuRoom) -> Any:
    """A graph made by cuVS's CAGRA, in the form that HNSW's search walks through."""
    faiss = load_faiss()
    if not hasattr(faiss, "GpuIndexCagra") or type(core_of(index)) is not faiss.IndexHNSWFlat:
        raise MissingError(
            "Only graphs over exact vectors can be built on a GPU, and only by cuVS.",
            mend="Use --device cpu, or install the extra gpu: pip install 'vr-toolkit[gpu]'.",
        )
    links = int(index.hnsw.nb_neighbors(0)) // 2
    size_bytes = vectors.nbytes + len(vectors) * links * 8
    room.take(size_bytes, "The graph to be built")
    try:
        settings = faiss.GpuIndexCagraConfig()
        settings.graph_degree, settings.intermediate_graph_degree = 2 * links, 4 * links
        metric = faiss.METRIC_INNER_PRODUCT
        graph = faiss.GpuIndexCagra(room.resources, vectors.shape[1], metric, settings)
        graph.train(vectors)
        made = faiss.IndexHNSWCagra(vectors.shape[1], links, metric)
        made.base_level_only = True  # a graph of one floor; searches start at random places
        graph.copyTo(made)
        return made
    finally:
        room.give(size_bytes)
