"""One answer of a search."""

from dataclasses import dataclass
from typing import Any

from indexes.records import Place


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer. score: the cosine with the query; place: where it is."""

    rank: int
    score: float
    place: Place

    @property
    def id(self) -> int:
        """The id of the patch."""
        return self.place.id

    def as_json(self) -> dict[str, Any]:
        """The JSON contract of a hit."""
        place = self.place
        return {
            "rank": self.rank,
            "score": self.score,
            "id": place.id,
            "source": place.source,
            "time_s": place.time_s,
            "box": list(place.box),
            "track": place.track,
            "label": place.label,
            "camera": place.camera,
        }
