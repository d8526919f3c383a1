"""The unit of work: one video to one shard. It knows of no other video."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import VideoError
from toolkit.images import encode_jpeg
from toolkit.mining.mined import MinedPair
from toolkit.mining.recipes import mined_pairs
from toolkit.mining.regions import track_name
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.mining.work.ledger import Entry, Ledger, Status
from toolkit.patches.shards import PairSample, write_shard
from toolkit.records import PatchPair
from toolkit.video.decode import DamagedVideoError, frames


@dataclass(frozen=True, slots=True)
class Source:
    """A video to mine. camera: what films, so that training can tell places apart."""

    path: Path
    sha256: str
    camera: str


@dataclass(slots=True)
class _Outcome:
    status: Status = "done"
    reason: str = ""
    pairs: int = 0


def mine_video(source: Source, ledger: Ledger, settings: MiningSettings, tally: Tally) -> Entry:
    """Write a video's shard, then its ledger entry, and return that.

    A video that cannot be read gives an entry with the reason, one that is cut keeps the
    pairs of its readable part. The same video and settings give the same bytes.
    Raises StorageError.
    """
    ledger.drop(source.sha256)
    outcome = _Outcome()
    try:
        found = mined_pairs(frames(source.path), settings, tally)
        samples = _samples(found, source, settings, outcome)
        outcome.pairs = _write(ledger.shard(source.sha256), samples)
    except VideoError as error:
        outcome.status, outcome.reason = "quarantined", error.problem
        ledger.shard(source.sha256).unlink(missing_ok=True)
    entry = Entry(
        sha256=source.sha256,
        path=str(source.path),
        status=outcome.status,
        reason=outcome.reason,
        footage_s=round(tally.footage_s, 3),
        frames=tally.frames,
        tracks=tally.tracks,
        pairs=outcome.pairs,
        rejected=dict(sorted(tally.rejected.items())),
        settings=settings.as_json(),
    )
    ledger.add(entry)
    return entry


def _samples(
    pairs: Iterable[MinedPair], source: Source, settings: MiningSettings, outcome: _Outcome
) -> Iterator[PairSample]:
    """Encode pairs; where the video turns out to be damaged, end there and say so."""
    try:
        for pair in pairs:
            yield PairSample(
                _record(pair, source),
                encode_jpeg(pair.query.patch, quality=settings.jpeg_quality),
                encode_jpeg(pair.positive.patch, quality=settings.jpeg_quality),
            )
    except DamagedVideoError as error:
        outcome.status, outcome.reason = "partial", error.problem


def _record(pair: MinedPair, source: Source) -> PatchPair:
    track = track_name(source.sha256, pair.query.track)
    return PatchPair(
        key=f"{track}-{round(pair.query.sighting.time_s * 1000):08d}",
        video=source.sha256,
        path=str(source.path),
        camera=source.camera,
        track=track,
        query=pair.query.sighting,
        positive=pair.positive.sighting,
        quality=pair.quality,
    )


def _write(shard: Path, samples: Iterator[PairSample]) -> int:
    """Write the shard; a video without pairs gets none."""
    count = write_shard(shard, samples)
    if not count:
        shard.unlink()
    return count
