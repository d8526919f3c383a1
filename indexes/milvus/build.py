"""Build an index in Milvus: the same sources, embedded the same way, kept elsewhere."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from indexes.build.budget import Wish
from indexes.build.build import fill, find_all, nothing_found
from indexes.build.estimate import expect, not_listed
from indexes.build.filling import OnProgress
from indexes.build.planning import BuildPlan
from indexes.build.settings import BuildReport, BuildSettings
from indexes.catalog.model_check import check_same_model
from indexes.milvus.address import MilvusAddress
from indexes.milvus.indexing import plan_milvus
from indexes.milvus.notes import FORGOTTEN, INPUT, Notes
from indexes.milvus.store import MilvusStore, open_milvus
from indexes.milvus.writing import milvus_sink
from toolkit.embedding import Embedder
from toolkit.errors import InputError
from toolkit.model_card import ModelCard


def build(
    address: MilvusAddress,
    sources: Sequence[Path],
    embedder: Embedder,
    settings: BuildSettings | None = None,
    on_progress: OnProgress | None = None,
) -> BuildReport:
    """Index what is new in the sources, as `indexes.build.build.build` does in a folder.

    Raises what that raises, and StorageError where Milvus cannot be reached, MissingError
    without its packages.
    """
    settings = settings or BuildSettings()
    found, unreadable = find_all(sources, settings.reading)
    with milvus_sink(
        address, embedder.card, overwrite=settings.overwrite, wait_s=settings.wait_s
    ) as sink:
        sink.wish(settings.wish)
        sink.check_fits(max(expect(found, settings.reading).vectors, sink.state.vectors))

        def check() -> None:
            sink.check_fits(sink.state.vectors)

        task = fill(sink, found, embedder, settings, on_progress, check)
        if sink.is_empty():
            raise nothing_found(sources, [*unreadable, *task.quarantined])
        sink.settle()
    return task.report(address.text, unreadable)


def plan_build(
    address: MilvusAddress, sources: Sequence[Path], card: ModelCard, settings: BuildSettings
) -> BuildPlan:
    """What a build would make; the sources are looked at, and none is read.

    Raises what `build` raises before it embeds.
    """
    found, _ = find_all(sources, settings.reading)
    there, wish = 0, settings.wish or Wish()
    store = None if settings.overwrite else _open_if_there(address)
    if store is not None:
        with closing(store):
            check_same_model(address.text, store.card, card)
            there, wish = len(store), settings.wish or store.state.wish
            found = not_listed(found, _read_before(store))
    expected = expect(found, settings.reading)
    embedded = address.folder is not None
    plan = plan_milvus(
        there + expected.vectors, card.dim, wish.budget, embedded=embedded, key=wish.key
    )
    return BuildPlan(address.text, there, expected, wish, plan)


def _open_if_there(address: MilvusAddress) -> MilvusStore | None:
    try:
        return open_milvus(address)
    except InputError:  # there is no index
        return None


def _read_before(store: MilvusStore) -> Iterator[tuple[str, str, str]]:
    """Path, kind and reading of what was read, and is there as a whole."""
    notes = Notes(store.client, store.state)
    forgotten = {note.number for note in notes.of_kind(FORGOTTEN)}
    for note in notes.of_kind(INPUT):
        if note.number not in forgotten:
            text = note.described
            yield text["path"], text["kind"], text["reading"]
