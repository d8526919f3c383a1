"""What may become a row of an index: finite, of length 1, of the index's dimension."""

import numpy as np
from numpy.typing import NDArray

from toolkit.embedding import Embeddings
from toolkit.errors import InputError, MismatchError

_LENGTH_TOLERANCE = 1e-3  # float32 rounds a length of 1 to within 1e-6
_NAMED = 5


def check_vectors(vectors: NDArray[np.float32], dim: int, first: int = 0) -> Embeddings:
    """Vectors (N, dim) as contiguous float32, unchanged.

    first: the number of the first row, for messages. Raises MismatchError for another
    dimension, InputError naming the rows that are not finite or not of length 1.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise MismatchError(
            f"The vectors have the shape {vectors.shape}; (N, {dim}) was expected.",
            mend="Use vectors of the model that made the index.",
        )
    rows = np.ascontiguousarray(vectors, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("nd,nd->n", rows, rows)
    wrong = np.flatnonzero(~(np.abs(squares - 1) <= 2 * _LENGTH_TOLERANCE))
    if wrong.size:
        raise InputError(
            f"{_rows(wrong + first)} not of length 1, or not finite: "
            f"the first has the squared length {squares[wrong[0]]:.4g}.",
            mend="Leave these vectors out, or divide each by its length.",
        )
    return rows


def _rows(numbers: NDArray[np.int64]) -> str:
    named = ", ".join(str(number) for number in numbers[:_NAMED])
    if len(numbers) > _NAMED:
        return f"Rows {named} and {len(numbers) - _NAMED} more are"
    return f"Row {named} is" if len(numbers) == 1 else f"Rows {named} are"
