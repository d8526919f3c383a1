"""Taking sources out of an index in Milvus.

The state names them first: from then on nobody who opens the index sees them. Then the rows
are deleted, what later steps need last; a removal that was killed is finished by the next
writer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from indexes.milvus.client import MilvusClient
from indexes.milvus.expressions import all_of, among
from indexes.milvus.layout import PATCHES, THUMBNAILS
from indexes.milvus.notes import (
    FORGOTTEN,
    INPUT,
    LABEL,
    SHARED,
    SOURCE,
    Note,
    Notes,
    forgotten_note,
)
from indexes.milvus.state import State, collection_of, write_state

_AT_ONCE = 1000  # numbers in one condition, and sources that one change names


@dataclass(frozen=True, slots=True)
class Going:
    """What goes with some sources: rows of Milvus, the notes of inputs, and what they keep."""

    patches: int
    thumbnails: int
    labels: tuple[Note, ...]
    inputs: tuple[tuple[Note, bool], ...]


def going_with(client: MilvusClient, state: State, sources: Sequence[int]) -> Going:
    """What a removal of these sources would delete."""
    patches = thumbnails = 0
    for part in _parts(sources):
        seen = all_of(state.patches_seen, among("source", part))
        patches += client.count(collection_of(client, state, PATCHES), seen)
        thumbnails += client.count(collection_of(client, state, THUMBNAILS), seen)
    return Going(
        patches,
        thumbnails,
        tuple(_labels_of(client, state, sources)),
        tuple(_inputs_of(client, state, sources)),
    )


def remove_sources(client: MilvusClient, state: State, sources: Sequence[int]) -> State:
    """Remove these sources with all that came from them; the caller holds the lease.

    What brought them in is forgotten, so that building again brings them back.
    """
    for part in _parts(sources):
        seen = all_of(state.patches_seen, among("source", part))
        gone = client.count(collection_of(client, state, PATCHES), seen)
        state = replace(state, removed=tuple(part), vectors=state.vectors - gone)
        state = finish_removal(client, write_state(client, state))
    return state


def finish_removal(client: MilvusClient, state: State) -> State:
    """Delete the rows of the sources that the state calls removed; the state without them."""
    if not state.removed:
        return state
    notes, gone = Notes(client, state), list(state.removed)
    inputs = list(_inputs_of(client, state, gone))
    notes.write(forgotten_note(note) for note, keeps in inputs if keeps)
    lost = [note.number for note, keeps in inputs if not keeps]
    _delete(notes, list(notes.where(INPUT, "number", lost)))
    _delete(notes, list(notes.where(FORGOTTEN, "number", lost)))
    _delete(notes, list(_labels_of(client, state, gone)))
    for kind in (THUMBNAILS, PATCHES):
        client.delete(collection_of(client, state, kind), among("source", gone))
    sources = list(notes.where(SOURCE, "number", gone))
    shared = notes.where(SHARED, "content", [note.content for note in sources])
    _delete(notes, [*sources, *shared])
    return write_state(client, replace(state, removed=()))


def sources_of_inputs(client: MilvusClient, state: State, inputs: Sequence[int]) -> set[int]:
    """The sources that these inputs brought patches of."""
    name = collection_of(client, state, PATCHES)
    found: set[int] = set()
    for part in _parts(inputs):
        seen = all_of(state.patches_seen, among("input", part))
        found |= {int(row["source"]) for row in client.rows(name, seen, ["source"])}
    return found


def _inputs_of(
    client: MilvusClient, state: State, sources: Sequence[int]
) -> Iterator[tuple[Note, bool]]:
    """The inputs that brought these sources, or had sightings of them as well.

    With each, whether it keeps patches of other sources.
    """
    name, notes = collection_of(client, state, PATCHES), Notes(client, state)
    numbers: set[int] = set()
    for part in _parts(sources):
        rows = client.rows(name, among("source", part), ["input"])
        numbers |= {int(row["input"]) for row in rows}
    contents = [note.content for note in notes.where(SOURCE, "number", sources)]
    numbers |= {note.input for note in notes.where(SHARED, "content", contents)}
    gone = set(sources)
    found = notes.where(INPUT, "number", sorted(numbers))
    for note in sorted(found, key=lambda note: note.number):
        rows = client.rows(name, among("input", [note.number]), ["source"])
        yield note, any(int(row["source"]) not in gone for row in rows)


def _labels_of(client: MilvusClient, state: State, sources: Sequence[int]) -> Iterator[Note]:
    """The labels of things that only these sources show."""
    name = collection_of(client, state, PATCHES)
    things: set[int] = set()
    for part in _parts(sources):
        rows = client.rows(name, among("source", part), ["thing"])
        things |= {int(row["thing"]) for row in rows}
    gone = set(sources)
    for part in _parts(sorted(things)):
        labels = list(Notes(client, state).where(LABEL, "number", part))
        labelled = sorted({note.number for note in labels if note.number > 0})
        kept: set[int] = set()
        if labelled:
            rows = client.rows(name, among("thing", labelled), ["thing", "source"])
            kept = {int(row["thing"]) for row in rows if int(row["source"]) not in gone}
        yield from (note for note in labels if note.number not in kept)


def _delete(notes: Notes, going: Sequence[Note]) -> None:
    for part in _parts([note.id for note in going]):
        notes.delete(among("id", part))


def _parts(numbers: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(numbers), _AT_ONCE):
        yield list(numbers[start : start + _AT_ONCE])
