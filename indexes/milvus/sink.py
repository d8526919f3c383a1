"""An index in Milvus, open for writing."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from indexes.build.budget import Wish
from indexes.milvus.client import MilvusClient
from indexes.milvus.expressions import above, all_of, equal
from indexes.milvus.indexing import params_of, plan_milvus
from indexes.milvus.layout import NOTES, PATCHES, THUMBNAILS, index_params
from indexes.milvus.lease import Lease
from indexes.milvus.notes import (
    FORGOTTEN,
    SOURCE,
    Note,
    Notes,
    content_of,
    input_note,
    label_note,
    origin_key,
    shared_note,
    source_note,
)
from indexes.milvus.recall import measure_recall
from indexes.milvus.rows import Numbered, check_texts
from indexes.milvus.seen import Seen
from indexes.milvus.state import (
    State,
    collection_of,
    drop_other_generations,
    write_state,
)
from indexes.plan.choose import IndexPlan
from indexes.sources import IndexPatch, Source
from indexes.stores import NewRow

_BUFFER_BYTES = 4 << 20
_REMEMBERED = 100_000  # sources, from one commit to the next


@dataclass(slots=True)
class _Numbers:
    """The last numbers that were given, visible or not yet."""

    patch: int
    input: int
    source: int


@dataclass(slots=True)
class _Waiting:
    """What is to be sent with the next request."""

    rows: list[Numbered] = field(default_factory=list)
    notes: dict[int, Note] = field(default_factory=dict)
    size_bytes: int = 0


class MilvusSink:
    """Behind `indexes.stores.PatchSink`: rows are sent as they come and counted at the end.

    Memory holds some megabytes of rows, and the sightings of the tracks of a few sources.
    Use `indexes.milvus.writing.milvus_sink`.
    """

    def __init__(self, client: MilvusClient, state: State, lease: Lease) -> None:
        self._client = client
        self._lease = lease
        self._state = state
        self._numbers = _Numbers(state.patches, state.inputs, state.sources)
        self._waiting = _Waiting()
        self._added: list[tuple[int, int]] = []  # input and rows of it, since the last commit
        self._sources: dict[int, tuple[int, int]] = {}  # key -> number, input that brought it
        self._absent: set[int] = set()  # sources that were not there when it opened
        self._contents: dict[int, int] = {}  # inputs of this sink: content -> number
        self._asked: tuple[int, list[Note]] = (0, [])
        self._seen = Seen(client, state)
        self.committed = False

    @property
    def state(self) -> State:
        """What is visible."""
        return self._state

    @property
    def uncommitted(self) -> int:
        """Rows since the last commit."""
        return sum(count for _, count in self._added)

    def is_empty(self) -> bool:
        """True where there is no patch at all."""
        return not (self._state.vectors + self.uncommitted)

    def has_input(self, source: Source, sha256: str) -> bool:
        """True where the same bytes were read in the same way before, and all is there still."""
        content = content_of(source, sha256)
        if content in self._contents:
            return True
        notes = self._inputs(content)
        forgotten = {note.number for note in notes if note.kind == FORGOTTEN}
        return any(note.number not in forgotten for note in notes)

    def begin_input(self, source: Source, sha256: str) -> int:
        """Note that a source is being read; its number."""
        content = content_of(source, sha256)
        self._seen.twins = frozenset(note.number for note in self._inputs(content))
        self._numbers.input += 1
        note = input_note(self._numbers.input, source, sha256)
        self._contents[content] = note.number
        self._waiting.notes[note.id] = note
        return note.number

    def last_input(self) -> int:
        """The number of the source that was noted last; 0 for none."""
        return self._numbers.input

    def holds(self, patch: IndexPatch) -> bool:
        """True where the same sighting of the same track is there already."""
        if patch.track is None and not self._seen.twins:
            return False
        number = self._known_source(origin_key(patch.origin))
        if number is None:
            return False
        if self._waiting.rows and not self._seen.knows(number):
            self._send()
        return self._seen.holds(patch, number, self._numbers.patch)

    def note_left_out(self, patch: IndexPatch) -> None:
        """Note that the source being read has a sighting that is there already."""
        note = shared_note(self._numbers.input, patch.origin)
        self._waiting.notes[note.id] = note

    def add(self, rows: Sequence[NewRow]) -> None:
        """Take rows in; by rising input. What is not sent at once is sent with later ones.

        Raises InputError, and takes none, where Milvus would not hold a name.
        """
        for row in rows:
            check_texts(row)
        for row in rows:
            self._take(row)
        if self._waiting.size_bytes >= _BUFFER_BYTES:
            self._send()

    def drop_inputs_after(self, number: int) -> None:
        """Take the sources noted after this one, and all rows of theirs, out again."""
        kept = self._waiting
        self._waiting = _Waiting(
            [row for row in kept.rows if row.row.input <= number],
            {key: note for key, note in kept.notes.items() if note.input <= number},
        )
        self._added = [(key, count) for key, count in self._added if key <= number]
        self._contents = {key: at for key, at in self._contents.items() if at <= number}
        self._sources = {key: at for key, at in self._sources.items() if at[1] <= number}
        self._seen.forget()
        sweep(self._client, self._state, max(number, self._state.inputs))

    def commit(self) -> None:
        """Send what waits, then make all of it visible by one row."""
        self._send()
        state = replace(
            self._state,
            patches=self._numbers.patch,
            inputs=self._numbers.input,
            sources=self._numbers.source,
            vectors=self._state.vectors + self.uncommitted,
        )
        self._write_state(state)
        self._added = []
        self.committed = True
        for key in list(self._sources)[: len(self._sources) - _REMEMBERED]:
            del self._sources[key]  # the oldest: what is new may not be found at once
        self._absent.clear()
        drop_other_generations(self._client, state)

    def wish(self, given: Wish | None) -> Wish:
        """What the index may take: what is given now, which later builds follow too."""
        if given is not None and given != self._state.wish:
            self._state = replace(self._state, wish=given)
        return self._state.wish

    def check_fits(self, vectors: int) -> IndexPlan:
        """The index for so many vectors. Raises InputError where none fits, UsageError."""
        wish, dim = self._state.wish, self._state.card.dim
        embedded = self._client.embedded
        return plan_milvus(vectors, dim, wish.budget, embedded=embedded, key=wish.key)

    def settle(self) -> None:
        """Have Milvus make the index that suits what is there now, and measure it.

        While Milvus makes another one, nobody can search.
        """
        plan = self.check_fits(self._state.vectors)
        if plan.key == self._state.kind:
            return
        self._lease.renew()
        params = params_of(plan, self._state.vectors)
        index = index_params(self._client.pymilvus, "vector", plan.key, params)
        name = collection_of(self._client, self._state, PATCHES)
        self._client.index_again(name, "vector", index)
        state = replace(self._state, kind=plan.key, params=params)
        self._write_state(replace(state, recall=measure_recall(self._client, state)))

    def _write_state(self, state: State) -> None:
        self._lease.renew()
        self._state = self._seen.state = write_state(self._client, state)

    def _inputs(self, content: int) -> list[Note]:
        """What is noted of the same bytes, read the same way, and was visible before."""
        if self._asked[0] != content:
            self._asked = (content, list(self._notes.of_content(content)))
        return self._asked[1]

    @property
    def _notes(self) -> Notes:
        # What this sink has written it knows; what was there before was seen when it opened.
        return Notes(self._client, self._state, strong=False)

    def _take(self, row: NewRow) -> None:
        self._numbers.patch += 1
        numbered = Numbered(self._numbers.patch, self._source(row), row)
        self._waiting.rows.append(numbered)
        self._waiting.size_bytes += row.vector.nbytes + len(row.thumbnail or b"") * 4 // 3 + 200
        if row.patch.label is not None:
            note = label_note(numbered.thing, row.patch.label, row.input)
            self._waiting.notes[note.id] = note
        if self._added and self._added[-1][0] == row.input:
            self._added[-1] = (row.input, self._added[-1][1] + 1)
        else:
            self._added.append((row.input, 1))
        self._seen.add(numbered)

    def _source(self, row: NewRow) -> int:
        key = origin_key(row.patch.origin)
        number = self._known_source(key)
        if number is None:
            self._numbers.source += 1
            number = self._numbers.source
            self._sources[key] = (number, row.input)
            note = source_note(number, key, row.patch.origin, row.input)
            self._waiting.notes[note.id] = note
        return number

    def _known_source(self, key: int) -> int | None:
        """The number of an image or a video, None where it is new."""
        if key not in self._sources and key not in self._absent:
            for note in self._notes.of_kind(SOURCE, equal("content", key)):
                self._sources[key] = (note.number, note.input)
            if key not in self._sources:
                self._absent.add(key)
        number, _ = self._sources.get(key, (None, 0))
        return number

    def _send(self) -> None:
        """Write what waits; done twice it comes to the same."""
        if not (self._waiting.rows or self._waiting.notes):
            return
        self._lease.renew()
        waiting = self._waiting
        pictures = [picture for row in waiting.rows if (picture := row.as_thumbnail())]
        self._notes.write(waiting.notes.values())
        self._client.upsert(self._name(THUMBNAILS), pictures)
        self._client.upsert(self._name(PATCHES), [row.as_patch() for row in waiting.rows])
        self._waiting = _Waiting()

    def _name(self, kind: str) -> str:
        return collection_of(self._client, self._state, kind)


def sweep(client: MilvusClient, state: State, inputs: int) -> None:
    """Delete what came with inputs above this one, and is not visible."""
    name = collection_of(client, state, NOTES)
    client.delete(name, above("input", inputs))
    for kind in (PATCHES, THUMBNAILS):
        beyond = all_of(above("id", state.patches), above("input", inputs))
        client.delete(collection_of(client, state, kind), beyond)
