"""Who is writing an index in Milvus: rows that are renewed, for want of a lock.

Milvus has no test-and-set. So a writer puts its name down, waits longer than it takes until
everybody sees it, and looks who else is there: of several that came at once the one with the
lowest name stays. A writer that was away for longer than its lease does all of this again.
In the embedded engine, which serves one process, a lease of another process is of a dead one.
"""

import json
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from indexes.milvus.client import MilvusClient
from indexes.milvus.expressions import among
from indexes.milvus.layout import state_name
from indexes.milvus.state import damaged, put_row
from toolkit.errors import StorageError
from toolkit.workspace import parse_json

LEASE_S = 120.0  # clocks of machines may differ by much less
_RENEW_S = LEASE_S / 4
_SETTLE_S = 2.0
_ASK_AGAIN_S = 0.5

PROCESS = f"{platform.node()} {os.getpid()} {secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Holder:
    """What a row says: who writes, in which process, until when (seconds since 1970)."""

    row: int
    writer: str
    process: str
    until_s: float


class Lease:
    """The right to write an index, for as long as it is renewed."""

    def __init__(self, client: MilvusClient, now: Callable[[], float] = time.time) -> None:
        self._client = client
        self._now = now
        self._writer = secrets.token_hex(8)
        self._until_s = 0.0

    def take(self, wait_s: float = 0.0) -> None:
        """Raises StorageError where another writer has it for longer than `wait_s`."""
        until = time.monotonic() + wait_s
        while (other := self._first_other()) is not None:
            if time.monotonic() >= until:
                raise self._refused(other)
            time.sleep(_ASK_AGAIN_S)
        self._stand()

    def renew(self) -> None:
        """Call it before each write. Raises StorageError where another has taken it over."""
        left_s = self._until_s - self._now()
        if left_s > LEASE_S - _RENEW_S:
            return
        if not any(holder.writer == self._writer for holder in self._holders()):
            raise StorageError(
                f"Another vr has begun to write {self._client.name}.",
                mend="What was committed is safe; run this again when the other is done.",
            )
        if left_s > 0:
            self._write()
        else:
            self._stand()

    def give_up(self) -> None:
        """Let the next one in at once."""
        self._delete(holder for holder in self._holders() if holder.writer == self._writer)

    def _stand(self) -> None:
        """Put the name down, and stay where nobody with a lower one does so too."""
        self._write()
        if not self._client.embedded:
            time.sleep(_SETTLE_S)
        other = self._first_other()
        if other is not None and other.writer < self._writer:
            self.give_up()
            raise self._refused(other)

    def _refused(self, other: Holder) -> StorageError:
        return StorageError(
            f"Another vr is writing {self._client.name} ({other.process}).",
            mend="Wait until it is done and try again; the right of one that was killed ends "
            f"after {LEASE_S:.0f} s.",
        )

    def _first_other(self) -> Holder | None:
        """The other writer of the lowest name; rows of dead ones are deleted."""
        others = [holder for holder in self._holders() if holder.writer != self._writer]
        dead = [holder for holder in others if self._is_dead(holder)]
        self._delete(dead)
        alive = [holder for holder in others if holder not in dead]
        return min(alive, key=lambda holder: holder.writer, default=None)

    def _is_dead(self, holder: Holder) -> bool:
        if self._client.embedded and holder.process != PROCESS:
            return True
        return holder.until_s <= self._now()

    def _holders(self) -> list[Holder]:
        name = state_name(self._client.address.prefix)
        try:
            return [
                Holder(
                    int(row["id"]),
                    str((content := parse_json(row["text"]))["writer"]),
                    str(content["process"]),
                    float(content["until_s"]),
                )
                for row in self._client.rows(name, "id < 0", ["id", "text"])
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(self._client.name, f"its lease is not readable ({error!r})") from error

    def _write(self) -> None:
        """A new row, then the old ones away: there is one of this writer at any time."""
        old = [holder for holder in self._holders() if holder.writer == self._writer]
        until_s = self._now() + LEASE_S
        content = {"writer": self._writer, "process": PROCESS, "until_s": until_s}
        put_row(self._client, -1 - secrets.randbits(62), json.dumps(content))
        self._until_s = until_s
        self._delete(old)

    def _delete(self, holders: Iterable[Holder]) -> None:
        rows = [holder.row for holder in holders]
        if rows:
            self._client.delete(state_name(self._client.address.prefix), among("id", rows))


@contextmanager
def writing_lease(client: MilvusClient, wait_s: float) -> Iterator[Lease]:
    """Hold the right to write; it is given up at the end, whatever happens."""
    lease = Lease(client)
    lease.take(wait_s)
    try:
        yield lease
    except BaseException:
        # What went wrong is told; a lease that cannot be given up as well ends by itself.
        with suppress(StorageError):
            lease.give_up()
        raise
    lease.give_up()
