"""What is to be done next, and what has come of it. It knows of no process and no clock."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.mining.settings import MiningSettings
from toolkit.mining.work.jobs import Job, Trouble
from toolkit.mining.work.ledger import Entry
from toolkit.mining.work.parts import Part, Parts, digest_of
from toolkit.mining.work.survey import Stretch, Survey, Surveyed
from toolkit.mining.work.unit import ChangedError, Source, Unit
from toolkit.records import Quarantined

_AHEAD = 2  # units that are ready for each worker, before another video is surveyed


@dataclass(frozen=True, slots=True)
class Task:
    """What one run has to do.

    cameras: of the paths, in the order of the work; named: those that were asked for by
    name, and not by the folder that they lie in.
    """

    cameras: Mapping[Path, str]
    named: AbstractSet[Path]
    out: Path
    settings: MiningSettings
    remine: bool
    segment_s: float


@dataclass(slots=True)
class Video:
    """A video that is being mined, and the parts of it that are there."""

    source: Source
    stretches: Sequence[Stretch]
    parts: dict[int, Part] = field(default_factory=dict)
    is_set_aside: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether all its parts are there."""
        return len(self.parts) == len(self.stretches)

    def in_order(self) -> list[Part]:
        """Its parts."""
        return [self.parts[stretch.segment.index] for stretch in self.stretches]


@dataclass(slots=True)
class Outcome:
    """What came of the run so far, beside the videos that were finished.

    known: what the ledger held, in the order of the paths; other: those of them that were
    mined otherwise; forgotten: left out on request; unreadable: could not be looked at;
    set_aside: not by their own fault, so that the next run tries them again; changed: those
    among them whose file was written to; tracebacks: of bugs; notes: of whoever does the work.
    """

    known: dict[str, Entry] = field(default_factory=dict)
    other: dict[str, Entry] = field(default_factory=dict)
    forgotten: dict[str, Entry] = field(default_factory=dict)
    unreadable: list[Quarantined] = field(default_factory=list)
    set_aside: list[Quarantined] = field(default_factory=list)
    changed: list[Source] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Schedule:
    """The order of the work: videos in the order of their paths, of each the longest segments.

    Surveys are answered in the order of the paths, so that of two copies of a video the
    first is mined, however many workers there are. A video that cannot be cut into
    segments and is very long goes first, so as not to be the last one that all wait for.
    """

    def __init__(self, task: Task, on_whole: Callable[[Video], None]) -> None:
        self._task = task
        self._on_whole = on_whole
        self._paths = list(task.cameras)
        self._begun = 0  # surveys given out
        self._answered = 0  # surveys dealt with
        self._answers: dict[Path, Surveyed | Trouble] = {}
        self._units: list[tuple[float, int, float, int, Unit]] = []
        self._videos: dict[str, Video] = {}
        self.outcome = Outcome()

    def next(self, workers: int) -> Job | None:
        """The next job for one of so many workers; None while there is none to be had."""
        more = self._begun < len(self._paths)
        if more and len(self._units) < _AHEAD * workers:
            path = self._paths[self._begun]
            self._begun += 1
            task = self._task
            return Survey(path, task.out, task.segment_s, task.remine, path in task.named)
        while self._units:
            unit = heapq.heappop(self._units)[-1]
            if not self._videos[unit.source.sha256].is_set_aside:
                return unit
        return None

    @property
    def unread(self) -> Sequence[Path]:
        """The videos of which nothing is known yet."""
        return self._paths[self._answered :]

    def length_s(self, unit: Unit) -> float:
        """Seconds of footage in a unit; 0 where nothing says so."""
        return self._videos[unit.source.sha256].stretches[unit.segment.index].length_s

    def surveyed(self, job: Survey, answer: Surveyed | Trouble) -> list[Unit]:
        """Take in what was found of a video; the units that are now to be done, or later.

        Those that an earlier run has finished are none.
        """
        self._answers[job.path] = answer
        new: list[Unit] = []
        while self._answered < len(self._paths):
            path = self._paths[self._answered]
            if path not in self._answers:
                break
            self._answered += 1
            new += self._begin(path, self._answers.pop(path))
        return new

    def mined(self, unit: Unit, answer: Part | Trouble) -> list[Unit]:
        """Take in what came of a unit; the units that will not be done because of it."""
        video = self._videos[unit.source.sha256]
        if isinstance(answer, Trouble):
            return self._set_aside(video, answer)
        video.parts[unit.segment.index] = answer
        if video.is_whole:
            self._on_whole(video)
        return []

    def _begin(self, path: Path, answer: Surveyed | Trouble) -> list[Unit]:
        if isinstance(answer, Trouble):
            self.outcome.unreadable.append(Quarantined(str(path), answer.problem))
            self._keep_traceback(path, answer)
            return []
        if answer.entry is not None:
            # A kill after the entry may have left the parts of a video.
            Parts(self._task.out, answer.sha256).remove()
            self._keep(path, answer.entry)
            return []
        if answer.sha256 in self._videos:  # a copy of another one
            return []
        source = Source(path, answer.sha256, self._task.cameras[path], answer.stamp)
        video = self._videos[answer.sha256] = Video(source, answer.stretches)
        return self._units_of(video, len(self._videos))

    def _keep(self, path: Path, entry: Entry) -> None:
        """Note a video that stays as the ledger has it."""
        if entry.status == "forgotten":
            self.outcome.forgotten[entry.sha256] = entry
            return
        self.outcome.known[entry.sha256] = entry
        # A copy under another name may well count as another camera.
        same_name = path.name == Path(entry.path).name
        other_camera = same_name and entry.camera != self._task.cameras[path]
        if other_camera or entry.settings != self._task.settings.as_json():
            self.outcome.other[entry.sha256] = entry

    def _units_of(self, video: Video, number: int) -> list[Unit]:
        task, source, units = self._task, video.source, []
        kept = Parts(task.out, source.sha256)
        for stretch in video.stretches:
            segment = stretch.segment
            digest = digest_of(source.path, source.camera, segment, task.settings)
            part = kept.get(segment.index, digest)
            if part is not None:
                video.parts[segment.index] = part
                continue
            unit = Unit(source, segment, task.settings, task.out, digest)
            oversize_s = stretch.length_s if stretch.length_s > 2 * task.segment_s else 0.0
            turn = (-oversize_s, number, -stretch.length_s, segment.index)
            heapq.heappush(self._units, (*turn, unit))
            units.append(unit)
        if video.is_whole:
            self._on_whole(video)
        return units

    def _set_aside(self, video: Video, trouble: Trouble) -> list[Unit]:
        if video.is_set_aside:
            return []
        video.is_set_aside = True
        reason = f"{trouble.problem} {trouble.mend}".strip()
        self.outcome.set_aside.append(Quarantined(str(video.source.path), reason))
        self._keep_traceback(video.source.path, trouble)
        if trouble.kind is ChangedError:
            self.outcome.changed.append(video.source)
        return [unit for *_, unit in self._units if unit.source == video.source]

    def _keep_traceback(self, path: Path, trouble: Trouble) -> None:
        if trouble.traceback:
            self.outcome.tracebacks.append(f"{path}\n{trouble.traceback}")
