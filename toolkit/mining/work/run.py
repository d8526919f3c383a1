"""`vr mine`: videos and folders in, pair shards and a ledger out, each video once."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.errors import InputError
from toolkit.lock import writing
from toolkit.mining.cameras import CameraRule
from toolkit.mining.segments import SEGMENT_S
from toolkit.mining.settings import MiningSettings
from toolkit.mining.work.executor import Executor, InProcess
from toolkit.mining.work.finish import Finisher
from toolkit.mining.work.jobs import Done, Trouble
from toolkit.mining.work.ledger import Entry, Ledger
from toolkit.mining.work.parts import Part, Parts
from toolkit.mining.work.progress import MiningProgress, OnProgress, Progress
from toolkit.mining.work.schedule import Outcome, Schedule, Task, Video
from toolkit.mining.work.survey import Survey, Surveyed
from toolkit.mining.work.unit import Unit
from toolkit.records import Quarantined
from toolkit.video.find import VIDEO_SUFFIXES, find_videos

__all__ = ["How", "MiningProgress", "MiningReport", "mine"]

_TURN_S = 0.2  # between two looks at what else has happened


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a run goes about it; none of this but the cameras changes what it gives.

    remine: replace what the ledger holds, for other settings (a video that was forgotten
    only where it is given by its own path); cameras: what films; workers: processes, 0 for
    this one; ray: the address of a Ray cluster that does the work instead; segment_s: how
    long videos are cut, which the names of the tracks depend on: for tests.
    """

    remine: bool = False
    cameras: CameraRule = field(default_factory=CameraRule)
    workers: int = 0
    ray: str | None = None
    segment_s: float = SEGMENT_S


@dataclass(frozen=True, slots=True)
class MiningReport:
    """What a run did. `videos`, `frames`, `tracks`, `pairs` and `rejected` are of this run.

    skipped: videos that the ledger held already; other_settings: those of them that were
    mined with other settings, or for another camera, and stay as they are; forgotten: those
    that are left out on request; quarantined: every given video that could not be read
    whole, whether in this run or before; tracebacks: of bugs, whose videos are among them;
    notes: what else a person should know, such as a lost node; total_pairs: in the folder.
    """

    out: Path
    videos: int
    frames: int
    tracks: int
    pairs: int
    footage_s: float
    seconds: float
    quarantined: list[Quarantined]
    skipped: list[str]
    other_settings: list[str]
    forgotten: list[str]
    rejected: Mapping[str, int]
    total_pairs: int
    tracebacks: list[str]
    notes: list[str]

    @property
    def frames_per_second(self) -> float:
        """Frames decoded and mined a second, 0 for a run that had nothing to do."""
        return self.frames / self.seconds if self.seconds else 0.0


def mine(
    sources: Sequence[Path],
    out: Path,
    settings: MiningSettings | None = None,
    on_progress: OnProgress | None = None,
    how: How | None = None,
) -> MiningReport:
    """Mine the videos that `sources` mean into OUT; those in its ledger are not touched.

    A copy of a video under another name is the same video. After a kill at any point the
    next run goes on, and gives the same bytes; so does every number of workers. Raises
    InputError where there is no video at all, UsageError for a path that the rule for
    cameras does not fit, StorageError also where another process mines into OUT; a video
    that fails, or a folder that may not be read, is quarantined and the rest goes on.
    """
    settings, how = settings or MiningSettings(), how or How()
    began = time.perf_counter()
    videos, unreadable = _find(sources)
    cameras = {path: how.cameras.camera_of(path) for path in videos}
    named = frozenset(source for source in sources if not source.is_dir())
    task = Task(cameras, named, out, settings, how.remine, how.segment_s)
    ledger = Ledger(out)
    with writing(out, f"pairs into {out}"):
        ledger.sweep()
        outcome, done = _work(task, how, on_progress)
        total_pairs = sum(entry.pairs for entry in ledger.entries())
    outcome.unreadable[:0] = unreadable
    return _report(task, outcome, done, total_pairs, time.perf_counter() - began)


