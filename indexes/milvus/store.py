"""An index in Milvus, open for reading."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.milvus.address import MilvusAddress
from indexes.milvus.client import MOST_HITS, MilvusClient, Row, connect
from indexes.milvus.expressions import all_of, equal, none_of
from indexes.milvus.filters import Filters
from indexes.milvus.indexing import search_params
from indexes.milvus.layout import PATCHES, PLACE_FIELDS, THUMBNAILS
from indexes.milvus.notes import SOURCE, Notes
from indexes.milvus.rows import jpeg_of, place_of
from indexes.milvus.state import State, collection_of, damaged, read_state
from indexes.records import Filter, Nearest, Place
from indexes.stores import ANY, no_patch
from toolkit.embedding import Embeddings
from toolkit.model_card import ModelCard

READ_WAIT_S = 10.0  # another search is over in seconds, and a build is not
_REMEMBERED = 100_000  # sources
_Found = tuple[float, int, int]  # score, patch, thing


class MilvusStore:
    """What was visible when it was opened, behind `indexes.stores.PatchStore`.

    Patches that are added later are not seen; a removal that goes on meanwhile is.
    """

    def __init__(self, client: MilvusClient, state: State, held: ExitStack) -> None:
        self._client = client
        self._held = held
        self._state = state
        self._patches = collection_of(client, state, PATCHES)
        self._notes = Notes(client, state)
        self._filters = Filters(self._notes, client.name)
        self._sources: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._last: tuple[Filter, str | None] = (ANY, "")

    @property
    def name(self) -> str:
        """The address."""
        return self._client.name

    @property
    def card(self) -> ModelCard:
        """The model that made the index."""
        return self._state.card

    @property
    def state(self) -> State:
        """What is visible."""
        return self._state

    @property
    def client(self) -> MilvusClient:
        """The connection."""
        return self._client

    @property
    def left_out(self) -> tuple[str, ...]:
        """Nothing: Milvus answers for the whole index or not at all."""
        return ()

    def __len__(self) -> int:
        """The number of patches."""
        return self._state.vectors

    def close(self) -> None:
        """Close the connection."""
        self._held.close()

    def nearest(
        self,
        queries: Embeddings,
        count: int,
        only: Filter = ANY,
        sure: int | None = None,  # noqa: ARG002 - all of them are
    ) -> Nearest:
        """The `count` patches of highest cosine for each query; see `PatchStore`."""
        passing = self._condition(only)
        count = min(count, len(self))
        if passing is None or count < 1:
            return _nearest([[] for _ in queries], count)
        seen = all_of(self._state.patches_seen, passing)
        if count <= MOST_HITS:
            return _nearest(list(self._search(queries, count, seen)), count)
        return _nearest([self._deep(query, count, seen) for query in queries], count)

    def places(self, patches: Sequence[int]) -> dict[int, Place]:
        """What is known of patches, by id."""
        rows = list(self._rows_of(patches, PLACE_FIELDS))
        return {place.id: place for place in self._places(rows)}

    def thumbnails(self, patches: Sequence[int]) -> dict[int, bytes]:
        """The small JPEGs of patches, by id."""
        rows = self._rows_of(patches, ["id", "source", "jpeg"], THUMBNAILS)
        return {int(row["id"]): jpeg_of(row) for row in rows}

    def vectors_of(self, patches: Sequence[int]) -> Embeddings:
        """The vectors of patches, float32 (N, D). Raises InputError for an unknown id."""
        found = {
            int(row["id"]): np.asarray(row["vector"], np.float32)
            for row in self._rows_of(patches, ["id", "source", "vector"])
        }
        for patch in patches:
            if int(patch) not in found:
                raise no_patch(self.name, int(patch))
        if not len(patches):
            return np.empty((0, self.card.dim), np.float32)
        return np.stack([found[int(patch)] for patch in patches])

    def sightings(self, patch: int) -> list[Place]:
        """The patches of its track, by source and time. Raises InputError for an unknown id."""
        rows = list(self._rows_of([patch], PLACE_FIELDS))
        if not rows:
            raise no_patch(self.name, patch)
        thing = int(rows[0]["thing"])
        if thing > 0:
            same = all_of(self._state.patches_seen, equal("thing", thing))
            rows = list(self._client.rows(self._patches, same, PLACE_FIELDS))
        return sorted(self._places(rows), key=_by_source_and_time)

    # Searching

    def _condition(self, only: Filter) -> str | None:
        if self._last[0] != only:
            self._last = (only, self._filters.condition(only))
        return self._last[1]

    def _search(self, queries: Embeddings, count: int, seen: str) -> Iterator[list[_Found]]:
        params = search_params(self._state.kind, count, self._state.params)
        return self._client.search(self._patches, queries, count, seen, params)

    def _deep(self, query: NDArray[np.float32], count: int, seen: str) -> list[_Found]:
        """More than Milvus gives at once: each time what scores no higher than the last."""
        found: dict[int, _Found] = {}
        condition = seen
        params = dict[str, float](search_params(self._state.kind, MOST_HITS, self._state.params))
        while len(found) < count:
            (hits,) = self._client.search(self._patches, query[None], MOST_HITS, condition, params)
            new = [hit for hit in hits if hit[1] not in found]
            if not new:
                break
            found.update((hit[1], hit) for hit in new)
            last = new[-1][0]
            tied = [patch for score, patch, _ in found.values() if score == last]
            condition = all_of(seen, none_of("id", tied))
            highest = float(np.nextafter(np.float32(last), np.float32(np.inf)))
            params = {**params, "radius": -2.0, "range_filter": highest}
        return sorted(found.values(), key=lambda hit: -hit[0])[:count]

    # Rows

    def _rows_of(
        self, patches: Sequence[int], fields: Sequence[str], kind: str = PATCHES
    ) -> Iterator[Row]:
        """The visible rows of patches; "source" must be among the fields."""
        wanted = [int(patch) for patch in patches if 0 < patch <= self._state.patches]
        removed = set(self._state.removed)
        name = collection_of(self._client, self._state, kind)
        for row in self._client.get(name, wanted, fields):
            if int(row["source"]) not in removed:
                yield row

    def _places(self, rows: Sequence[Row]) -> Iterator[Place]:
        sources = self._described(sorted({int(row["source"]) for row in rows}))
        things = sorted({int(row["thing"]) for row in rows})
        labels = self._notes.labels_of(things)
        for row in rows:
            source = sources.get(int(row["source"]))
            if source is None:
                raise damaged(self.name, f"it does not know the source {row['source']}")
            yield place_of(row, source, labels.get(int(row["thing"])))

    def _described(self, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
        known = {key: self._sources[key] for key in numbers if key in self._sources}
        unknown = [key for key in numbers if key not in known]
        for note in self._notes.where(SOURCE, "number", unknown):
            known[note.number] = self._sources[note.number] = note.described
        while len(self._sources) > _REMEMBERED:
            self._sources.popitem(last=False)
        return known


def _by_source_and_time(place: Place) -> tuple[str, int, float, int]:
    time_s = -np.inf if place.time_s is None else place.time_s
    return place.source, place.source_id, time_s, place.id


def _nearest(found: Sequence[Sequence[_Found]], count: int) -> Nearest:
    shape = (len(found), count)
    scores = np.full(shape, -np.inf, np.float32)
    patches, things = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
    for row, hits in enumerate(found):
        if hits:
            scores[row, : len(hits)] = [hit[0] for hit in hits]
            patches[row, : len(hits)] = [hit[1] for hit in hits]
            things[row, : len(hits)] = [hit[2] for hit in hits]
    return Nearest(scores, patches, things)


def open_milvus(address: MilvusAddress, wait_s: float = READ_WAIT_S) -> MilvusStore:
    """Open an index in Milvus; wait_s: for an embedded engine that another process has.

    Raises InputError where there is no index, MismatchError where it is damaged or of another
    version, StorageError where Milvus cannot be reached, MissingError without its packages.
    """
    with ExitStack() as held:
        client = held.enter_context(connect(address, wait_s))
        state = read_state(client)
        return MilvusStore(client, state, held.pop_all())
