"""How far a run is: footage done of all that it has to do, over all workers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.mining.work.jobs import Done, Job
from toolkit.mining.work.parts import Part
from toolkit.mining.work.schedule import Schedule
from toolkit.mining.work.survey import Survey
from toolkit.mining.work.unit import Unit


@dataclass(frozen=True, slots=True)
class MiningProgress:
    """video: the one that was last heard of; pairs: of this run.

    done_s, total_s: footage of this run, without what was mined before. total_s is None
    until something is known of it, and while videos are still unread (is_estimate) their
    part of it is guessed from the bytes of their files. left_s: seconds until all is done,
    at the pace of the whole run so far; None while there is none.
    """

    video: str
    done_s: float
    total_s: float | None
    pairs: int
    is_estimate: bool = False
    left_s: float | None = None


OnProgress = Callable[[MiningProgress], None]


@dataclass(slots=True)
class _Live:
    """A unit that is under way."""

    length_s: float
    done_s: float = 0.0
    pairs: int = 0


class Progress:
    """Adds up what the workers tell, and tells it to one listener, who may be absent."""

    def __init__(self, schedule: Schedule, on_progress: OnProgress | None) -> None:
        self._schedule = schedule
        self._listener = on_progress
        self._live: dict[Job, _Live] = {}
        self._done_s = 0.0
        self._pairs = 0
        self._total_s = 0.0
        self._unread_bytes = {path: _bytes(path) for path in schedule.unread if on_progress}
        self._read_bytes = 0
        self._video = ""
        self._began = time.monotonic()

    def surveyed(self, job: Survey, units: Sequence[Unit]) -> None:
        """A video was looked at, and units came of it, or of those that waited for it."""
        self._unread_bytes.pop(job.path, None)
        self._video = self._video or job.path.name
        self._read_bytes += sum(source.stamp.bytes for source in {unit.source for unit in units})
        self._total_s += sum(self._schedule.length_s(unit) for unit in units)
        self._tell()

    def heard(self, job: Job, footage_s: float, pairs: int) -> None:
        """A unit has come so far."""
        if not isinstance(job, Unit):
            return
        live = self._live.setdefault(job, _Live(self._schedule.length_s(job)))
        # What is measured may differ a little from what the packets promise.
        live.done_s = min(footage_s, live.length_s) if live.length_s else footage_s
        live.pairs = pairs
        self._video = job.source.path.name
        self._tell()

    def mined(self, done: Done, dropped: Sequence[Unit]) -> None:
        """A unit is done, or came to nothing; then those of its video are dropped with it."""
        assert isinstance(done.job, Unit)
        self._live.pop(done.job, None)
        length_s = self._schedule.length_s(done.job)
        self._video = done.job.source.path.name
        if isinstance(done.result, Part):
            footage_s = length_s or done.result.footage_s
            self._total_s += footage_s - length_s
            self._done_s += footage_s
            self._pairs += done.result.pairs
        else:
            self._total_s -= length_s + sum(self._schedule.length_s(unit) for unit in dropped)
        self._tell()

    def _tell(self) -> None:
        if self._listener is None:
            return
        done_s = self._done_s + sum(live.done_s for live in self._live.values())
        pairs = self._pairs + sum(live.pairs for live in self._live.values())
        unread = sum(self._unread_bytes.values())
        per_byte_s = self._total_s / self._read_bytes if self._read_bytes else 0.0
        total_s = max(done_s, self._total_s + unread * per_byte_s) if self._total_s else None
        is_estimate = bool(self._unread_bytes)
        left_s = self._left_s(done_s, total_s)
        self._listener(MiningProgress(self._video, done_s, total_s, pairs, is_estimate, left_s))

    def _left_s(self, done_s: float, total_s: float | None) -> float | None:
        if not done_s or total_s is None:
            return None
        return (total_s - done_s) * (time.monotonic() - self._began) / done_s


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # its survey says so
        return 0
