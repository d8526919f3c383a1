"""Looking after an index in Milvus: what it holds, whether it is whole, taking sources out."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from indexes.build.remove import (
    GLOB,
    Removal,
    no_camera,
    no_source,
    nothing_named,
    spellings,
)
from indexes.build.verify import Problem, Verification
from indexes.info import IndexInfo
from indexes.milvus.address import MilvusAddress
from indexes.milvus.client import MilvusClient, connect
from indexes.milvus.expressions import above
from indexes.milvus.layout import NOTES, PATCHES, THUMBNAILS
from indexes.milvus.note_tables import note_tables
from indexes.milvus.notes import INPUT, LABEL, SOURCE, Notes
from indexes.milvus.remove import going_with, remove_sources, sources_of_inputs
from indexes.milvus.state import State, collection_of, read_state
from indexes.milvus.store import open_milvus
from indexes.milvus.writing import milvus_editing
from indexes.sources import printable
from toolkit.errors import InputError, MismatchError
from toolkit.workspace import sha256_file

_ANEW = "Build the index anew: vr index build --overwrite."
_LISTED = 20  # problems of one kind


def info(address: MilvusAddress) -> IndexInfo:
    """Open and check an index. Raises InputError, MismatchError, StorageError, MissingError."""
    with closing(open_milvus(address)) as store:
        state, notes = store.state, Notes(store.client, store.state)
        memory = state.vectors * state.card.dim * 4
        return IndexInfo(
            index=address.text,
            vectors=len(store),
            dim=state.card.dim,
            kind=state.kind.lower().replace("_", "-"),
            key=state.kind,
            size_bytes=_size_bytes(address),
            memory_bytes=memory,
            model=state.card.fingerprint,
            segments=1 if state.vectors else 0,
            recall_at_10=state.recall if state.vectors else None,
            removed=0,
            wish=state.wish,
            counts={
                "inputs": sum(1 for _ in notes.of_kind(INPUT)),
                "sources": sum(1 for _ in notes.of_kind(SOURCE)),
                "tracks": len(_tracks(store.client, state)),
                "labels": sum(1 for _ in notes.of_kind(LABEL)),
            },
        )


def _tracks(client: MilvusClient, state: State) -> set[int]:
    rows = client.rows(collection_of(client, state, PATCHES), state.patches_seen, ["thing"])
    return {thing for row in rows if (thing := int(row["thing"])) > 0}


def _size_bytes(address: MilvusAddress) -> int:
    """Bytes of the engine's files; 0 for a server, which does not say."""
    if address.folder is None:
        return 0
    return sum(path.stat().st_size for path in address.folder.iterdir() if path.is_file())


def remove(
    address: MilvusAddress,
    sources: Sequence[str],
    cameras: Sequence[str] = (),
    *,
    dry_run: bool = False,
    wait_s: float = 0.0,
) -> Removal:
    """Remove images and videos with all that came from them; see `indexes.build.remove`."""
    if not sources and not cameras:
        raise nothing_named()
    if dry_run:
        with connect(address, wait_s) as client:
            return _remove(client, read_state(client), (sources, cameras), dry_run=True)
    with milvus_editing(address, wait_s) as (client, state):
        return _remove(client, state, (sources, cameras), dry_run=False)


def _remove(
    client: MilvusClient,
    state: State,
    named: tuple[Sequence[str], Sequence[str]],
    *,
    dry_run: bool,
) -> Removal:
    notes = Notes(client, state)
    with note_tables(notes) as tables:
        chosen = Choice(client, state, tables).of(*named)
    going = going_with(client, state, sorted(chosen))
    if not dry_run:
        remove_sources(client, state, sorted(chosen))
    return Removal(
        index=client.name,
        sources=tuple(sorted(chosen.values())),
        vectors=going.patches,
        thumbnails=going.thumbnails,
        labels=len(going.labels),
        read_again=tuple(str(note.described["path"]) for note, keeps in going.inputs if keeps),
        waiting=0,
    )


