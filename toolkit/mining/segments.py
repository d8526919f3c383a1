"""The stretches in which a long video is mined, and what the tracks in them are called.

A stretch is mined as if it were a video of its own, so any number of workers can share a
video and the result is the same for every number of them. The price is a seam: a thing in
sight there gets a second track, and no pair crosses it.
"""

from pathlib import Path

from toolkit.mining.mined import View
from toolkit.video.timeline import Segment, read_timeline

# At 120 s a seam costs under 1 % of the pairs (a gap of 0.8 s, and half a second to find the
# thing again), an hour gives work to 30 workers, and a kill loses little. It must not depend on
# the number of workers: the names of the tracks do.
SEGMENT_S = 120.0


def segments_of(path: Path, length_s: float = SEGMENT_S) -> list[Segment]:
    """The stretches of a video, cut at key frames. Raises VideoError for what is no video."""
    return read_timeline(path).segments(length_s)


def track_name(sha256: str, segment: int, view: View) -> str:
    """The name of a view's track, which no other track of any video has.

    The first stretch of a track has the plain name, the next ones r1, r2, ... behind it
    (`toolkit.patches.relations.followed_as`).
    """
    run = f"r{view.run}" if view.run else ""
    return f"{sha256[:12]}-{segment:04d}-{view.track:04d}{run}"
