"""The calls to Milvus that an index needs, with their limits, and errors with a remedy."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from indexes.milvus.address import TOKEN_VARIABLE, MilvusAddress, no_index
from indexes.milvus.engine import FILE_NAME, engine, import_pymilvus
from indexes.milvus.expressions import among
from toolkit.embedding import Embeddings
from toolkit.errors import StorageError, VrError

MOST_HITS = 16_384  # that one search gives, and rows that one page holds
_PAGE = 4096
_REQUEST_BYTES = 8 << 20  # of rows in one request; a server takes 64 MiB
_ANSWERS = 1 << 20  # hits in one answer
_CONNECT_S = 10.0
_CALL_S = 120.0  # with all retries of what is transient
_LOAD_S = 1800.0

Row = dict[str, Any]


class MilvusClient:
    """An open connection. Every call raises StorageError where Milvus does not do it.

    The package behind it tries again where the network fails, for as long as the time given;
    so rows are written by `upsert`, which may be done twice.
    """

    def __init__(self, address: MilvusAddress, pymilvus: Any, connected: Any) -> None:
        self.address = address
        self._pymilvus = pymilvus
        self._client = connected
        self._loaded: set[str] = set()

    @property
    def name(self) -> str:
        """The address, for people."""
        return self.address.text

    @property
    def pymilvus(self) -> Any:
        """The package, for schemas."""
        return self._pymilvus

    @property
    def embedded(self) -> bool:
        """True for the engine in a folder."""
        return self.address.folder is not None

    def collections(self) -> list[str]:
        """The names of the collections of the database."""
        with self._errors():
            return list(self._client.list_collections(timeout=_CALL_S))

    def create(
        self, name: str, schema: Any, index: Any, properties: Mapping[str, str] | None = None
    ) -> None:
        """Make a collection, and its index, and load it. What is written is seen at once."""
        with self._errors():
            self._client.create_collection(
                name,
                schema=schema,
                consistency_level="Strong",
                properties=dict(properties or {}),
                timeout=_CALL_S,
            )
            self._client.create_index(name, index, sync=False, timeout=_CALL_S)
        self.load(name)

    def load(self, name: str) -> None:
        """Have a collection ready to be asked; at once where it is."""
        if name not in self._loaded:
            with self._errors():
                self._client.load_collection(name, timeout=_LOAD_S)
            self._loaded.add(name)

    def index_again(self, name: str, field: str, index: Any) -> None:
        """Put another index in the place of the one over a field; meanwhile nobody can search."""
        with self._errors():
            self._client.release_collection(name, timeout=_CALL_S)
            self._loaded.discard(name)
            self._client.drop_index(name, field, timeout=_CALL_S)
            self._client.create_index(name, index, timeout=_LOAD_S)
        self.load(name)

    def mend_index(self, name: str, field: str, index: Any) -> None:
        """Make the index over a field where a kill left none: without one nothing loads."""
        with self._errors():
            if not self._client.list_indexes(name, field, timeout=_CALL_S):
                self._client.create_index(name, index, timeout=_LOAD_S)

    def drop(self, name: str) -> None:
        """Delete a collection and all that is in it."""
        with self._errors():
            self._client.drop_collection(name, timeout=_CALL_S)
        self._loaded.discard(name)

    def upsert(self, name: str, rows: Sequence[Row]) -> None:
        """Write rows, in the place of those of the same ids."""
        for part in _requests(rows):
            with self._errors():
                self._client.upsert(name, part, timeout=_CALL_S)

    def delete(self, name: str, condition: str) -> None:
        """Delete the rows that a condition names."""
        self.load(name)
        with self._errors():
            self._client.delete(name, filter=condition, timeout=_CALL_S)

    def count(self, name: str, condition: str) -> int:
        """How many rows a condition names."""
        self.load(name)
        with self._errors():
            found = self._client.query(
                name,
                filter=condition,
                output_fields=["count(*)"],
                consistency_level="Strong",
                timeout=_CALL_S,
            )
            return int(found[0]["count(*)"])

    def get(self, name: str, ids: Sequence[int], fields: Sequence[str]) -> Iterator[Row]:
        """The rows of these ids; of those that are there."""
        for start in range(0, len(ids), _PAGE):
            part = sorted({int(key) for key in ids[start : start + _PAGE]})
            self.load(name)
            with self._errors():
                yield from self._client.query(
                    name,
                    filter=among("id", part),
                    output_fields=list(fields),
                    consistency_level="Strong",
                    timeout=_CALL_S,
                )

    def rows(
        self, name: str, condition: str, fields: Sequence[str], *, strong: bool = True
    ) -> Iterator[Row]:
        """All rows that a condition names, in no order; memory holds one page of them.

        strong: see what was written up to now; else perhaps not what came in the last
        seconds, but at once.
        """
        self.load(name)
        with self._errors():
            few = self._client.query(
                name,
                filter=condition,
                output_fields=list(fields),
                limit=_PAGE,
                consistency_level="Strong" if strong else "Bounded",
                timeout=_CALL_S,
            )
        if len(few) < _PAGE:  # one request, where an iterator makes several
            yield from few
            return
        yield from self._pages(name, condition, fields)

    def _pages(self, name: str, condition: str, fields: Sequence[str]) -> Iterator[Row]:
        with self._errors():
            pages = self._client.query_iterator(
                name,
                batch_size=_PAGE,
                filter=condition,
                output_fields=list(fields),
                consistency_level="Strong",
                timeout=_CALL_S,
            )
        try:
            while True:
                with self._errors():
                    found = pages.next()
                if not found:
                    return
                yield from found
        finally:
            pages.close()

    def search(
        self, name: str, queries: Embeddings, count: int, condition: str, params: Mapping[str, Any]
    ) -> Iterator[list[tuple[float, int, int]]]:
        """For each query (Q, D) its best: (score, id, thing) by falling score."""
        self.load(name)
        step = max(1, min(1024, _ANSWERS // max(count, 1)))
        for start in range(0, len(queries), step):
            part = np.ascontiguousarray(queries[start : start + step])
            with self._errors():
                answers = self._client.search(
                    name,
                    data=list(part),
                    filter=condition,
                    limit=count,
                    anns_field="vector",
                    output_fields=["thing"],
                    search_params={"metric_type": "IP", "params": dict(params)},
                    consistency_level="Strong",
                    timeout=_CALL_S,
                )
            for hits in answers:
                yield [
                    (float(h["distance"]), int(h["id"]), int(h["entity"]["thing"])) for h in hits
                ]

    def _errors(self) -> Any:
        return milvus_errors(self._pymilvus, self.name)


@contextmanager
def connect(
    address: MilvusAddress, wait_s: float = 0.0, *, make: bool = False
) -> Iterator[MilvusClient]:
    """Open a connection.

    wait_s: for an embedded engine that another process has; make: the folder of an engine,
    where it is not there. Raises InputError where it is not there and not to be made,
    MissingError where a package is not installed, StorageError where there is no server or it
    does not take the token.
    """
    if address.folder is not None and not make and not (address.folder / FILE_NAME).is_file():
        raise no_index(address.text)
    pymilvus = import_pymilvus()
    if address.folder is None:
        with _connected(address, pymilvus, address.server) as client:
            yield client
        return
    with engine(address.folder, wait_s) as socket, _connected(address, pymilvus, socket) as client:
        yield client


@contextmanager
def _connected(address: MilvusAddress, pymilvus: Any, uri: str) -> Iterator[MilvusClient]:
    with milvus_errors(pymilvus, address.text):
        client = pymilvus.MilvusClient(
            uri,
            token="" if address.folder else os.environ.get(TOKEN_VARIABLE, ""),
            db_name=address.database,
            timeout=_CONNECT_S,
        )
    try:
        yield MilvusClient(address, pymilvus, client)
    finally:
        client.close()


@contextmanager
def milvus_errors(pymilvus: Any, name: str) -> Iterator[None]:
    """Turn what Milvus complains of into a StorageError with a remedy."""
    import grpc

    try:
        yield
    except VrError:
        raise
    except (pymilvus.MilvusException, grpc.RpcError) as error:
        raise _translated(name, error) from error


def _translated(name: str, error: Exception) -> StorageError:
    said = str(getattr(error, "message", "") or getattr(error, "details", lambda: "")() or error)
    text = " ".join(said.split())[:300]
    token = os.environ.get(TOKEN_VARIABLE)
    if token:
        text = text.replace(token, "...")
    if re.search(r"fail(ed)? connecting|unavailable|connection refused|deadline", text, re.I):
        return StorageError(
            f"Milvus cannot be reached at {name}: {text}.",
            mend="Start it, or check the address and the network.",
        )
    if re.search(r"auth|permission|privilege", text, re.I):
        return StorageError(
            f"Milvus at {name} does not let this user in: {text}.",
            mend=f"Set {TOKEN_VARIABLE} to a token or to user:password.",
        )
    if re.search(r"collection not (found|loaded)|can('t| ?not) find", text, re.I):
        return StorageError(
            f"The index {name} was built anew or deleted meanwhile: {text}.", mend="Try it again."
        )
    return StorageError(
        f"Milvus at {name} says: {text}.", mend="Look at its log; if all is well, try again."
    )


def _requests(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows in requests that are not too large."""
    part: list[Row] = []
    size = 0
    for row in rows:
        part.append(row)
        size += sum(_bytes(value) for value in row.values())
        if size >= _REQUEST_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _bytes(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    return len(value) if isinstance(value, str) else 8
