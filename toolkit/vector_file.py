"""Vectors as a file of their own, written row by row: NumPy's .npy, or .safetensors.

Both begin with a header that says how many rows there are. It is written last, into room
that was left for it, so that the rows need not be in memory.
"""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from toolkit.embedding import Embeddings
from toolkit.errors import UsageError
from toolkit.workspace import atomic_file

SUFFIXES = (".npy", ".safetensors")
_HEADER_BYTES = 256  # of either kind, a multiple of 64 as both formats advise
_NPY_MAGIC = b"\x93NUMPY\x01\x00"  # version 1.0
_TENSOR = "embeddings"


class VectorWriter:
    """Takes rows. vectors: how many there are so far."""

    def __init__(self, stream: BinaryIO, dim: int) -> None:
        self.vectors = 0
        self._stream = stream
        self._dim = dim

    def add(self, embeddings: Embeddings) -> None:
        """Append float32 (N, dim). Raises ValueError for another shape."""
        if embeddings.shape[1:] != (self._dim,):
            raise ValueError(f"rows of {self._dim} numbers are wanted, not {embeddings.shape}")
        self._stream.write(np.ascontiguousarray(embeddings, "<f4").data)
        self.vectors += len(embeddings)


def check_suffix(target: Path) -> None:
    """Raises UsageError for a file of a kind that vectors are not written in."""
    if target.suffix not in SUFFIXES:
        raise UsageError(
            f"{target} is of no kind that vectors are written in.",
            mend=f"Let its name end in {' or '.join(SUFFIXES)}.",
        )


@contextmanager
def write_vectors(target: Path, dim: int) -> Iterator[VectorWriter]:
    """A file of float32 (rows, dim) by its suffix; there once the block has come to its end.

    A .safetensors file names them `embeddings`. Raises UsageError for another suffix,
    StorageError.
    """
    check_suffix(target)
    header = _npy_header if target.suffix == ".npy" else _safetensors_header
    with atomic_file(target) as draft, draft.open("wb") as stream:
        stream.write(bytes(_HEADER_BYTES))
        writer = VectorWriter(stream, dim)
        yield writer
        stream.seek(0)
        stream.write(header(writer.vectors, dim))


def _npy_header(rows: int, dim: int) -> bytes:
    room = _HEADER_BYTES - len(_NPY_MAGIC) - 2
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}"
    return _NPY_MAGIC + struct.pack("<H", room) + text.ljust(room - 1).encode() + b"\n"


def _safetensors_header(rows: int, dim: int) -> bytes:
    room = _HEADER_BYTES - 8
    tensor = {"dtype": "F32", "shape": [rows, dim], "data_offsets": [0, 4 * rows * dim]}
    return struct.pack("<Q", room) + json.dumps({_TENSOR: tensor}).ljust(room).encode()
