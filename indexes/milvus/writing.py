"""Opening an index in Milvus for its one writer."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from indexes.catalog.model_check import check_same_model
from indexes.milvus.address import MilvusAddress
from indexes.milvus.client import MilvusClient, connect
from indexes.milvus.expressions import equal
from indexes.milvus.layout import KINDS, PATCHES, index_params
from indexes.milvus.lease import writing_lease
from indexes.milvus.remove import finish_removal
from indexes.milvus.sink import MilvusSink, sweep
from indexes.milvus.state import (
    State,
    collection_of,
    drop_other_generations,
    empty_state,
    find_state,
    make_generation,
    make_state_collection,
    read_state,
)
from toolkit.errors import StorageError
from toolkit.model_card import ModelCard


@contextmanager
def milvus_sink(
    address: MilvusAddress, card: ModelCard, *, overwrite: bool = False, wait_s: float = 0.0
) -> Iterator[MilvusSink]:
    """Open an index in Milvus for its one writer, and make it where needed.

    What was not committed is never seen, and deleted by the next writer. Raises StorageError
    where another writes it for longer than `wait_s` or Milvus does not answer, MismatchError
    where it is of another model, MissingError without the packages.
    """
    with connect(address, wait_s, make=True) as client:
        make_state_collection(client)
        with writing_lease(client, wait_s) as lease:
            before = find_state(client)
            if before is not None and not overwrite:
                check_same_model(client.name, before.card, card)
            drop_other_generations(client, before)
            state = _opened(client, before, card, overwrite=overwrite)
            sink = MilvusSink(client, state, lease)
            try:
                yield sink
            finally:
                if not sink.committed and (before is None or overwrite):
                    with suppress(StorageError):  # else the next writer does it
                        drop_other_generations(client, before)


def _opened(
    client: MilvusClient, before: State | None, card: ModelCard, *, overwrite: bool
) -> State:
    """What a writer starts from: collections that hold what is visible, and nothing else."""
    if before is None or overwrite:
        state = empty_state(card, before)
        make_generation(client, state)
        return state
    index = index_params(client.pymilvus, "vector", before.kind, before.params)
    client.mend_index(collection_of(client, before, PATCHES), "vector", index)
    state = finish_removal(client, before)
    sweep(client, state, state.inputs)
    for kind in KINDS:  # from here on what is there is seen without waiting for it
        client.count(collection_of(client, state, kind), equal("id", 0))
    return state


@contextmanager
def milvus_editing(
    address: MilvusAddress, wait_s: float = 0.0
) -> Iterator[tuple[MilvusClient, State]]:
    """An index that is there, for its one writer.

    Raises InputError where there is no index, StorageError and MismatchError as `milvus_sink`.
    """
    with connect(address, wait_s) as client:
        read_state(client)
        with writing_lease(client, wait_s):
            before = read_state(client)
            drop_other_generations(client, before)
            yield client, _opened(client, before, before.card, overwrite=False)
