"""Frames of a video at even times, decoding no more of it than that takes."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from toolkit.errors import VideoError
from toolkit.video.decode import DamagedVideoError, Decoder
from toolkit.video.frame import Frame
from toolkit.video.timeline import Segment, Timeline

_TOLERANCE_S = 1e-3  # as frame_at has it: clocks of 90 kHz and of milliseconds meet
# A stretch that is passed over saves its decoding and costs a look at the key frame after it.
_LEAST_SKIP_S = 2.0


def sampled_frames(path: Path, every_s: float, timeline: Timeline) -> Iterator[Frame]:
    """The frame on display at the video's start and every `every_s` seconds from there on.

    Each comes once, at its own PTS; where none is on display yet (a damaged start) it is the
    next one instead. timeline: that of this video (`read_timeline`).
    Raises VideoError where nothing can be read; DamagedVideoError at the end, after all that
    can be, for damage in the stretches that were decoded.
    """
    ticks = _Ticks(timeline.start_s, every_s)
    damage: list[VideoError] = []
    found = 0
    for stretch in stretches(timeline, every_s):
        ticks.enter(stretch)
        try:
            with Decoder(path) as decoder:
                for frame in decoder.decode(stretch):
                    for shown in ticks.passed(frame):
                        found += 1
                        yield shown
                for shown in ticks.end(stretch, timeline.end_s):
                    found += 1
                    yield shown
                decoder.raise_for_damage(stretch)
        except VideoError as error:
            damage.append(error)
    if damage:
        kind = DamagedVideoError if found else VideoError
        raise kind(damage[0].problem, mend=damage[0].mend)


@dataclass(slots=True)
class _Ticks:
    """The times to sample, and the frame that is on display."""

    start_s: float
    every_s: float
    count: int = 0  # ticks that are behind
    shown: Frame | None = None
    given: bool = False  # whether that one was a sample already

    @property
    def next_s(self) -> float:
        return self.start_s + self.count * self.every_s + _TOLERANCE_S

    def enter(self, stretch: Segment) -> None:
        self.shown, self.given = None, False
        if stretch.start_s is not None:
            self._pass(stretch.start_s)

    def passed(self, frame: Frame) -> Iterator[Frame]:
        """A frame is decoded: the one before it, where a tick fell on that."""
        before, is_sample = self.shown, not self.given
        self.shown, self.given = frame, False
        if frame.time_s <= self.next_s:
            return
        self._pass(frame.time_s)
        if before is None:
            self.given = True
            yield frame
        elif is_sample:
            yield before

    def end(self, stretch: Segment, end_s: float) -> Iterator[Frame]:
        """No frame follows in this stretch: the last one, where a tick falls on it."""
        end_s = end_s if stretch.end_s is None else stretch.end_s
        if self.shown is not None and not self.given and self.next_s < end_s:
            yield self.shown

    def _pass(self, time_s: float) -> None:
        """Leave the ticks before a time behind."""
        ticks = int((time_s - _TOLERANCE_S - self.start_s) // self.every_s)
        self.count = max(self.count, ticks)  # nearly there, however long the gap was
        while self.next_s < time_s:
            self.count += 1


def stretches(timeline: Timeline, every_s: float) -> list[Segment]:
    """The parts of a video to decode, cut at key frames: each tick falls into one.

    The last stretch is always among them, since its end tells whether the file is cut.
    """
    keys_s = (key_s for key_s in timeline.keyframes_s if key_s > timeline.start_s)
    edges = [timeline.start_s, *keys_s, timeline.end_s]
    spans = list(pairwise(edges))
    wanted = [_holds_tick(span, timeline.start_s, every_s) for span in spans]
    wanted[-1] = True
    merged: list[tuple[float, float]] = []
    for (start_s, end_s), is_wanted in zip(spans, wanted, strict=True):
        if not is_wanted:
            continue
        if merged and start_s - merged[-1][1] < _LEAST_SKIP_S:
            merged[-1] = merged[-1][0], end_s
        else:
            merged.append((start_s, end_s))
    return [
        Segment(
            number,
            None if start_s == timeline.start_s else start_s,
            None if end_s == timeline.end_s else end_s,
        )
        for number, (start_s, end_s) in enumerate(merged)
    ]


def _holds_tick(span: tuple[float, float], first_s: float, every_s: float) -> bool:
    ticks = -(-(span[0] - first_s - _TOLERANCE_S) // every_s)
    return first_s + max(ticks, 0) * every_s + _TOLERANCE_S < span[1]
