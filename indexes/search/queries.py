"""Vectors of what is looked for, and of what is not, to the queries that a store is asked."""

from typing import Literal

import numpy as np

from toolkit.embedding import Embeddings
from toolkit.errors import InputError

Combine = Literal["mean", "all"]

# How strongly a negative example pushes away (Rocchio's rule): half as much as an example
# draws near, so that the query stays nearer to what is looked for.
NEGATIVE_WEIGHT = 0.5
_LEAST = 1e-4  # a sum this short has no direction that means anything
_SAME = 0.9999  # the cosine of two vectors of one picture


def make_queries(
    examples: Embeddings, negatives: Embeddings | None = None, combine: Combine = "mean"
) -> Embeddings:
    """Examples (P, D) and negative ones (N, D) to queries (Q, D) of length 1.

    "mean" gives one query, the direction of the examples' mean; "all" gives one for each, of
    which a patch counts by the nearest. The mean of the negatives, times NEGATIVE_WEIGHT, is
    taken off each. Raises InputError for a vector that is not finite or is zero, for examples
    that cancel each other out, and for negatives that are what is looked for.
    """
    wanted = unit_rows(examples)
    if combine == "mean" and len(wanted) > 1:
        wanted = wanted.mean(axis=0, keepdims=True)
        if np.linalg.norm(wanted) < _LEAST:
            raise InputError("The examples cancel each other out.", mend="Use --combine all.")
        wanted = unit_rows(wanted)
    if negatives is not None and len(negatives):
        away = unit_rows(negatives).mean(axis=0)
        if np.max(wanted @ away) > _SAME:
            raise InputError(
                "The negative example is what is looked for.", mend="Give another one."
            )
        wanted = unit_rows(wanted - NEGATIVE_WEIGHT * away)
    return wanted


def unit_rows(vectors: Embeddings) -> Embeddings:
    """The rows (N, D) divided by their lengths. Raises InputError for one that has none."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    good = np.isfinite(lengths) & (lengths > 0)
    if not good.all():
        raise InputError(
            f"The query's vector has the length {lengths[~good][0]}: it finds nothing.",
            mend="Leave it out, or embed it again.",
        )
    return np.asarray(vectors / lengths[:, None], np.float32)
