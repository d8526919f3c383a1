"""A filter as a condition of numbers: names are looked up before, never sent."""

from dataclasses import dataclass, replace

from indexes.catalog.filters import condition
from indexes.milvus.expressions import all_of, among, between
from indexes.milvus.keys import key_of
from indexes.milvus.note_tables import note_tables
from indexes.milvus.notes import LABEL, Notes
from indexes.records import Filter
from toolkit.errors import InputError

MOST_NUMBERS = 200_000  # in a condition: 2 MB of it


@dataclass(frozen=True, slots=True)
class Filters:
    """Makes the conditions of an open index. Raises InputError for a filter too scattered."""

    notes: Notes
    name: str

    def condition(self, only: Filter) -> str | None:
        """The condition of a filter, empty for everything; None where nothing passes it."""
        parts: list[str] = []
        if only.sources or only.cameras:
            sources = self._sources(only)
            if not sources:
                return None
            parts.append(self._among("source", sources, "sources"))
        if only.times_s is not None:
            during = between("time_s", *only.times_s)
            if during is None:
                return None
            parts.append(during)
        if only.labels:
            things = self._labelled(only)
            if not things:
                return None
            parts.append(self._among("thing", things, "labelled things"))
        return all_of(*parts)

    def _among(self, field: str, numbers: list[int], what: str) -> str:
        if len(numbers) > MOST_NUMBERS:
            raise InputError(
                f"The filter lets {len(numbers)} {what} of {self.name} pass; Milvus is asked for "
                f"{MOST_NUMBERS} at most.",
                mend="Narrow it, or keep the index in a folder.",
            )
        return among(field, sorted(numbers))

    def _sources(self, only: Filter) -> list[int]:
        """The numbers of the sources that pass; the same SQL decides as in a folder."""
        where, values = condition(replace(only, times_s=None, labels=()))
        with note_tables(self.notes) as tables:
            found = tables.execute(f"SELECT source FROM patches WHERE {where}", values)
            return [key for (key,) in found]

    def _labelled(self, only: Filter) -> list[int]:
        """The things whose label, the one that counts, is among those asked for."""
        wanted = [key_of("label", label) for label in only.labels]
        things = sorted({note.number for note in self.notes.where(LABEL, "content", wanted)})
        labels = self.notes.labels_of(things)
        return [thing for thing in things if labels[thing] in only.labels]
