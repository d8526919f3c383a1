"""What is wanted of a search."""

import math
from dataclasses import dataclass

from indexes.records import Filter
from indexes.stores import ANY
from toolkit.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """Which hits are wanted. Raises UsageError for a score that is none.

    group_tracks: one hit a track, its best; min_score: the least cosine; only: which patches
    may be found; without: ids of those that may not, such as the query's own track.
    """

    group_tracks: bool = True
    min_score: float = -1.0
    only: Filter = ANY
    without: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not -1 <= self.min_score <= 1 or math.isnan(self.min_score):
            raise UsageError(f"A score lies from -1 to 1, and {self.min_score} does not.")


EVERYTHING = SearchSettings()
