"""Vectors at rest and the search among them; the only place that knows FAISS.

A segment is an immutable FAISS file named by the start of its SHA-256. All it knows is row
numbers; what a row is stands in the catalog.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.schema import damaged
from toolkit.embedding import Embeddings
from toolkit.optional import require
from toolkit.workspace import write_bytes

KIND = "flat"
SUFFIX = ".faiss"


@dataclass(frozen=True, slots=True)
class Segment:
    """One FAISS file: its name in the folder, SHA-256 of its bytes, rows and kind."""

    file: str
    sha256: str
    vectors: int
    kind: str


@dataclass(frozen=True, slots=True)
class Match:
    """One vector found: its cosine with the query, its segment's id, its row there."""

    score: float
    segment: int
    row: int


def write_segment(folder: Path, vectors: Embeddings) -> Segment:
    """Write normalised vectors, float32 (N, D) with N > 0, as a segment. Raises StorageError."""
    faiss = require("faiss")
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(np.ascontiguousarray(vectors, np.float32))
    content = faiss.serialize_index(flat).tobytes()
    sha256 = hashlib.sha256(content).hexdigest()
    file = sha256[:16] + SUFFIX
    write_bytes(folder / file, content)
    return Segment(file, sha256, len(vectors), KIND)


def _read_segment(path: Path, segment: Segment, dim: int) -> Any:
    """Load a segment as a FAISS index. Raises MismatchError that names the file."""
    faiss = require("faiss")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise damaged(path, f"it cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != segment.sha256:
        raise damaged(path, "its bytes are not those that were written")
    loaded = faiss.deserialize_index(np.frombuffer(content, np.uint8))
    if (loaded.ntotal, loaded.d) != (segment.vectors, dim):
        expected = f"{segment.vectors} vectors of {dim} numbers"
        raise damaged(path, f"the catalog expects {expected}, it has {loaded.ntotal} of {loaded.d}")
    return loaded


class Vectors:
    """The segments of one index, loaded, searched as one."""

    def __init__(self, folder: Path, segments: Iterable[tuple[int, Segment]], dim: int) -> None:
        """Load (id, segment) pairs from the folder. Raises MismatchError."""
        self.dim = dim
        self._loaded = [
            (key, _read_segment(folder / segment.file, segment, dim)) for key, segment in segments
        ]

    def __len__(self) -> int:
        """Rows of the segments, also of patches that are there no more."""
        return sum(int(loaded.ntotal) for _, loaded in self._loaded)

    def nearest(self, query: NDArray[np.float32], count: int) -> list[Match]:
        """The `count` vectors of highest inner product with query (D,), best first.

        Fewer where there are not so many; equal scores stand in the order of the rows.
        """
        matches: list[Match] = []
        for key, loaded in self._loaded:
            depth = min(count, int(loaded.ntotal))
            scores, rows = loaded.search(query[None], depth)
            matches += [
                Match(float(score), key, int(row))
                for score, row in zip(scores[0], rows[0], strict=True)
                if row >= 0
            ]
        matches.sort(key=lambda match: (-match.score, match.segment, match.row))
        return matches[:count]

    def widening(self, query: NDArray[np.float32], first: int) -> Iterator[Match]:
        """Every vector by falling score, looked up `first` at a time, then ever more.

        An approximate segment may never give some of its vectors; the last look-up asks for
        all there are.
        """
        given: set[tuple[int, int]] = set()
        depth, total = first, len(self)
        while True:
            for match in self.nearest(query, depth):
                place = (match.segment, match.row)
                if place not in given:
                    given.add(place)
                    yield match
            if depth >= total:
                return
            depth *= 4

    def chunks(self, rows: int = 65536) -> Iterator[tuple[int, int, Embeddings]]:
        """The vectors themselves: (segment id, first row, float32 (n, D)), n <= rows."""
        for key, loaded in self._loaded:
            for start in range(0, int(loaded.ntotal), rows):
                count = min(rows, int(loaded.ntotal) - start)
                yield key, start, loaded.reconstruct_n(start, count)