class Choice:
    """The sources that a person means: numbers with paths."""

    def __init__(self, client: MilvusClient, state: State, tables: sqlite3.Connection) -> None:
        self._client = client
        self._state = state
        self._tables = tables

    def of(self, sources: Sequence[str], cameras: Sequence[str]) -> dict[int, str]:
        """By names, patterns, contents and cameras. Raises InputError for one that names none."""
        chosen: dict[int, str] = {}
        for text in sources:
            found = self._by_name(text) or self._by_file(Path(text))
            if not found:
                raise no_source(self._client.name, text)
            chosen |= found
        for camera in cameras:
            found = self._select("camera = ?1", camera)
            if not found:
                known = self._tables.execute(
                    "SELECT DISTINCT camera FROM sources WHERE camera IS NOT NULL LIMIT 5"
                )
                raise no_camera(self._client.name, camera, [name for (name,) in known])
            chosen |= found
        return chosen

    def _by_name(self, text: str) -> dict[int, str]:
        for spelling in spellings(text):
            if found := self._of_sources_and_inputs("path = ?1", spelling):
                return found
        if GLOB.isdisjoint(text):
            return {}
        return self._of_sources_and_inputs("path GLOB ?1", printable(text))

    def _by_file(self, path: Path) -> dict[int, str]:
        if not path.is_file():
            return {}
        try:
            digest = sha256_file(path)
        except OSError as error:
            raise InputError(f"Cannot read {printable(path)}: {error.strerror}.") from error
        return self._of_sources_and_inputs("sha256 = ?1", digest)

    def _of_sources_and_inputs(self, where: str, value: str) -> dict[int, str]:
        inputs = self._tables.execute(f"SELECT id FROM inputs WHERE {where}", (value,)).fetchall()
        brought = sources_of_inputs(self._client, self._state, [key for (key,) in inputs])
        paths = dict(self._tables.execute("SELECT id, path FROM sources"))
        return self._select(where, value) | {key: paths[key] for key in brought}

    def _select(self, where: str, value: str) -> dict[int, str]:
        return dict(self._tables.execute(f"SELECT id, path FROM sources WHERE {where}", (value,)))


def verify(address: MilvusAddress) -> Verification:
    """Read and check every row but the vectors themselves; nothing is changed.

    Raises InputError where there is no index, StorageError, MissingError.
    """
    with connect(address) as client:
        try:
            state = read_state(client)
            problems = tuple(_problems(client, state))
        except MismatchError as error:
            damage = Problem(error.problem, error.mend)
            return Verification(address.text, 0, 0, 0, (damage,))
        return Verification(
            index=address.text,
            vectors=state.vectors,
            segments=1 if state.vectors else 0,
            bytes=_size_bytes(address),
            problems=problems,
            leftovers=tuple(_leftovers(client, state)),
        )


def _problems(client: MilvusClient, state: State) -> Iterator[Problem]:
    notes = Notes(client, state)
    sources = {note.number for note in notes.of_kind(SOURCE)}
    inputs = {note.number for note in notes.of_kind(INPUT)}
    rows = client.rows(
        collection_of(client, state, PATCHES), state.patches_seen, ["id", "source", "input"]
    )
    ids: set[int] = set()
    count = 0
    wrong: dict[str, list[int]] = {"source": [], "input": []}
    for row in rows:
        count += 1
        ids.add(int(row["id"]))
        for field, known in (("source", sources), ("input", inputs)):
            if int(row[field]) not in known:
                wrong[field].append(int(row["id"]))
    if count != state.vectors:
        yield _problem(client, f"{count} patches are there, and {state.vectors} should be")
    if len(ids) != count:
        yield _problem(client, f"{count - len(ids)} patches are there more than once")
    for field, patches in wrong.items():
        if patches:
            some = ", ".join(map(str, sorted(patches)[:_LISTED]))
            yield _problem(client, f"the {field} of these patches is not known: {some}")


def _problem(client: MilvusClient, what: str) -> Problem:
    return Problem(f"{client.name}: {what}.", _ANEW)


def _leftovers(client: MilvusClient, state: State) -> Iterator[str]:
    """Rows that a kill left, which the next writer deletes."""
    for kind, beyond in (
        (PATCHES, above("id", state.patches)),
        (THUMBNAILS, above("id", state.patches)),
        (NOTES, above("input", state.inputs)),
    ):
        count = client.count(collection_of(client, state, kind), beyond)
        if count:
            yield f"{count} {kind}"
    if state.removed:
        yield f"the rows of {len(state.removed)} removed sources"
