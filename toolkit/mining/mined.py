"""What every recipe gives: two views of one thing, and how far they can be trusted."""

from dataclasses import dataclass

from toolkit.images import RgbImage
from toolkit.records import Sighting, TrackQuality


@dataclass(frozen=True, slots=True)
class View:
    """A sighting of track `track` (numbered in its segment) and its patch, uint8 RGB.

    run: which of the stretches of the track over which it surely stayed on one thing.
    """

    track: int
    sighting: Sighting
    patch: RgbImage
    run: int = 0


@dataclass(frozen=True, slots=True)
class MinedPair:
    """Two views of one track, the query earlier than the positive."""

    query: View
    positive: View
    quality: TrackQuality
