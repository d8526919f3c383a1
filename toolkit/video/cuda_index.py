"""Which frames a GPU is to decode: read from the packets, so that none is lost unseen.

torchcodec wants to know the frames of a file before it decodes. It could find them itself, by
reading the whole file for each segment, but counts them in its own way; here it is told the
frames of one segment, by the same rules as the CPU's decoder goes by.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import VideoError
from toolkit.video.clock import Span
from toolkit.video.container import VideoFile
from toolkit.video.ending import claimed_s, held_s, is_cut
from toolkit.video.seeking import from_key, packets_from, sound_start, until
from toolkit.video.timeline import Segment

if TYPE_CHECKING:
    from toolkit.video.container import VideoPacket

# Playlists. Only PyAV can be told to open no other files, and nothing over the network.
_OPENING_OTHERS = frozenset({"concat", "dash", "hls", "imf", "sdp"})
# Times that PyAV and torchcodec, with FFmpeg of other versions, make up in other ways.
_CLOCK_BY_READING = frozenset({"avi", "mpeg"})


class NotOnGpuError(VideoError):
    """A whole video that only the CPU can decode; raised before its first frame."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be decoded on the GPU: {reason}.", mend="Mine it with --device cpu."
        )


@dataclass(frozen=True, slots=True)
class _Packet:
    pts: int
    duration: int
    is_key: bool


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """The frames of a segment in the order of display, and those it takes to decode them.

    stream: its number in the file; base: seconds in a tick; packets: sorted by PTS, which no
    two share; wanted: those from here on lie in the segment; keys: positions of key frames,
    the first is 0; unread: whether the file cannot be read beyond them.
    """

    stream: int
    base: Fraction
    packets: list[_Packet]
    wanted: int
    keys: list[int]
    unread: bool

    def time_s(self, position: int) -> float:
        """PTS seconds of a frame."""
        return float(self.packets[position].pts * self.base)

    def middle_s(self, position: int) -> float:
        """PTS seconds just after a frame is shown, so that rounding makes no other of it."""
        return float((self.packets[position].pts + Fraction(1, 2)) * self.base)

    def position(self, time_s: float) -> int | None:
        """The frame at a time, None where there is none."""
        pts = round(time_s / self.base)
        position = bisect_right(self.packets, pts, key=lambda packet: packet.pts) - 1
        return position if position >= 0 and self.packets[position].pts == pts else None

    def key_at(self, position: int) -> int:
        """The key frame at or before a frame."""
        return self.keys[bisect_right(self.keys, position) - 1]

    def key_after(self, position: int) -> int:
        """The next key frame after a frame; the number of frames where there is none."""
        later = bisect_right(self.keys, position)
        return self.keys[later] if later < len(self.keys) else len(self.packets)

    def mapping(self, begin: int, back_s: float) -> str:
        """What it takes to decode from a frame on, as torchcodec's `custom_frame_mappings`.

        Decoding begins where the file is sought for the only key frame of it: the first,
        before which an invented one is set where that comes out too late.
        """
        packets = self.packets[self.key_at(begin) :]
        mapped = [{"pts": p.pts, "duration": max(p.duration, 1), "key_frame": 0} for p in packets]
        if back_s:
            before = packets[0].pts - math.ceil(back_s / self.base)
            mapped.insert(0, {"pts": before, "duration": 1, "key_frame": 0})
        mapped[0]["key_frame"] = 1
        return json.dumps({"frames": mapped})

    def what_is_cut(self, path: Path, segment: Segment, position: int) -> str:
        """What is missing after the last frame that was decoded; "" for nothing."""
        last = self.packets[position]
        with VideoFile(path) as file:
            lasts_s = float(last.duration * self.base) or file.step_s
            end_s = self.time_s(position) + lasts_s
            if not self.unread and (segment.end_s is not None or not is_cut(file, end_s)):
                return ""
            claimed = claimed_s(file)
            of = f" of {claimed:.1f} s" if claimed else ""
            return f"ends at {held_s(file, end_s):.1f} s{of}: the file is cut"


def read_index(path: Path, segment: Segment) -> FrameIndex:
    """Read the frames of a segment by demuxing. Raises VideoError, NotOnGpuError."""
    with VideoFile(path) as file:
        if file.container.format.name in _OPENING_OTHERS:
            raise NotOnGpuError(path, "it is a list of other files")
        if file.container.format.name in _CLOCK_BY_READING:
            raise NotOnGpuError(path, "its times are known only by reading it from its beginning")
        span = Span.of(segment, file)
        packets = sorted(_read(file, span), key=lambda packet: packet.pts)
        if not packets:
            raise NotOnGpuError(path, "it has no key frame to begin at")
        if any(a.pts == b.pts for a, b in pairwise(packets)):
            raise NotOnGpuError(path, "several of its frames are shown at one time")
        return FrameIndex(
            stream=file.stream.index,
            base=file.base,
            packets=packets,
            wanted=sum(packet.pts < span.start for packet in packets),
            keys=[i for i, packet in enumerate(packets) if packet.is_key],
            unread=file.unread is not None,
        )


def _read(file: VideoFile, span: Span) -> Iterator[_Packet]:
    """The packets that give frames before the end of a span, in the order of the file."""
    keys: list[int] = []
    for packet in until(from_key(_packets(file, span)), span.end):
        if packet is None or packet.is_discard:
            continue
        pts = packet.pts
        if pts is None:
            raise NotOnGpuError(file.path, "it does not say when its frames are shown")
        # Pictures that lead a key frame are shown after the one before it.
        if keys and pts < (keys[-1] if packet.is_keyframe else keys[-2:][0]):
            raise NotOnGpuError(file.path, "its clock is set back")
        if packet.is_keyframe:
            keys.append(pts)
        if pts < span.end and keys and pts >= keys[0]:
            yield _Packet(pts, packet.duration or 0, packet.is_keyframe)


def _packets(file: VideoFile, span: Span) -> "Iterator[VideoPacket]":
    if math.isfinite(span.start):
        key = sound_start(file.path, int(span.start))
        return file.from_beginning() if key is None else packets_from(file, key)
    return file.packets()
