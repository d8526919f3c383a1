"""The first look at a video: who it is, whether it was mined before, and its segments."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import VideoError
from toolkit.mining.work.ledger import Entry, Ledger
from toolkit.mining.work.unit import Stamp
from toolkit.video.timeline import Segment, Timeline, read_timeline
from toolkit.workspace import sha256_file


@dataclass(frozen=True, slots=True)
class Survey:
    """A file to look at.

    segment_s: how it is cut; remine: whatever OUT's ledger holds of it; but what it says is
    forgotten only where the file was also asked for by its name.
    """

    path: Path
    out: Path
    segment_s: float
    remine: bool = False
    is_named: bool = False

    def keeps(self, entry: Entry) -> bool:
        """Whether what the ledger holds of the video stays as it is."""
        return not self.remine or (entry.status == "forgotten" and not self.is_named)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A segment, and how many seconds of footage it has; 0 where nothing says so."""

    segment: Segment
    length_s: float


@dataclass(frozen=True, slots=True)
class Surveyed:
    """entry: what the ledger holds of it; if so, nothing else of the video was read."""

    sha256: str
    stamp: Stamp
    entry: Entry | None
    stretches: tuple[Stretch, ...]


def survey(job: Survey) -> Surveyed:
    """Hash a file and cut it into segments. Raises OSError, ChangedError, MismatchError."""
    stamp = Stamp.of(job.path)
    sha256 = sha256_file(job.path)
    stamp.check(job.path)
    entry = Ledger(job.out).get(sha256)
    if entry is not None and job.keeps(entry):
        return Surveyed(sha256, stamp, entry, ())
    return Surveyed(sha256, stamp, None, _stretches(job.path, job.segment_s))


def _stretches(path: Path, segment_s: float) -> tuple[Stretch, ...]:
    try:
        timeline = read_timeline(path)
    except VideoError:
        # One unit, which comes to the same error and puts it on record.
        return (Stretch(Segment(0), 0.0),)
    segments = timeline.segments(segment_s)
    return tuple(Stretch(segment, _length_s(segment, timeline)) for segment in segments)


def _length_s(segment: Segment, timeline: Timeline) -> float:
    start_s = timeline.start_s if segment.start_s is None else segment.start_s
    end_s = timeline.end_s if segment.end_s is None else segment.end_s
    return max(0.0, end_s - start_s)
