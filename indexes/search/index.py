"""An open index, and the search in it."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from indexes.catalog.model_check import check_same_model
from indexes.open import Target, open_store
from indexes.records import Place
from indexes.search.best import Found, best_of_all, best_of_each
from indexes.search.hits import Hit
from indexes.search.queries import unit_rows
from indexes.search.settings import EVERYTHING, SearchSettings
from indexes.stores import PatchStore
from toolkit.embedding import Embeddings
from toolkit.errors import MismatchError, UsageError
from toolkit.model_card import ModelCard


class PatchIndex:
    """An open index: a snapshot, loaded once, that a build beside it does not disturb."""

    def __init__(self, store: PatchStore, *, allow_partial: bool = False) -> None:
        self.store = store
        self._card = store.card
        self._allow_partial = allow_partial
        self._unknown: set[int] = set()

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
        return len(self.store)

    @property
    def card(self) -> ModelCard:
        """The model that made the index."""
        return self._card

    @property
    def left_out(self) -> tuple[str, ...]:
        """What is damaged and was left out so far, for people; empty for a whole index."""
        unknown = sorted(self._unknown)
        return self.store.left_out + tuple(map(self._unknown_patch, unknown))

    def close(self) -> None:
        """Give the snapshot up."""
        self.store.close()

    def check_model(self, card: ModelCard) -> None:
        """Raises MismatchError (exit 5) unless `card` is of the model that made the index."""
        check_same_model(self.store.name, self.card, card)

    def search(
        self,
        query: NDArray[np.float32],
        k: int = 10,
        settings: SearchSettings = EVERYTHING,
    ) -> list[Hit]:
        """The k patches most like the query (D,), best first; fewer where there are not so many.

        Of several queries (Q, D) each patch counts by the one that it is nearest to. Raises
        UsageError for a k below 1, MismatchError for a query of another length, InputError
        for one that is not finite or zero.
        """
        queries = self._checked(query[None] if query.ndim == 1 else query, k)
        (hits,) = self._hits([best_of_all(self.store, queries, k, settings)])
        return hits

    def search_each(
        self, queries: Embeddings, k: int = 10, settings: SearchSettings = EVERYTHING
    ) -> list[list[Hit]]:
        """The same for each of the queries (Q, D) by itself, all at once."""
        if not len(queries):
            return []
        return self._hits(best_of_each(self.store, self._checked(queries, k), k, settings))

    def vectors_of(self, patches: Sequence[int]) -> Embeddings:
        """The vectors of indexed patches, float32 (N, D). Raises InputError for an unknown id."""
        return self.store.vectors_of(patches)

    def thumbnail(self, patch: int) -> bytes | None:
        """The small JPEG of the patch with this id; None where there is none."""
        return self.store.thumbnails([patch]).get(patch)

    def _checked(self, queries: NDArray[np.float32], k: int) -> Embeddings:
        if k < 1:
            raise UsageError(f"k is {k}; 1 is the least.")
        if queries.ndim != 2 or queries.shape[1] != self._card.dim or not len(queries):
            raise MismatchError(
                f"The query has the shape {queries.shape}, the index {self.store.name} holds "
                f"vectors of shape {(self._card.dim,)}.",
                mend="Embed the query with the model that made the index.",
            )
        return unit_rows(queries)

    def _hits(self, rows: Sequence[Sequence[Found]]) -> list[list[Hit]]:
        places = self._places({patch for row in rows for _, patch, _ in row})
        # Rounding may carry a cosine a little beyond 1.
        return [
            [
                Hit(rank, min(max(score, -1.0), 1.0), places[patch])
                for rank, (score, patch, _) in enumerate((r for r in row if r[1] in places), 1)
            ]
            for row in rows
        ]

    def _places(self, patches: set[int]) -> dict[int, Place]:
        places = self.store.places(list(patches))
        if len(places) < len(patches):
            missing = patches - places.keys()
            if not self._allow_partial:
                raise MismatchError(
                    self._unknown_patch(min(missing)) + ".",
                    mend="Look with `vr index verify`; --allow-partial searches the rest.",
                )
            self._unknown |= missing
        return places

    def _unknown_patch(self, patch: int) -> str:
        return f"{self.store.name} is damaged: its catalog does not know the patch {patch}"


def open_index(target: Target, device: str = "cpu", *, allow_partial: bool = False) -> PatchIndex:
    """Open an index for searching; use it in a `with`.

    allow_partial: leave damaged segments out, and say so in `left_out`. Raises InputError
    where there is no index, MismatchError naming the file where it is damaged or of a newer
    version, MissingError where FAISS, or the GPU that was asked for, is not there; and of one
    in Milvus what `indexes.open.open_store` raises.
    """
    store = open_store(target, device, allow_partial=allow_partial)
    return PatchIndex(store, allow_partial=allow_partial)
