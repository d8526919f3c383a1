"""Things that move, followed through a video: the streaming core of mining and indexing.

A small gray copy of about ten frames a second is analysed, whatever the frame rate. Each
tick follows the points of all tracks and of the background in one call; each beat (a
sixth of the gap) looks for new things and samples the known ones in full resolution.
"""

from collections.abc import Iterable, Iterator

from toolkit.errors import VideoError
from toolkit.mining.modern.clock import SLACK_S, TICK_S
from toolkit.mining.modern.samples import TrackSample
from toolkit.mining.modern.tracker import Tracker
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.video.frame import GrayImage
from toolkit.video.shown import ShownFrame

_LONG_SIDE = 384
_MIN_SIDE = 12  # pixels of that copy; in less nothing can be followed


def moving_tracks(
    frames: Iterable[ShownFrame], settings: MiningSettings, tally: Tally
) -> Iterator[TrackSample]:
    """Samples of everything that moves, in the order of time; ids count up from 0.

    The same frames and settings give the same samples. An error of `frames` passes through;
    raises VideoError for pictures that are too small, or that OpenCV cannot analyse.
    """
    tracker = Tracker(settings, tally)
    start_s: float | None = None
    next_s = 0.0
    for frame in frames:
        tally.frames += 1
        start_s = frame.time_s if start_s is None else start_s
        backwards = frame.time_s < next_s - 1
        if frame.time_s < next_s - SLACK_S and not backwards:
            continue
        next_s = frame.time_s + TICK_S
        yield from _tick(tracker, frame)
        tally.footage_s = max(tally.footage_s, frame.time_s - start_s)
        if tally.on_frame:
            tally.on_frame(tally)


def _tick(tracker: Tracker, frame: ShownFrame) -> Iterator[TrackSample]:
    """Analyse a frame; one odd video must end itself alone, and not the whole run."""
    import cv2

    try:
        yield from tracker.tick(frame, _small(frame))
    except cv2.error as error:
        raise VideoError(
            f"It cannot be analysed at {frame.time_s:.1f} s: {error.err or error}.",
            mend="Convert it to another size or format, or leave it out.",
        ) from error


def _small(frame: ShownFrame) -> GrayImage:
    sides = frame.width, frame.height
    if min(sides) * min(_LONG_SIDE / max(sides), 1) < _MIN_SIDE:
        raise VideoError(
            f"The picture is too small: {frame.width}x{frame.height} pixels.",
            mend=f"Give footage of at least {_MIN_SIDE} pixels on the shorter side"
            f" and no more than {_LONG_SIDE // _MIN_SIDE} times as long.",
        )
    return frame.small(_LONG_SIDE)
