"""The row that makes a change to an index in Milvus visible.

Rows are written first and counted afterwards: a patch is there when its id is not above
`patches`, a note when its input is not above `inputs`. What a killed writer left lies above
and is swept by the next one.

No row is ever changed: Milvus deletes the old one and inserts the new one, and a reader or a
kill may come in between. A new state is a row of a higher number, and the highest counts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from indexes.build.budget import Wish
from indexes.milvus.address import no_index
from indexes.milvus.client import MilvusClient
from indexes.milvus.expressions import all_of, at_most, none_of
from indexes.milvus.layout import (
    KINDS,
    NOTHING,
    PROPERTIES,
    TEXT_BYTES,
    collection_name,
    generation_of,
    index_params,
    schema_of,
    state_name,
    state_schema,
)
from toolkit.errors import MismatchError, StorageError, UsageError
from toolkit.model_card import ModelCard
from toolkit.workspace import parse_json

VERSION = 1
_STATES = "id > 0"  # the rows below are leases


@dataclass(frozen=True, slots=True)
class State:
    """What is visible.

    generation: of the collections; patches, inputs, sources: the highest numbers that
    count; vectors: how many patches there are; removed: numbers of sources whose removal is
    not finished; kind: Milvus's type of index; params: what it was made with; recall: of
    the true ten nearest, measured when it was made, None where it was not; wish: what the
    index may take; serial: the number of its row.
    """

    card: ModelCard
    generation: int
    patches: int = 0
    inputs: int = 0
    sources: int = 0
    vectors: int = 0
    removed: tuple[int, ...] = ()
    kind: str = "FLAT"
    params: Mapping[str, int] = field(default_factory=dict)
    recall: float | None = 1.0
    wish: Wish = field(default_factory=Wish)
    serial: int = 0

    @property
    def patches_seen(self) -> str:
        """The condition for patches and thumbnails that are visible."""
        return all_of(at_most("id", self.patches), none_of("source", self.removed))

    @property
    def notes_seen(self) -> str:
        """The condition for notes that are visible."""
        return at_most("input", self.inputs)

    def as_text(self) -> str:
        """As it stands in the row."""
        content = {
            "version": VERSION,
            "card": self.card.as_json(),
            **{name: getattr(self, name) for name in _NUMBERS},
            "removed": list(self.removed),
            "kind": self.kind,
            "params": dict(self.params),
            "recall": self.recall,
            "wish": self.wish.as_json(),
        }
        return json.dumps(content, sort_keys=True)

    @classmethod
    def from_text(cls, text: str, name: str) -> Self:
        """The inverse of as_text. Raises MismatchError, also for a newer version."""
        try:
            content = parse_json(text)
            version = content["version"]
            if version == VERSION:
                return cls(
                    card=ModelCard.from_json(content["card"], name),
                    **{key: _count(content[key]) for key in _NUMBERS},
                    removed=tuple(map(_count, content["removed"])),
                    kind=str(content["kind"]),
                    params={str(k): _count(v) for k, v in content["params"].items()},
                    recall=None if content["recall"] is None else float(content["recall"]),
                    wish=Wish.from_json(content["wish"]),
                )
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            raise damaged(name, f"its state is not readable ({error!r})") from error
        raise MismatchError(
            f"The index {name} has version {version!r}; this vr reads version {VERSION}.",
            mend="Use the vr that made it, or build an index with another prefix.",
        )


_NUMBERS = ("generation", "patches", "inputs", "sources", "vectors")


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def damaged(name: str, reason: str) -> MismatchError:
    """The error for an index in Milvus that does not hold what it should."""
    return MismatchError(
        f"The index {name} is damaged: {reason}.",
        mend="Restore it from a copy, or build it again: vr index build --overwrite.",
    )


def find_state(client: MilvusClient) -> State | None:
    """What is visible; None where there is no index. Raises MismatchError."""
    name = state_name(client.address.prefix)
    if name not in client.collections():
        return None
    rows = list(client.rows(name, _STATES, ["id", "text"]))
    if not rows:
        return None
    newest = max(rows, key=lambda row: int(row["id"]))
    state = State.from_text(str(newest["text"]), client.name)
    return replace(state, serial=int(newest["id"]))


def read_state(client: MilvusClient) -> State:
    """What is visible. Raises InputError where there is no index, MismatchError."""
    state = find_state(client)
    if state is None:
        raise no_index(client.name)
    missing = [kind for kind in KINDS if collection_of(client, state, kind) not in names(client)]
    if missing:
        raise damaged(client.name, f"its collection {missing[0]} is not there")
    return state


def names(client: MilvusClient) -> set[str]:
    """The names of all collections of the database."""
    return set(client.collections())


def collection_of(client: MilvusClient, state: State, kind: str) -> str:
    """The collection of this kind that the state speaks of."""
    return collection_name(client.address.prefix, state.generation, kind)


def write_state(client: MilvusClient, state: State) -> State:
    """Make this what is visible; the state with its number."""
    written = replace(state, serial=state.serial + 1)
    put_row(client, written.serial, written.as_text())
    older = all_of(_STATES, at_most("id", state.serial))
    client.delete(state_name(client.address.prefix), older)
    return written


def put_row(client: MilvusClient, row: int, text: str) -> None:
    """Put a new row of the state collection down. Raises StorageError where it is too long."""
    if len(text.encode()) > TEXT_BYTES:
        raise StorageError(
            f"Milvus takes texts of {TEXT_BYTES} bytes, and the model card is longer.",
            mend="Keep the index in a folder, or export the model with a shorter lineage.",
        )
    row_of = {"id": row, "text": text, "nothing": NOTHING}
    client.upsert(state_name(client.address.prefix), [row_of])


def make_state_collection(client: MilvusClient) -> None:
    """Make the collection of the state, where it is not there."""
    name = state_name(client.address.prefix)
    if name not in client.collections():
        flat = index_params(client.pymilvus, "nothing", "FLAT", {})
        client.create(name, state_schema(client.pymilvus), flat)


def make_generation(client: MilvusClient, state: State) -> None:
    """Make the empty collections that a state speaks of."""
    for kind in KINDS:
        if kind == "patches":
            index = index_params(client.pymilvus, "vector", state.kind, state.params)
        else:
            index = index_params(client.pymilvus, "nothing", "FLAT", {})
        schema = schema_of(client.pymilvus, kind, state.card.dim)
        client.create(collection_of(client, state, kind), schema, index, PROPERTIES.get(kind))


def drop_other_generations(client: MilvusClient, state: State | None) -> None:
    """Delete the collections of this index that the state does not speak of."""
    kept = None if state is None else state.generation
    for name in sorted(names(client)):
        generation = generation_of(name, client.address.prefix)
        if generation is not None and generation != kept:
            client.drop(name)


def empty_state(card: ModelCard, before: State | None) -> State:
    """The state of an index without patches, in collections of its own."""
    if before is None:
        return State(card, 1)
    return State(card, before.generation + 1, serial=before.serial)
