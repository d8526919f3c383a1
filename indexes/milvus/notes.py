"""What an index in Milvus knows beside the patches: rows of numbers with one text.

    input    what was read: content is its bytes and reading
    source   an image or a video: number is what patches name it by, content what it is
    label    number is the thing, content the label; that of the highest input counts
    shared   an input that had a sighting which another had brought in: content is its source
    forgotten  an input that lost a source, and is read again by the next build

Each belongs to the input that brought it, and is visible with it.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from indexes.catalog.patch_rows import identity
from indexes.milvus.client import MilvusClient, Row
from indexes.milvus.expressions import all_of, among, equal
from indexes.milvus.keys import key_of
from indexes.milvus.layout import NOTES, NOTHING
from indexes.milvus.state import State, collection_of
from indexes.sources import Origin, Source, printable

INPUT, SOURCE, LABEL, SHARED, FORGOTTEN = 1, 2, 3, 4, 5
FIELDS = ["id", "kind", "number", "input", "content", "text"]
_AT_ONCE = 1000  # numbers in one condition


@dataclass(frozen=True, slots=True)
class Note:
    """One row; `id` follows from what it says, so that writing it twice changes nothing."""

    id: int
    kind: int
    number: int
    input: int
    content: int
    text: str

    def as_row(self) -> Row:
        """As Milvus takes it."""
        return {**{name: getattr(self, name) for name in FIELDS}, "nothing": NOTHING}

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """The inverse of as_row."""
        numbers = {name: int(row[name]) for name in FIELDS if name != "text"}
        return cls(**numbers, text=str(row["text"]))

    @property
    def described(self) -> dict[str, Any]:
        """The text of an input or a source, taken apart."""
        return dict(json.loads(self.text))


def content_of(source: Source, sha256: str) -> int:
    """The number of bytes and how they are read."""
    return key_of("input", sha256, source.kind, source.reading)


def origin_key(origin: Origin) -> int:
    """The number of what an image or a video is."""
    return key_of("source", identity(origin), origin.kind)


def input_note(number: int, source: Source, sha256: str) -> Note:
    """A source that was read."""
    text = {
        "path": printable(source.path),
        "sha256": sha256,
        "kind": source.kind,
        "reading": source.reading,
    }
    content = content_of(source, sha256)
    return Note(key_of("note", INPUT, number), INPUT, number, number, content, _json(text))


def source_note(number: int, key: int, origin: Origin, input_number: int) -> Note:
    """An image or a video that hits may name."""
    text = {
        "path": origin.path,
        "sha256": origin.sha256,
        "kind": origin.kind,
        "camera": origin.camera,
    }
    return Note(key_of("note", SOURCE, key), SOURCE, number, input_number, key, _json(text))


def label_note(thing: int, label: str, input_number: int) -> Note:
    """A label that came with a source."""
    own = key_of("note", LABEL, thing, input_number)
    return Note(own, LABEL, thing, input_number, key_of("label", label), label)


def shared_note(input_number: int, origin: Origin) -> Note:
    """An input with a sighting of a source that is there already."""
    key = origin_key(origin)
    return Note(key_of("note", SHARED, input_number, key), SHARED, 0, input_number, key, "")


def forgotten_note(note: Note) -> Note:
    """That an input lost a source."""
    own = key_of("note", FORGOTTEN, note.number)
    return Note(own, FORGOTTEN, note.number, note.input, note.content, "")


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False)


class Notes:
    """The notes of one generation, those that a state makes visible.

    strong: see `MilvusClient.rows`.
    """

    def __init__(self, client: MilvusClient, state: State, *, strong: bool = True) -> None:
        self._client = client
        self._state = state
        self._strong = strong
        self._name = collection_of(client, state, NOTES)

    def write(self, notes: Iterable[Note]) -> None:
        """Put notes down."""
        self._client.upsert(self._name, [note.as_row() for note in notes])

    def delete(self, condition: str) -> None:
        """Delete the notes that a condition names, visible or not."""
        self._client.delete(self._name, condition)

    def of_kind(self, kind: int, condition: str = "") -> Iterator[Note]:
        """The visible notes of a kind, in no order."""
        seen = all_of(self._state.notes_seen, equal("kind", kind), condition)
        rows = self._client.rows(self._name, seen, FIELDS, strong=self._strong)
        yield from map(Note.from_row, rows)

    def of_content(self, content: int) -> Iterator[Note]:
        """The visible inputs of this content, and which of them are forgotten."""
        kinds = among("kind", [INPUT, FORGOTTEN])
        seen = all_of(self._state.notes_seen, kinds, equal("content", content))
        rows = self._client.rows(self._name, seen, FIELDS, strong=self._strong)
        yield from map(Note.from_row, rows)

    def where(self, kind: int, field: str, values: Sequence[int]) -> Iterator[Note]:
        """The visible notes of a kind whose field is one of the values."""
        for start in range(0, len(values), _AT_ONCE):
            yield from self.of_kind(kind, among(field, values[start : start + _AT_ONCE]))

    def labels_of(self, things: Sequence[int]) -> dict[int, str]:
        """The label that counts of each thing that has one."""
        newest: dict[int, Note] = {}
        for note in self.where(LABEL, "number", things):
            if note.number not in newest or newest[note.number].input < note.input:
                newest[note.number] = note
        return {thing: note.text for thing, note in newest.items()}
