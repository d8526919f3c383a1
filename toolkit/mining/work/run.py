"""`vr mine`: videos and folders in, pair shards and a ledger out, each video once."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import InputError, VideoError
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.mining.work.ledger import Entry, Ledger
from toolkit.mining.work.unit import Source, mine_video
from toolkit.records import Quarantined
from toolkit.video.find import VIDEO_SUFFIXES, find_videos
from toolkit.video.probe import probe
from toolkit.workspace import sha256_file


@dataclass(frozen=True, slots=True)
class MiningProgress:
    """Seconds of footage over all videos of the run; total_s is None where unknown."""

    video: str
    done_s: float
    total_s: float | None
    pairs: int


@dataclass(frozen=True, slots=True)
class MiningReport:
    """What a run did. `videos`, `frames`, `tracks`, `pairs` and `rejected` are of this run.

    skipped: videos that the ledger held already; other_settings: those of them that were
    mined with other settings and stay as they are; quarantined: every given video that
    could not be read whole, whether in this run or before; total_pairs: in the folder.
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
    rejected: Mapping[str, int]
    total_pairs: int

    @property
    def frames_per_second(self) -> float:
        """Frames decoded and mined a second, 0 for a run that had nothing to do."""
        return self.frames / self.seconds if self.seconds else 0.0


OnProgress = Callable[[MiningProgress], None]


def mine(
    sources: Sequence[Path],
    out: Path,
    settings: MiningSettings | None = None,
    on_progress: OnProgress | None = None,
    *,
    remine: bool = False,
) -> MiningReport:
    """Mine the videos that `sources` mean into OUT; those in its ledger are not touched.

    A copy of a video under another name is the same video. `remine` replaces what the
    ledger holds, for other settings. Raises InputError where there is no video at all, and
    StorageError; a video that fails, or a folder that may not be read, is quarantined and
    the rest goes on.
    """
    settings = settings or MiningSettings()
    began = time.perf_counter()
    ledger = Ledger(out)
    videos, unreadable = _find(sources)
    todo, known, unhashable = _sort(videos, ledger, remine)
    progress = _Progress(todo, on_progress)
    done = [progress.mine(source, ledger, settings) for source in todo]
    rejected: Counter[str] = Counter()
    for entry in done:
        rejected.update(entry.rejected)
    return MiningReport(
        out=out,
        videos=len(done),
        frames=sum(entry.frames for entry in done),
        tracks=sum(entry.tracks for entry in done),
        pairs=sum(entry.pairs for entry in done),
        footage_s=sum(entry.footage_s for entry in done),
        seconds=time.perf_counter() - began,
        quarantined=unreadable
        + unhashable
        + [_quarantined(e) for e in known + done if e.status != "done"],
        skipped=[entry.path for entry in known],
        other_settings=[e.path for e in known if e.settings != settings.as_json()],
        rejected=dict(rejected.most_common()),
        total_pairs=sum(entry.pairs for entry in ledger.entries()),
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


def _sort(
    videos: Sequence[Path], ledger: Ledger, remine: bool
) -> tuple[list[Source], list[Entry], list[Quarantined]]:
    """Which videos to mine, which the ledger knows, and which cannot even be hashed."""
    todo: dict[str, Source] = {}
    known: dict[str, Entry] = {}
    unreadable = []
    for path in videos:
        try:
            sha256 = sha256_file(path)
        except OSError as error:
            unreadable.append(_unreadable(path, error))
            continue
        entry = None if remine else ledger.get(sha256)
        if entry is not None:
            known[sha256] = entry
        else:
            todo.setdefault(sha256, Source(path, sha256, camera=path.stem))
    return list(todo.values()), list(known.values()), unreadable


def _quarantined(entry: Entry) -> Quarantined:
    return Quarantined(entry.path, entry.reason)


class _Progress:
    """Adds the footage of one video after the other to one line of progress."""

    def __init__(self, sources: Sequence[Source], on_progress: OnProgress | None) -> None:
        self._report = on_progress
        self._lengths = {s.sha256: _length_s(s.path) for s in sources} if on_progress else {}
        self._done_s = 0.0
        self._pairs = 0

    def mine(self, source: Source, ledger: Ledger, settings: MiningSettings) -> Entry:
        """Mine one video and tell of it, tick by tick."""
        tally = Tally(on_frame=lambda tally: self._tell(source, tally))
        entry = mine_video(source, ledger, settings, tally)
        self._pairs += entry.pairs
        self._done_s += self._lengths.get(source.sha256) or entry.footage_s
        self._tell(source, Tally())
        return entry

    def _tell(self, source: Source, tally: Tally) -> None:
        if self._report is None:
            return
        lengths = [length for length in self._lengths.values() if length is not None]
        whole = len(lengths) == len(self._lengths)
        total_s = sum(lengths) if whole else None
        done_s = self._done_s + tally.footage_s
        self._report(MiningProgress(source.path.name, done_s, total_s, self._pairs + tally.pairs))


def _length_s(path: Path) -> float | None:
    """The length a video claims; 0 for one that will be quarantined for being none."""
    try:
        return probe(path).duration_s
    except VideoError:
        return 0.0
