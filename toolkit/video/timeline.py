"""When a video's frames are shown and where decoding may begin, read without decoding.

A long video is mined in segments that lie between key frames. A key frame is listed here
only where it parts the frames cleanly: all that comes before it in the file is shown
before it, and all that comes after it is shown after it, save for the pictures that lead
it (B-frames of an open group, which the segment before decodes). Where a camera's clock
was set back, no key frame parts the two runs of the clock, and so none is listed.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.video.container import VideoFile
from toolkit.video.seeking import begins_anew, from_key


@dataclass(frozen=True, slots=True)
class Segment:
    """A span of PTS seconds, its start included and its end not; None is an open end."""

    index: int
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """PTS seconds of a video, as its packets have them, whatever its header claims.

    keyframes_s: sorted; the key frames at which decoding may begin with the same pictures.
    frames: the packets with a picture. A damaged file is known as far as it can be read.
    """

    start_s: float
    end_s: float
    keyframes_s: tuple[float, ...]
    frames: int

    def share(self, time_s: float) -> float:
        """How far into the video a time is, 0 to 1."""
        length_s = self.end_s - self.start_s
        return min(max((time_s - self.start_s) / length_s, 0.0), 1.0) if length_s > 0 else 1.0

    def segments(self, length_s: float) -> list[Segment]:
        """Segments that hold each frame once, cut at key frames, at least one.

        A segment ends at the first key frame at or after a multiple of `length_s` from the
        start. The last one is at least half of `length_s` long, or joins the one before.
        """
        if not length_s > 0:
            raise UsageError(f"A segment has a length above 0 s, not {length_s}.")
        bounds: list[float | None] = [None, *self._bounds(length_s), None]
        return [Segment(i, start, end) for i, (start, end) in enumerate(pairwise(bounds))]

    def _bounds(self, length_s: float) -> list[float]:
        bounds: list[float] = []
        next_s = self.start_s + length_s
        for key_s in self.keyframes_s:
            if key_s >= next_s and self.end_s - key_s >= length_s / 2:
                bounds.append(key_s)
                next_s = self.start_s + length_s * (1 + (key_s - self.start_s) // length_s)
        return bounds


def read_timeline(path: Path) -> Timeline:
    """Read a video's timeline by demuxing, without decoding more than a few frames.

    The same file always gives the same. A file that is cut short, or cannot be read beyond
    some place, gives what is known up to there; one without a clock (a raw stream) has no
    key frames and the nominal times. Raises VideoError for what is no video.
    """
    with VideoFile(path) as file:
        scan = _Scan(clocked=file.has_pts)
        for packet in from_key(file.packets()):
            if not packet.is_discard:
                time = packet.pts if file.has_pts else packet.dts
                is_key = packet.is_keyframe and not packet.is_corrupt
                scan.add(time, packet.duration or 0, is_key=is_key)
        timeline = scan.timeline(file)
    return timeline if _can_begin(path, timeline) else replace(timeline, keyframes_s=())


def _can_begin(path: Path, timeline: Timeline) -> bool:
    """Whether decoding can begin at the key frames; some streams refresh bit by bit instead."""
    later_s = timeline.keyframes_s[1:3]
    return not later_s or any(begins_anew(path, key_s) for key_s in later_s)


@dataclass(slots=True)
class _Scan:
    """One pass over the packets in the order of the file; times in ticks."""

    clocked: bool
    frames: int = 0
    first: int | None = None
    last: int | None = None  # the latest PTS so far
    end: int = 0
    keys: list[int] = field(default_factory=list)
    leading: bool = False  # only pictures that lead the latest key frame followed it so far

    def add(self, pts: int | None, duration: int, *, is_key: bool) -> None:
        self.frames += 1
        if pts is None:
            self.clocked = False
            return
        self._part(pts)
        if is_key and (self.last is None or pts > self.last):
            self.keys.append(pts)
            self.leading = True
        if self.first is None or self.last is None:
            self.first, self.last, self.end = pts, pts, pts + duration
        self.first, self.last = min(self.first, pts), max(self.last, pts)
        self.end = max(self.end, pts + duration)

    def _part(self, pts: int) -> None:
        """Drop the key frames that a later picture is shown before, and does not lead."""
        self.leading = self.leading and pts < self.keys[-1]
        latest = self.keys.pop() if self.leading else None
        while self.keys and pts < self.keys[-1]:
            self.keys.pop()
        if latest is not None:
            self.keys.append(latest)

    def timeline(self, file: VideoFile) -> Timeline:
        if self.first is None or self.last is None:
            return Timeline(0.0, self.frames * file.step_s, (), self.frames)
        start_s, last_s, end_s = (float(t * file.base) for t in (self.first, self.last, self.end))
        keys_s = tuple(float(key * file.base) for key in self.keys) if self.clocked else ()
        if end_s <= last_s:  # no packet says how long it lasts
            end_s = last_s + file.step_s
        return Timeline(start_s, end_s, keys_s, self.frames)
