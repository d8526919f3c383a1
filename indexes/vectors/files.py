"""The files of a segment: what they are called, what must be in them, how they are opened.

    STEM.flat.faiss          the vectors, a plain IndexFlatIP of FAISS: 45 bytes, then float32
    STEM.rows.npy            int64 (N, 2): patch id and thing id of each row
    STEM.HASH8.index.faiss   how near vectors are found without looking at all of them; only
                             where the kind is not flat. Named by its content too, because
                             the same vectors may be indexed again, in another way

STEM is the start of the SHA-256 over the first two. Files are mapped, not read: opening
costs no memory, and a large segment none but what is looked at. Only the vectors of a small
segment are copied to where the processor reads them fastest.
"""

import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.catalog.schema import damaged
from indexes.records import FileMark, Segment
from indexes.vectors.load import load_faiss
from toolkit.embedding import Embeddings

FLAT = ".flat.faiss"
ROWS = ".rows.npy"
BASE = ".index.faiss"

# IndexFlatIP as FAISS writes it: name, dimension, vectors, two numbers of no meaning,
# trained, metric (inner product), and how many float32 follow.
_HEADER = struct.Struct("<4siqqqBiQ")
_NAME, _UNUSED, _INNER_PRODUCT = b"IxFI", 1 << 20, 0
HEADER_BYTES = _HEADER.size
_CHUNK_BYTES = 1 << 20
# Behind 45 bytes every load of AVX-512 touches two cache lines. While vectors come out of a
# cache that costs an eighth of an exact search; out of main memory, nothing.
_CACHE_LINE = 64
_COPIED_BYTES = 8 << 20


def flat_header(vectors: int, dim: int) -> bytes:
    """The 45 bytes before the vectors."""
    return _HEADER.pack(_NAME, dim, vectors, _UNUSED, _UNUSED, 1, _INNER_PRODUCT, vectors * dim)


def base_suffix(files: Iterable[str]) -> str | None:
    """The suffix of the approximate index among the files of a segment; None for flat."""
    return next((suffix for suffix in files if suffix.endswith(BASE)), None)


def mark_files(flat: Path, rows: Path) -> tuple[str, dict[str, FileMark]]:
    """The stem and the marks of the two files that every segment has, read once."""
    digest = hashlib.sha256()
    sizes = _hash_into(digest, flat)
    marks = {FLAT: FileMark(digest.hexdigest(), sizes)}
    marks[ROWS] = mark_of(rows)
    _hash_into(digest, rows)
    return digest.hexdigest()[:16], marks


def mark_of(path: Path) -> FileMark:
    """The mark of a file as it lies there."""
    digest = hashlib.sha256()
    size = _hash_into(digest, path)
    return FileMark(digest.hexdigest(), size)


def _hash_into(digest: "hashlib._Hash", path: Path) -> int:
    size = 0
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK_BYTES):
            digest.update(block)
            size += len(block)
    return size


def map_file(path: Path, mark: FileMark) -> NDArray[np.uint8]:
    """The bytes of a file, mapped. Raises MismatchError where it has another size."""
    try:
        size = path.stat().st_size
        if size == mark.size_bytes and size:
            return np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise damaged(path, f"it cannot be read ({error.strerror})") from error
    raise damaged(path, f"it has {size} bytes, {mark.size_bytes} were written")


def open_flat(path: Path, segment: Segment, dim: int) -> tuple[Any, Embeddings]:
    """The exact vectors: as a FAISS index, and float32 (N, dim), both on the same bytes.

    Those are the mapped file, where the array is not aligned, so copy what is multiplied; or a
    copy of it, if it is small. Raises MismatchError.
    """
    content = map_file(path, segment.files[FLAT])
    expected = flat_header(segment.vectors, dim)
    if len(content) != len(expected) + segment.vectors * dim * 4:
        raise damaged(path, f"it does not hold {segment.vectors} vectors of {dim} numbers")
    if content[:HEADER_BYTES].tobytes() != expected:
        raise damaged(path, f"its header is not that of {segment.vectors} vectors of {dim} numbers")
    if len(content) <= _COPIED_BYTES:
        content = _aligned(content)
    vectors = content[HEADER_BYTES:].view("<f4").reshape(segment.vectors, dim)
    return read_mapped(content), vectors


def _aligned(content: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy whose vectors begin with a cache line."""
    buffer = np.empty(len(content) + _CACHE_LINE, np.uint8)
    start = -(buffer.ctypes.data + HEADER_BYTES) % _CACHE_LINE
    copied = buffer[start : start + len(content)]
    copied[:] = content
    return copied


def read_mapped(content: NDArray[np.uint8]) -> Any:
    """A FAISS index in mapped bytes, which flat vectors stay in; any path will do so."""
    faiss = load_faiss()
    index = faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(content), content.nbytes))
    index.referenced_objects = [content]  # it must not be unmapped before the index is gone
    return index


def open_rows(path: Path, segment: Segment) -> NDArray[np.int64]:
    """Patch id and thing id of each row, int64 (N, 2), mapped. Raises MismatchError."""
    map_file(path, segment.files[ROWS])
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, f"it is no array ({error})") from error
    if rows.dtype != np.int64 or rows.shape != (segment.vectors, 2):
        expected = f"int64 ({segment.vectors}, 2)"
        raise damaged(path, f"it holds {rows.dtype} {rows.shape}, not {expected}")
    return np.asarray(rows)
