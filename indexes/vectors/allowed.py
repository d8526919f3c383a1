"""Which rows may be found, in the forms that a search needs; made once for many queries."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.vectors.load import load_faiss


class Allowed:
    """The rows that may be found: `mask`, bool (N,), which must not change any more."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask
        self.count = int(np.count_nonzero(mask))

    @property
    def is_all(self) -> bool:
        """True where every row may be found."""
        return self.count == len(self.mask)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The rows themselves, int64 (count,), ascending."""
        return np.flatnonzero(self.mask).astype(np.int64, copy=False)

    @cached_property
    def selector(self) -> Any:
        """FAISS's selector of these rows; it reads `_bits`, so this record has to outlive it."""
        return load_faiss().IDSelectorBitmap(self._bits)

    @cached_property
    def _bits(self) -> NDArray[np.uint8]:
        return np.packbits(self.mask, bitorder="little")
