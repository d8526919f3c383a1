"""The moving regions of a video, for an index: each sighting that a trusted pair holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import VideoError
from toolkit.images import RgbImage
from toolkit.mining.footage import footage
from toolkit.mining.mined import MinedPair
from toolkit.mining.recipes import mined_pairs
from toolkit.mining.segments import SEGMENT_S, segments_of, track_name
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.records import Sighting
from toolkit.video.decode import DamagedVideoError
from toolkit.video.timeline import Segment
from toolkit.workspace import sha256_file


@dataclass(frozen=True, slots=True)
class Region:
    """One sighting of a moving thing. track: unique over all videos, as in a pair's JSON."""

    track: str
    sighting: Sighting
    patch: RgbImage


def moving_regions(
    path: Path,
    settings: MiningSettings | None = None,
    tally: Tally | None = None,
    *,
    segment_s: float = SEGMENT_S,
) -> Iterator[Region]:
    """Each moving thing of a video, about three times a gap, each sighting once.

    A sighting counts when it is an end of a pair that mining would keep, and tracks have
    the names that mining gives them, so that an index of a video holds what an index of
    its mined pairs holds. Raises VideoError; for a damaged video, DamagedVideoError after
    the regions of its readable part.
    """
    settings = settings or MiningSettings()
    tally = tally or Tally()
    sha256 = sha256_file(path)
    segments = segments_of(path, segment_s)
    damage: list[VideoError] = []
    before = tally.frames
    for segment in segments:
        count = Tally()  # of its own: the tracks of each segment are numbered from 0
        try:
            pairs = mined_pairs(footage(path, segment, settings), settings, count)
            yield from _regions(pairs, sha256, segment.index)
        except VideoError as error:
            damage.append(error)
        _add(tally, count)
    if damage:
        in_part = tally.frames > before and not _all_failed(damage, segments)
        kind = DamagedVideoError if in_part else VideoError
        raise kind(damage[0].problem, mend=damage[0].mend)


def _regions(pairs: Iterator[MinedPair], sha256: str, segment: int) -> Iterator[Region]:
    """The sightings of a segment's pairs, which may share them, each once."""
    seen: set[tuple[int, float]] = set()
    for pair in pairs:
        for view in (pair.query, pair.positive):
            key = (view.track, view.sighting.time_s)
            if key not in seen:
                seen.add(key)
                yield Region(track_name(sha256, segment, view), view.sighting, view.patch)


def _add(tally: Tally, count: Tally) -> None:
    tally.frames += count.frames
    tally.footage_s += count.footage_s
    tally.tracks += count.tracks
    tally.pairs += count.pairs
    tally.rejected.update(count.rejected)


def _all_failed(damage: list[VideoError], segments: list[Segment]) -> bool:
    failed = [error for error in damage if not isinstance(error, DamagedVideoError)]
    return len(failed) == len(segments)
