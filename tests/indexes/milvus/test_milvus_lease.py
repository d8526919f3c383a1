"""Two writers of one index."""

import json

import pytest

from indexes.milvus.client import connect
from indexes.milvus.lease import LEASE_S, PROCESS, Lease
from indexes.milvus.state import make_state_collection, put_row
from toolkit.errors import MismatchError, StorageError


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(address):
    with connect(address) as opened:
        make_state_collection(opened)
        yield opened


@pytest.fixture
def server(client, monkeypatch):
    """The same, taken for a server: leases of other processes count, and are waited for."""
    monkeypatch.setattr(type(client), "embedded", False)
    monkeypatch.setattr("indexes.milvus.lease._SETTLE_S", 0.0)
    return client


def put(client, row: int = -5, **changes) -> None:
    content = {"writer": "other", "process": "host 1 abc", "until_s": 1_000_100.0} | changes
    put_row(client, row, json.dumps(content))


def rows(client) -> list[dict]:
    name = f"{client.address.prefix}_state"
    return [json.loads(row["text"]) for row in client.rows(name, "id < 0", ["id", "text"])]


def test_one_after_the_other(client, clock, monkeypatch) -> None:
    monkeypatch.setattr("indexes.milvus.lease._ASK_AGAIN_S", 0.01)
    first, second = Lease(client, clock), Lease(client, clock)
    first.take()
    with pytest.raises(StorageError, match="is writing"):
        second.take()
    with pytest.raises(StorageError, match="is writing"):
        second.take(wait_s=0.02)
    first.give_up()
    second.take()
    first.give_up()  # it is not its own any more
    with pytest.raises(StorageError, match="is writing"):
        first.take()
    second.give_up()
    assert rows(client) == []


def test_the_right_of_a_killed_one_ends(server, clock) -> None:
    Lease(server, clock).take()
    later = Lease(server, clock)
    clock.now_s += LEASE_S - 1
    with pytest.raises(StorageError):
        later.take()
    clock.now_s += 2
    later.take()
    assert len(rows(server)) == 1


def test_one_that_was_away_writes_no_more(server, clock) -> None:
    away, other = Lease(server, clock), Lease(server, clock)
    away.take()
    away.renew()
    clock.now_s += LEASE_S + 1
    other.take()
    with pytest.raises(StorageError, match="has begun to write"):
        away.renew()
    other.renew()


def test_one_that_was_away_and_is_alone_goes_on(server, clock) -> None:
    away, other = Lease(server, clock), Lease(server, clock)
    away.take()
    clock.now_s += 10 * LEASE_S
    away.renew()
    with pytest.raises(StorageError):
        other.take()


def test_renewing_keeps_it(server, clock) -> None:
    holder, other = Lease(server, clock), Lease(server, clock)
    holder.take()
    for _ in range(6):
        clock.now_s += LEASE_S / 2
        holder.renew()
        assert len(rows(server)) == 1
        with pytest.raises(StorageError):
            other.take()


@pytest.mark.parametrize(("name", "stays"), [("0", False), ("~", True)])
def test_of_two_at_once_the_lower_name_stays(server, clock, monkeypatch, name, stays) -> None:
    first = Lease(server, clock)
    waits = []

    def the_other_comes(seconds: float) -> None:
        waits.append(seconds)
        put(server, until_s=clock.now_s + LEASE_S, writer=name)

    monkeypatch.setattr("indexes.milvus.lease.time.sleep", the_other_comes)
    monkeypatch.setattr("indexes.milvus.lease._SETTLE_S", 2.0)
    if stays:
        first.take()
    else:
        with pytest.raises(StorageError, match="is writing"):
            first.take()
    assert waits == [2.0]
    writers = {row["writer"] for row in rows(server)}
    assert (first._writer in writers) == stays


def test_the_lease_of_a_dead_process_on_this_engine(client, clock) -> None:
    put(client, until_s=clock.now_s + 100)
    Lease(client, clock).take()
    assert [row["process"] for row in rows(client)] == [PROCESS]


def test_the_lease_of_another_machine(server, clock) -> None:
    put(server)
    with pytest.raises(StorageError, match="host 1 abc"):
        Lease(server, clock).take()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"writer": "a", "process": "b"}'])
def test_a_damaged_lease(client, clock, text: str) -> None:
    put_row(client, -7, text)
    with pytest.raises(MismatchError, match="lease is not readable"):
        Lease(client, clock).take()
