"""How hard an approximate index looks, and when looking at everything is better."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

AT = 10  # neighbours that an effort is tuned for
_EXACT_NUMBERS = 8 << 20  # of allowed vectors: about 2 ms on one core
_EXACT_PART = 4  # where more than a fourth of all would be looked at, look at all


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard an approximate index looks; what does not concern its kind is 0.

    nprobe: cells of an inverted file; ef_search: places that HNSW keeps open; rerank:
    candidates whose exact cosine is worked out.
    """

    nprobe: int = 0
    ef_search: int = 0
    rerank: int = 0

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """As it stands in a segment's settings. Raises KeyError or what `int` raises."""
        effort = cls(*(int(settings[name]) for name in ("nprobe", "ef_search", "rerank")))
        if min(effort.nprobe, effort.ef_search, effort.rerank) < 0:
            raise ValueError(f"no effort is below 0: {effort}")
        return effort

    def as_json(self) -> dict[str, int]:
        """The inverse of from_settings."""
        return {"nprobe": self.nprobe, "ef_search": self.ef_search, "rerank": self.rerank}


@dataclass(frozen=True, slots=True)
class Extent:
    """How large an index is: vectors, numbers of each, and cells (0 for a graph)."""

    vectors: int
    dim: int
    cells: int


def widen(
    effort: Effort, extent: Extent, count: int, allowed: int | None, sure: int | None = None
) -> Effort | None:
    """The effort for `count` neighbours among `allowed` rows; None: look at all of these.

    sure: how many of them, from the best, have to be found as surely as ten; None for all.

    An effort is tuned for ten neighbours among all rows (allowed None). To find more of them,
    or those among a part of the rows, is to find a thing that lies deeper: ten among a fourth
    are like forty among all. Cells and places grow with that, candidates a little less; so
    the recall stayed over 0.95 with a million vectors, 10 to 300 neighbours and 1 to 1/4 of
    the rows. Few rows are looked at one by one: among them the nearest may lie anywhere.
    """
    if allowed is not None and allowed * extent.dim <= _EXACT_NUMBERS:
        return None
    possible = extent.vectors if allowed is None else allowed
    deeper = max(min(sure or count, count) / AT, 1.0) * extent.vectors / possible
    rerank = max(count, math.ceil(effort.rerank * deeper**0.75))
    if extent.cells:
        # On average the cells must hold several times what is to be found in them.
        enough = 4 * count * extent.cells / possible
        wider = Effort(math.ceil(max(effort.nprobe * deeper, enough)), 0, rerank)
        share = wider.nprobe / extent.cells
    else:
        wider = Effort(0, math.ceil(max(effort.ef_search * deeper, count)), rerank)
        share = wider.ef_search / extent.vectors
    return None if max(share, rerank / possible) > 1 / _EXACT_PART else wider
