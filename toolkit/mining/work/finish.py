"""The end of a video: its parts become its shard, and then the ledger says that it is whole.

Only the process that holds the lock of OUT does this. Workers write parts and nothing else,
so that even one that was given up for dead and comes back cannot touch what is finished.
"""

from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from toolkit.mining.settings import MiningSettings
from toolkit.mining.work.ledger import Entry, Ledger, Status
from toolkit.mining.work.parts import Part, Parts
from toolkit.mining.work.unit import Source


def finish(out: Path, source: Source, settings: MiningSettings, parts: Sequence[Part]) -> Entry:
    """Write a video's shard, then its ledger entry, and remove its parts. Raises StorageError."""
    ledger, folder = Ledger(out), Parts(out, source.sha256)
    entry = merged(source, settings, parts)
    ledger.drop(source.sha256)
    if entry.pairs:
        folder.join(ledger.shard(source.sha256), parts)
    else:
        ledger.remove_shard(source.sha256)
    ledger.add(entry)
    folder.remove()
    return entry


def merged(source: Source, settings: MiningSettings, parts: Sequence[Part]) -> Entry:
    """The ledger entry of a video, of what came of its segments."""
    status, reason = _verdict(parts)
    rejected: Counter[str] = Counter()
    for part in parts:
        rejected.update(part.rejected)
    return Entry(
        sha256=source.sha256,
        path=str(source.path),
        camera=source.camera,
        status=status,
        reason=reason,
        segments=len(parts),
        footage_s=round(sum(part.footage_s for part in parts), 3),
        frames=sum(part.frames for part in parts),
        tracks=sum(part.tracks for part in parts),
        pairs=sum(part.pairs for part in parts),
        rejected=dict(sorted(rejected.items())),
        settings=settings.as_json(),
    )


def _verdict(parts: Sequence[Part]) -> tuple[Status, str]:
    bad = [part for part in parts if part.status != "done"]
    if not bad:
        return "done", ""
    reason = bad[0].reason
    if len(bad) > 1:
        reason += f" So it is with {len(bad)} of its {len(parts)} segments."
    hopeless = all(part.status == "quarantined" for part in parts)
    if hopeless or not any(part.frames for part in parts):
        return "quarantined", reason
    return "partial", reason


class Finisher:
    """Finishes videos beside the mining, so that workers never wait for a shard to be copied."""

    def __init__(self, out: Path, settings: MiningSettings) -> None:
        self._out = out
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vr-finish")
        self._under_way: deque[Future[Entry]] = deque()

    def add(self, source: Source, parts: Sequence[Part]) -> None:
        """Finish a video in its turn."""
        job = self._thread.submit(finish, self._out, source, self._settings, parts)
        self._under_way.append(job)

    def take(self, *, wait: bool = False) -> list[Entry]:
        """The entries of videos that were finished since; of all, with `wait`.

        Raises StorageError, and whatever else went wrong there.
        """
        entries = []
        while self._under_way and (wait or self._under_way[0].done()):
            entries.append(self._under_way.popleft().result())
        return entries

    def close(self) -> None:
        """Finish the video that is under way, and leave the others to the next run."""
        self._thread.shutdown(wait=True, cancel_futures=True)
