"""Which video, when, where in the frame: the patches most like a query."""

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from indexes.model_check import check_same_model
from indexes.reader import CatalogReader, Place
from toolkit.errors import InputError, MismatchError, UsageError
from toolkit.model_card import ModelCard


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer: score is the cosine with the query, box is xyxy pixels of the source."""

    rank: int
    score: float
    id: int
    source: str
    time_s: float | None
    box: tuple[float, float, float, float]
    track: str | None
    label: str | None

    def as_json(self) -> dict[str, Any]:
        """The JSON contract of a hit."""
        return {
            "rank": self.rank,
            "score": self.score,
            "id": self.id,
            "source": self.source,
            "time_s": self.time_s,
            "box": list(self.box),
            "track": self.track,
            "label": self.label,
        }


class PatchIndex:
    """An open index: a snapshot, loaded once, that a build beside it does not disturb."""

    def __init__(self, path: Path) -> None:
        """Open and load. Raises InputError, MismatchError or MissingError."""
        self.path = path
        self._catalog = CatalogReader(path)
        try:
            self._vectors = self._catalog.load_vectors()
        except BaseException:
            self._catalog.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """The number of patches."""
        return self._catalog.count()

    @property
    def card(self) -> ModelCard:
        """The model that made the index."""
        return self._catalog.card

    def close(self) -> None:
        """Give the snapshot up."""
        self._catalog.close()

    def check_model(self, card: ModelCard) -> None:
        """Raises MismatchError (exit 5) unless `card` is of the model that made the index."""
        check_same_model(self.path, self.card, card)

    def search(
        self,
        embedding: NDArray[np.float32],
        k: int = 10,
        *,
        group_tracks: bool = True,
        exclude_track: str | None = None,
        min_score: float = -math.inf,
    ) -> list[Hit]:
        """The k patches most like the query (D,), best first; fewer where there are not so many.

        With `group_tracks` each track gives its best patch only. Raises UsageError for a k
        below 1, MismatchError for a query of another length, InputError for one that is
        not finite or zero.
        """
        if k < 1:
            raise UsageError(f"k is {k}; 1 is the least.")
        query = self._unit(embedding)
        hits: list[Hit] = []
        seen: set[Hashable] = set()
        for score, place in self._nearest(query, k * 4 if group_tracks else k):
            if score < min_score:
                break
            if exclude_track is not None and place.track == exclude_track:
                continue
            thing = (place.source_id, place.track) if place.track is not None else place.id
            if group_tracks and thing in seen:
                continue
            seen.add(thing)
            hits.append(_hit(len(hits) + 1, score, place))
            if len(hits) == k:
                break
        return hits

    def thumbnail(self, patch: int) -> bytes:
        """The small JPEG of the patch with this id. Raises InputError for an unknown one."""
        return self._catalog.thumbnail(patch)

    def _nearest(self, query: NDArray[np.float32], first: int) -> Iterator[tuple[float, Place]]:
        for match in self._vectors.widening(query, first):
            place = self._catalog.place(match.segment, match.row)
            if place is not None:
                yield match.score, place

    def _unit(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        if embedding.shape != (self.card.dim,):
            raise MismatchError(
                f"The query has the shape {embedding.shape}, the index {self.path} holds "
                f"vectors of shape {(self.card.dim,)}.",
                mend="Embed the query with the model that made the index.",
            )
        length = float(np.linalg.norm(embedding.astype(np.float64)))
        if not (math.isfinite(length) and length > 0):
            raise InputError(f"The query's vector has the length {length}: it finds nothing.")
        return np.asarray(embedding / length, np.float32)


def _hit(rank: int, score: float, place: Place) -> Hit:
    cosine = min(max(score, -1.0), 1.0)  # rounding may carry it a little beyond
    return Hit(
        rank,
        cosine,
        place.id,
        place.source,
        place.time_s,
        place.box,
        place.track,
        place.label,
    )


def open_index(path: Path) -> PatchIndex:
    """Open an index for searching; use it in a `with`.

    Raises InputError where there is no index, MismatchError naming the file where it is
    damaged or of a newer version, MissingError where FAISS is not installed.
    """
    return PatchIndex(path)
