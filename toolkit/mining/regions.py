"""The moving regions of a video, for an index: each sighting that a trusted pair holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.images import RgbImage
from toolkit.mining.recipes import mined_pairs
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.records import Sighting
from toolkit.video.decode import frames
from toolkit.workspace import sha256_file


@dataclass(frozen=True, slots=True)
class Region:
    """One sighting of a moving thing. track: unique over all videos, as in a pair's JSON."""

    track: str
    sighting: Sighting
    patch: RgbImage


def moving_regions(
    path: Path, settings: MiningSettings | None = None, tally: Tally | None = None
) -> Iterator[Region]:
    """Each moving thing of a video, about three times a gap, each sighting once.

    A sighting counts when it is an end of a pair that mining would keep, so that an index
    of a video holds what an index of its mined pairs holds. Raises VideoError; for a
    damaged video, DamagedVideoError after the regions of its readable part.
    """
    settings = settings or MiningSettings()
    tally = tally or Tally()
    sha256 = sha256_file(path)
    seen: set[tuple[int, float]] = set()
    for pair in mined_pairs(frames(path), settings, tally):
        for sample in (pair.query, pair.positive):
            key = (sample.track, sample.sighting.time_s)
            if key not in seen:
                seen.add(key)
                yield Region(track_name(sha256, sample.track), sample.sighting, sample.patch)


def track_name(sha256: str, number: int) -> str:
    """The name of a video's track that no other video has."""
    return f"{sha256[:12]}-{number:04d}"
