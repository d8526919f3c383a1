"""FAISS's factory keys, written and read without FAISS."""

import math
import re
from dataclasses import dataclass

from indexes.plan.costs import FLOAT_BYTES, ID_BYTES, cells_for
from toolkit.errors import UsageError

_SUB_NUMBERS = 4  # numbers of a vector behind one byte of its code
_MOST_CODES = 64
_FEW_NUMBERS = 16  # shorter vectors are cut to a byte a number: sub-codes of them are too coarse
_GRAPH_OF_CELLS = 8192  # from here on the nearest cells are found by a graph of their own
GRAPH_LINKS = 16

_SCALAR_BITS = {"SQ8": 8, "SQ6": 6, "SQ4": 4, "SQfp16": 16, "SQbf16": 16}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a key says of an index: its kind, cells, bytes of a code, links, inner numbers.

    cells, code_bytes and links are 0 where the kind has none; dim: numbers of a vector after
    the rotation before it.
    """

    kind: str
    key: str
    dim: int
    cells: int = 0
    code_bytes: float = 0.0
    links: int = 0
    cells_graph: bool = False

    def memory_bytes(self, vectors: int) -> int:
        """What searching holds, beside the mapped vectors."""
        if self.kind == "flat":
            return vectors * self.dim * FLOAT_BYTES
        cells = self.cells * (self.dim * FLOAT_BYTES + (4 * 2 * 32 if self.cells_graph else 0))
        kept = vectors * (self.code_bytes + (ID_BYTES if self.cells else 0))
        # A graph has twice the links on its ground floor; a level and an offset a vector too.
        graph = vectors * (2 * self.links * 4 + 12) * 1.05 if self.links else 0
        codes = 256 * self.dim * FLOAT_BYTES
        return math.ceil(kept + cells + graph + codes)


def flat_shape(dim: int) -> Shape:
    """All vectors, looked at one after the other."""
    return Shape("flat", "Flat", dim)


def graph_shape(dim: int) -> Shape:
    """A graph over the exact vectors."""
    return Shape("hnsw", f"HNSW{GRAPH_LINKS}", dim, links=GRAPH_LINKS)


def cells_shape(vectors: int, dim: int) -> Shape:
    """Cells of exact vectors."""
    return _in_cells(vectors, dim, "ivf-flat", "Flat", dim * FLOAT_BYTES)


def codes_shape(vectors: int, dim: int) -> Shape:
    """Cells of codes, after a rotation that fits the vectors to them."""
    if dim < _FEW_NUMBERS:
        return _in_cells(vectors, dim, "ivf-sq", "SQ8", dim)
    codes = min(dim // _SUB_NUMBERS, _MOST_CODES)
    inner = codes * _SUB_NUMBERS
    shape = _in_cells(vectors, inner, "ivf-pq", f"PQ{codes}np", codes)
    key = f"OPQ{codes}_{inner},{shape.key}"
    return Shape("ivf-pq", key, inner, shape.cells, codes, 0, shape.cells_graph)


def _in_cells(vectors: int, dim: int, kind: str, code: str, code_bytes: float) -> Shape:
    cells = cells_for(vectors)
    graph = cells >= _GRAPH_OF_CELLS
    key = f"IVF{cells}{'_HNSW32' if graph else ''},{code}"
    return Shape(kind, key, dim, cells, code_bytes, 0, graph)


def read_shape(key: str, dim: int) -> Shape:
    """What a user's key means, as far as costs go; FAISS judges it when it is built.

    Raises UsageError for a key that is none of a flat, HNSW or inverted index.
    """
    *before, last = key.split(",")
    if key == "Flat":
        return flat_shape(dim)
    rotation = re.match(r"(?:OPQ\d+_|PCA[RW]*|RR|ITQ)(\d+)", key)
    inner = int(rotation[1]) if rotation else dim
    if graph := re.fullmatch(r"(?:[^,]+,)?HNSW(\d+)(?:_(\w+)|,Flat)?", key):
        code = 0.0 if graph[2] in (None, "Flat") and not rotation else _code_bytes(graph[2], inner)
        return Shape("hnsw", key, inner, code_bytes=code, links=int(graph[1]))
    cells = re.search(r"(?:^|,)IVF(\d+)(_HNSW\d*)?$", ",".join(before))
    if cells is None:
        raise UsageError(
            f"The index key {key!r} is none that vr can use.",
            mend="Give a key such as Flat, HNSW32, IVF1024,Flat or OPQ32_128,IVF2048,PQ32np.",
        )
    kind = "ivf-flat" if last == "Flat" and not rotation else "ivf-pq"
    kind = "ivf-sq" if last.startswith("SQ") else kind
    return Shape(
        kind, key, inner, int(cells[1]), _code_bytes(last, inner), cells_graph=bool(cells[2])
    )


def _code_bytes(code: str | None, dim: int) -> float:
    if code in (None, "Flat"):
        return dim * FLOAT_BYTES
    if code in _SCALAR_BITS:
        return dim * _SCALAR_BITS[code] / 8
    if product := re.match(r"PQ(\d+)(?:x(\d+))?", code):
        return int(product[1]) * int(product[2] or 8) / 8
    return dim  # of another kind: a byte a number is a guess