def _work(task: Task, how: How, on_progress: OnProgress | None) -> tuple[Outcome, list[Entry]]:
    """Do all jobs; what came of them, and the videos that were finished."""
    with ExitStack() as stack:
        finisher = stack.enter_context(closing(Finisher(task.out, task.settings)))
        schedule = Schedule(task, lambda video: _finish(finisher, video))
        progress = Progress(schedule, on_progress)
        executor = stack.enter_context(closing(_executor(task, how, progress)))
        entries: list[Entry] = []
        for done in _done(schedule, executor):
            if done is not None:
                _take_in(done, schedule, progress)
            entries += finisher.take()
        executor.close()
        schedule.outcome.notes += executor.notes
        for source in schedule.outcome.changed:
            Parts(task.out, source.sha256).remove()
        return schedule.outcome, entries + finisher.take(wait=True)


def _finish(finisher: Finisher, video: Video) -> None:
    finisher.add(video.source, video.in_order())


def _executor(task: Task, how: How, progress: Progress) -> Executor:
    if how.ray is not None:
        from toolkit.mining.work.ray_cluster import RayCluster

        return RayCluster(how.ray, task.out)
    if how.workers:
        from toolkit.mining.work.pool import WorkerPool

        return WorkerPool(
            how.workers, lambda job, told: progress.heard(job, told.footage_s, told.pairs)
        )
    return InProcess(lambda job, tally: progress.heard(job, tally.footage_s, tally.pairs))


def _done(schedule: Schedule, executor: Executor) -> Iterator[Done | None]:
    """Keep everybody busy until there is nothing more to do; now and then, None."""
    under_way = 0
    while True:
        while (free := executor.free()) > 0 and (job := schedule.next(under_way + free)):
            executor.start(job)
            under_way += 1
        if not under_way:
            return
        done = executor.next(_TURN_S)
        under_way -= done is not None
        yield done


def _take_in(done: Done, schedule: Schedule, progress: Progress) -> None:
    """Note what came of a job. Raises the error of one that nothing can go on after."""
    job, result = done.job, done.result
    if isinstance(result, Trouble) and not result.is_of_the_video:
        raise result.as_error()
    if isinstance(job, Survey) and isinstance(result, Surveyed | Trouble):
        progress.surveyed(job, schedule.surveyed(job, result))
    elif isinstance(job, Unit) and isinstance(result, Part | Trouble):
        progress.mined(done, schedule.mined(job, result))


def _report(
    task: Task, outcome: Outcome, done: Sequence[Entry], total_pairs: int, seconds: float
) -> MiningReport:
    turn = {str(path): number for number, path in enumerate(task.cameras)}
    done = sorted(done, key=lambda entry: turn[entry.path])
    known = list(outcome.known.values())
    rejected: Counter[str] = Counter()
    for entry in done:
        rejected.update(entry.rejected)
    not_whole = [Quarantined(e.path, e.reason) for e in [*known, *done] if e.status != "done"]
    return MiningReport(
        out=task.out,
        videos=len(done) + len(outcome.set_aside),
        frames=sum(entry.frames for entry in done),
        tracks=sum(entry.tracks for entry in done),
        pairs=sum(entry.pairs for entry in done),
        footage_s=sum(entry.footage_s for entry in done),
        seconds=seconds,
        quarantined=[*outcome.unreadable, *not_whole, *outcome.set_aside],
        skipped=[entry.path for entry in known],
        other_settings=[entry.path for entry in outcome.other.values()],
        forgotten=[entry.path for entry in outcome.forgotten.values()],
        rejected=dict(rejected.most_common()),
        total_pairs=total_pairs,
        tracebacks=outcome.tracebacks,
        notes=outcome.notes,
    )


def _find(sources: Sequence[Path]) -> tuple[list[Path], list[Quarantined]]:
    """The videos, and the folders that may not be read."""
    unreadable: list[Quarantined] = []
    videos = find_videos(sources, lambda path, error: unreadable.append(_unreadable(path, error)))
    if not videos and unreadable:
        raise InputError(
            f"There is no video that may be read: {unreadable[0].path}: {unreadable[0].reason}",
            mend="Make the folder readable, or give another one.",
        )
    if not videos:
        where = ", ".join(_name(source) for source in sources) or "nothing"
        raise InputError(
            f"There is no video in {where}.",
            mend=f"Give videos, or folders that hold some ({' '.join(sorted(VIDEO_SUFFIXES))}).",
        )
    return videos, unreadable


def _unreadable(path: Path, error: OSError) -> Quarantined:
    return Quarantined(str(path), f"It cannot be read: {error.strerror}.")


def _name(source: Path) -> str:
    return "this folder" if source == Path() else str(source)
