"""The recipe itself: a query, 30 frames of KCF, a positive; then the next query."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from toolkit.errors import VideoError
from toolkit.images import shrink
from toolkit.mining.mined import MinedPair, View
from toolkit.mining.one_thread import one_thread
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.mining.wang2015.cuts import is_cut
from toolkit.mining.wang2015.kcf import KcfTracker
from toolkit.mining.wang2015.quality import forward_backward, judge
from toolkit.mining.wang2015.queries import QueryFinder
from toolkit.mining.wang2015.scaled import BgrImage, ScaledFrame
from toolkit.records import Sighting
from toolkit.video.shown import ShownFrame

TRACK_FRAMES = 30
VISIBLE = 0.75  # share of the last box that must lie in the frame
HOLE_S = 0.5  # with this much missing between two frames nothing can be followed


def fixed_box_pairs(
    frames: Iterable[ShownFrame], settings: MiningSettings, tally: Tally
) -> Iterator[MinedPair]:
    """The pairs of some footage by the paper's recipe, counted in `tally`.

    At most 31 frames of 448x600 are held. The same frames and settings give the same
    pairs. An error of `frames` passes through; raises VideoError for pictures that OpenCV
    cannot analyse.
    """
    miner = _Miner(settings, tally)
    start_s: float | None = None
    try:
        for frame in frames:
            tally.frames += 1
            start_s = frame.time_s if start_s is None else start_s
            pair = _take(miner, frame)
            tally.footage_s = max(tally.footage_s, frame.time_s - start_s)
            if tally.on_frame:
                tally.on_frame(tally)
            if pair is not None:
                yield pair
    finally:
        miner.end()


def _take(miner: "_Miner", frame: ShownFrame) -> MinedPair | None:
    """Analyse a frame; one odd video must end itself alone, and not the whole run."""
    import cv2

    try:
        with one_thread():
            return miner.take(ScaledFrame.of(frame))
    except cv2.error as error:
        raise VideoError(
            f"It cannot be analysed at {frame.time_s:.1f} s: {error.err or error}.",
            mend="Convert it to another size or format, or leave it out.",
        ) from error


@dataclass(slots=True)
class _Track:
    """A box that is being followed. start: its corner in the query; pictures: of all its frames."""

    query: View
    start: tuple[int, int]
    tracker: KcfTracker
    pictures: list[BgrImage]


class _Miner:
    """What is known between two frames."""

    def __init__(self, settings: MiningSettings, tally: Tally) -> None:
        self._settings = settings
        self._tally = tally
        self._finder = QueryFinder(tally)
        self._previous: ScaledFrame | None = None
        self._track: _Track | None = None

    def take(self, frame: ScaledFrame) -> MinedPair | None:
        """Go on by one frame; the pair, where it is the last of a track that can be trusted."""
        previous, self._previous = self._previous, frame
        if previous is None or self._breaks_off(previous, frame):
            return None
        if self._track is None:
            self._begin(previous, frame)
        return self._advance(self._track, frame) if self._track else None

    def end(self) -> None:
        """The footage, or the shot, ends here."""
        if self._track:
            self._end_track("tracks too short")

    def _end_track(self, reason: str) -> None:
        self._tally.reject(reason)
        self._track = None

    def _breaks_off(self, previous: ScaledFrame, frame: ScaledFrame) -> bool:
        if not 0 <= frame.time_s - previous.time_s <= HOLE_S:
            self._tally.reject("frames too far apart")
        elif previous.gray.shape != frame.gray.shape or is_cut(previous.gray, frame.gray):
            self._tally.reject("cuts")
        else:
            return False
        self.end()
        return True

    def _begin(self, first: ScaledFrame, second: ScaledFrame) -> None:
        """Look for a query in `first`, and begin to follow it."""
        start = self._finder.find(first, second)
        if start is None:
            return
        box = first.original(*start)
        if min(box.width, box.height) < self._settings.min_box_pixels:
            self._tally.reject("things too small")
            return
        query = self._view(self._tally.tracks, first, start)
        self._tally.tracks += 1
        self._track = _Track(query, start, KcfTracker(first.picture, *start), [first.picture])

    def _advance(self, track: _Track, frame: ScaledFrame) -> MinedPair | None:
        """Follow the box into a frame; give the pair where that is the last one."""
        track.pictures.append(frame.picture)
        end = track.tracker.follow(frame.picture)
        if end is None or frame.visible(*end) < VISIBLE:
            self._end_track("tracks that left the frame")
        elif len(track.pictures) > TRACK_FRAMES:
            self._track = None
            return self._judge(track, frame, end)
        return None

    def _judge(self, track: _Track, frame: ScaledFrame, end: tuple[int, int]) -> MinedPair | None:
        error = forward_backward(track.pictures, track.start, end)
        positive = self._view(track.query.track, frame, frame.inside(*end))
        quality = judge(error, track.query.patch, positive.patch)
        if quality.score < self._settings.min_quality:
            self._tally.reject("pairs of low quality")
            return None
        self._tally.pairs += 1
        return MinedPair(track.query, positive, quality)

    def _view(self, number: int, frame: ScaledFrame, corner: tuple[int, int]) -> View:
        sighting = Sighting(round(frame.time_s, 3), frame.original(*corner).rounded())
        patch = shrink(frame.patch(*corner), self._settings.patch_pixels)
        return View(number, sighting, patch)
