"""The unit of work: one segment of one video to one part. It knows of no other segment."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from toolkit.errors import MismatchError, VideoError
from toolkit.mining.footage import footage
from toolkit.mining.mined import MinedPair
from toolkit.mining.one_thread import one_thread
from toolkit.mining.recipes import mined_pairs
from toolkit.mining.segments import track_name
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.mining.work.encode import Encoder
from toolkit.mining.work.parts import Part, Parts, PartStatus, content_bytes, digest_of
from toolkit.patches.shards import PairSample, write_shard
from toolkit.records import PatchPair
from toolkit.video.decode import DamagedVideoError
from toolkit.video.timeline import Segment


class ChangedError(VideoError):
    """The file is not the one whose hash was taken any more."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells at a glance that a file was written to."""

    bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """The stamp of a file as it lies there now. Raises OSError."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)

    def check(self, path: Path) -> None:
        """Raise ChangedError where the file is not as it was."""
        try:
            same = Stamp.of(path) == self
        except OSError as error:
            raise ChangedError(f"{path} went away while it was mined: {error.strerror}.") from error
        if not same:
            raise ChangedError(
                f"{path} was written to while it was mined.", mend="Mine it when it is finished."
            )


@dataclass(frozen=True, slots=True)
class Source:
    """A video to mine. camera: what films, so that training can tell places apart."""

    path: Path
    sha256: str
    camera: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Unit:
    """One segment to mine into OUT; digest: of the part that it has to become."""

    source: Source
    segment: Segment
    settings: MiningSettings
    out: Path
    digest: str


@dataclass(slots=True)
class _Outcome:
    status: PartStatus = "done"
    reason: str = ""
    pairs: int = 0


def mine_unit(unit: Unit, tally: Tally) -> Part:
    """Mine a segment, write its part, and return what came of it.

    A segment that cannot be read gives a part with the reason and no pairs, one that is
    damaged keeps the pairs of what can be read. The same unit gives the same bytes. Raises
    ChangedError for a video that is another than was hashed, MismatchError where this
    machine has other versions than the one that made the unit, StorageError.
    """
    source, parts = unit.source, Parts(unit.out, unit.source.sha256)
    if digest_of(source.path, source.camera, unit.segment, unit.settings) != unit.digest:
        raise MismatchError(
            "A worker has other versions of vr, PyAV, OpenCV, NumPy or Pillow than this process.",
            mend="Install the same versions everywhere.",
        )
    source.stamp.check(source.path)
    tar = parts.tar(unit.segment.index)
    outcome = _Outcome()
    try:
        with one_thread():
            seen = footage(source.path, unit.segment, unit.settings)
            found = mined_pairs(seen, unit.settings, tally)
            outcome.pairs = _write(tar, _samples(found, unit, outcome))
    except VideoError as error:
        outcome.status, outcome.reason = "quarantined", error.problem
        tar.unlink(missing_ok=True)
    source.stamp.check(source.path)
    part = _part(unit, outcome, tally, content_bytes(tar) if outcome.pairs else 0)
    parts.add(unit.segment.index, part)
    return part


def _part(unit: Unit, outcome: _Outcome, tally: Tally, size: int) -> Part:
    return Part(
        digest=unit.digest,
        status=outcome.status,
        reason=outcome.reason,
        footage_s=round(tally.footage_s, 3),
        frames=tally.frames,
        tracks=tally.tracks,
        pairs=outcome.pairs,
        rejected=dict(sorted(tally.rejected.items())),
        content_bytes=size,
    )


def _samples(pairs: Iterable[MinedPair], unit: Unit, outcome: _Outcome) -> Iterator[PairSample]:
    """Encode pairs; where the video turns out to be damaged, end there and say so."""
    encoder = Encoder(unit.settings.jpeg_quality)
    try:
        for pair in pairs:
            query, positive = encoder.encode(pair.query), encoder.encode(pair.positive)
            record = _record(pair, unit, query.phash, positive.phash)
            yield PairSample(record, query.jpeg, positive.jpeg)
    except DamagedVideoError as error:
        outcome.status, outcome.reason = "partial", error.problem


def _record(pair: MinedPair, unit: Unit, query_phash: int, positive_phash: int) -> PatchPair:
    source = unit.source
    track = track_name(source.sha256, unit.segment.index, pair.query)
    return PatchPair(
        key=f"{track}-{round(pair.query.sighting.time_s * 1000):08d}",
        video=source.sha256,
        path=str(source.path),
        camera=source.camera,
        track=track,
        query=pair.query.sighting,
        positive=pair.positive.sighting,
        quality=pair.quality,
        query_phash=query_phash,
        positive_phash=positive_phash,
    )


def _write(shard: Path, samples: Iterator[PairSample]) -> int:
    """Write the pairs of a part; a segment without pairs gets none."""
    count = write_shard(shard, samples)
    if not count:
        shard.unlink()
    return count
