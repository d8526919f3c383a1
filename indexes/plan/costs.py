"""What the kinds of index cost: bytes, seconds to build, time of a query.

The constants of bytes follow from FAISS's file format. Those of time were measured on an AMD
EPYC with AVX-512 (two cores in use by others too, 2026-11), FAISS 1.15.1, on clustered unit
vectors of 128 numbers, hot; another machine differs by some factor, which moves all kinds
alike. benchmarks/indexing.py measures what they predict.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexes.plan.keys import Shape

FLOAT_BYTES = 4
ID_BYTES = 8  # an inverted list keeps the row number of each of its vectors
ROW_BYTES = 16  # patch id and thing id, in the file of rows

_QUERY_NS = 20_000.0  # what any query takes, in FAISS and around it
_SCAN_NS_A_NUMBER = 0.25  # exact vectors one after the other, one core: bound by the memory
_GPU_SCAN_NS_A_NUMBER = 0.004  # 1 TB/s, which GPUs of today have at least; not measured
_CODE_NS_A_BYTE = 0.55  # product codes: one look into a table a byte
_TABLE_NS_A_NUMBER = 128.0  # the tables of a query, 256 entries a sub-code
_CANDIDATE_NS_A_NUMBER = 2.0  # exact cosine of a candidate: a place far off in memory
_PLACE_NS_A_NUMBER = 12.0  # HNSW: a place of ef_search with all its links looked at

_MULTIPLY_NS = 0.025  # a multiplication and addition in a large product, one core
_ENCODE_NS_A_NUMBER = 38.0  # a number of a vector against the 256 centroids of its sub-code
_LINK_NS_A_NUMBER = 900.0  # HNSW: a vector put into a graph of 16 links, one core
_CODE_TRAINING_S = 0.15  # a sub-code, and its part of the rotation, in one thread
_QUESTIONS = 512  # whose answers are looked up exactly, to tune and to measure

# What recall 0.95 takes, for an estimate; what it really takes is measured after the build.
_PLACES, _PROBED_OF_ROOT, _CANDIDATES = 64, 0.5, 100

TRAINED_A_CELL, TRAINING_ROUNDS = 40, 10  # k-means of the cells
_PIECE_BYTES = 128 << 20  # vectors on their way, and answers to test questions


def flat_ns(vectors: int, dim: int, *, on_gpu: bool = False) -> float:
    """A query that looks at every vector."""
    return _QUERY_NS + vectors * dim * (_GPU_SCAN_NS_A_NUMBER if on_gpu else _SCAN_NS_A_NUMBER)


def cell_ns(vectors: float, code_bytes: float, *, exact: bool) -> float:
    """Looking through so many vectors of cells, exact ones or codes."""
    a_byte = _SCAN_NS_A_NUMBER / FLOAT_BYTES if exact else _CODE_NS_A_BYTE
    return vectors * code_bytes * a_byte


def candidate_ns(dim: int) -> float:
    """The exact cosine of one candidate."""
    return dim * _CANDIDATE_NS_A_NUMBER


def graph_ns(places: float, dim: int) -> float:
    """A walk through a graph that keeps so many places open."""
    return places * dim * _PLACE_NS_A_NUMBER


def cells_for(vectors: int) -> int:
    """Cells of an inverted file: about twice the root, as a power of two."""
    return 1 << max(round(math.log2(2 * math.sqrt(max(vectors, 1)))), 2)


def query_ns(shape: "Shape", vectors: int, dim: int, recall: float) -> float:
    """One query at a recall, on one core, with the files in memory."""
    if shape.kind == "flat":
        return flat_ns(vectors, dim)
    # The last few of the nearest are the dearest: twice as sure is about twice the work.
    harder = (1 - 0.95) / max(1 - recall, 1e-4)
    if shape.kind == "hnsw":
        longer = max(math.log10(max(vectors, 1)) / 5, 1)  # measured with 100,000
        return _QUERY_NS + longer * graph_ns(_PLACES * max(math.sqrt(harder), 0.5), dim)
    exact = shape.kind == "ivf-flat"
    probed = min(max(_PROBED_OF_ROOT * math.sqrt(shape.cells) * harder, 1), shape.cells)
    looked = _cells_looked_at(shape) * shape.dim * _SCAN_NS_A_NUMBER
    walked = cell_ns(probed / shape.cells * vectors, shape.code_bytes, exact=exact)
    if exact:
        return _QUERY_NS + looked + walked
    candidates = _CANDIDATES * max(math.sqrt(harder), 0.5)
    tables = shape.dim * _TABLE_NS_A_NUMBER
    return _QUERY_NS + looked + tables + walked + candidates * candidate_ns(dim)


def build_s(shape: "Shape", vectors: int, dim: int, threads: int) -> float:
    """Training, filling and measuring, from vectors that lie on the disk."""
    if shape.kind == "flat":
        return 0.0
    asked = _QUESTIONS * vectors * dim * _MULTIPLY_NS
    if shape.kind == "hnsw":
        return (vectors * dim * _LINK_NS_A_NUMBER * shape.links / 16 + asked) / threads / 1e9
    trained = min(vectors, TRAINED_A_CELL * shape.cells)
    products = float(TRAINING_ROUNDS * trained * shape.cells * shape.dim)
    products += vectors * (_cells_looked_at(shape) + dim) * shape.dim
    is_product = shape.kind == "ivf-pq"
    coded = vectors * shape.dim * _ENCODE_NS_A_NUMBER if is_product else 0.0
    alone_s = _CODE_TRAINING_S * shape.code_bytes if is_product else 0.0
    return alone_s + (products * _MULTIPLY_NS + coded + asked) / threads / 1e9


def peak_bytes(shape: "Shape", vectors: int, dim: int) -> int:
    """What building holds at most, beside what FAISS itself needs to be loaded."""
    if shape.kind == "flat":
        return _PIECE_BYTES
    sample = min(vectors, TRAINED_A_CELL * shape.cells) * dim * FLOAT_BYTES * 2
    held = shape.memory_bytes(vectors) * (1.5 if shape.cells else 1)  # lists grow by doubling
    stored = vectors * dim * FLOAT_BYTES if shape.kind == "hnsw" else 0
    return math.ceil(max(sample, held + stored) + _PIECE_BYTES)


def _cells_looked_at(shape: "Shape") -> float:
    """Centroids that a vector is compared with to find its cell; a graph of them saves most."""
    return min(64 * math.sqrt(shape.cells), shape.cells) if shape.cells_graph else shape.cells
