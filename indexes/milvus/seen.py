"""Which sightings of tracks an index in Milvus has, source by source."""

from collections import OrderedDict
from dataclasses import dataclass, field

from indexes.milvus.client import MilvusClient
from indexes.milvus.expressions import all_of, at_most, equal
from indexes.milvus.keys import key_of
from indexes.milvus.layout import PATCHES
from indexes.milvus.rows import Numbered, time_of
from indexes.milvus.state import State, collection_of
from indexes.sources import IndexPatch

_REMEMBERED = 500_000  # sightings; a source that alone has more is remembered too


@dataclass(slots=True)
class _OfSource:
    """What is there of one source: (thing, PTS seconds) of tracks, and the inputs of the rest."""

    sightings: set[tuple[int, float | None]] = field(default_factory=set)
    inputs: set[int] = field(default_factory=set)


class Seen:
    """Asks Milvus once for each source, not once for each patch.

    twins: inputs of the same bytes as the one being read that lost a source.
    """

    def __init__(self, client: MilvusClient, state: State) -> None:
        self.state = state
        self.twins: frozenset[int] = frozenset()
        self._client = client
        self._sources: OrderedDict[int, _OfSource] = OrderedDict()
        self._count = 0

    def knows(self, source: int) -> bool:
        """True where Milvus need not be asked again."""
        return source in self._sources

    def holds(self, patch: IndexPatch, source: int, last: int) -> bool:
        """True where this sighting of its track is there, or a twin has the source.

        last: the highest id that was given.
        """
        known = self._load(source, last)
        if patch.track is None:
            return not self.twins.isdisjoint(known.inputs)
        return (key_of("track", patch.track), patch.time_s) in known.sightings

    def add(self, row: Numbered) -> None:
        """A patch came in."""
        known = self._sources.get(row.source)
        if known is not None:
            self._note(known, row.thing, row.row.patch.time_s, row.row.input)

    def forget(self) -> None:
        """What was asked for does not hold any more."""
        self._sources.clear()
        self._count = 0

    def _load(self, source: int, last: int) -> _OfSource:
        if source in self._sources:
            self._sources.move_to_end(source)
            return self._sources[source]
        known = _OfSource()
        name = collection_of(self._client, self.state, PATCHES)
        there = all_of(equal("source", source), at_most("id", last))
        for row in self._client.rows(name, there, ["thing", "time_s", "input"]):
            self._note(known, int(row["thing"]), time_of(row), int(row["input"]))
        while self._sources and self._count > _REMEMBERED:
            _, oldest = self._sources.popitem(last=False)
            self._count -= len(oldest.sightings)
        self._sources[source] = known
        return known

    def _note(self, known: _OfSource, thing: int, time_s: float | None, number: int) -> None:
        known.inputs.add(number)
        if thing > 0 and (thing, time_s) not in known.sightings:
            known.sightings.add((thing, time_s))
            self._count += 1
