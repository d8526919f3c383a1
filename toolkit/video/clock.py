"""PTS of packets and frames: which lie in a segment, and what to go by where there are none."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from toolkit.video.container import VideoFile
from toolkit.video.timeline import Segment

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from toolkit.video.container import VideoPacket


@dataclass(frozen=True, slots=True)
class Span:
    """Ticks of PTS, the start included and the end not."""

    start: float = -math.inf
    end: float = math.inf

    @classmethod
    def of(cls, segment: Segment, file: VideoFile) -> Self:
        """A segment's span in the ticks of a file."""
        start = -math.inf if segment.start_s is None else round(segment.start_s / file.base)
        end = math.inf if segment.end_s is None else round(segment.end_s / file.base)
        return cls(start, end)

    def holds(self, pts: int) -> bool:
        """Whether a time lies in it."""
        return self.start <= pts < self.end


@dataclass(slots=True)
class Clock:
    """PTS seconds of frames in the order of display, also where the file has no PTS."""

    file: VideoFile
    last_s: float | None = None
    first_dts: int | None = None
    delay: int | None = None

    def begin(self, packet: "VideoPacket") -> None:
        """Take note of a packet that is about to be decoded."""
        if self.first_dts is None:
            self.first_dts = packet.dts

    def time_s(self, image: "VideoFrame") -> float:
        """The time of the next frame in the order of display."""
        ticks = image.pts if self.file.has_pts else self._in_order(image)
        if ticks is not None:
            self.last_s = float(ticks * self.file.base)
        else:
            self.last_s = 0.0 if self.last_s is None else self.last_s + self.file.step_s
        return self.last_s

    def _in_order(self, image: "VideoFrame") -> int | None:
        """DTS rise in the order of display too, from the time of the first packet on."""
        if image.dts is None or self.first_dts is None:
            return None
        if self.delay is None:
            self.delay = image.dts - self.first_dts
        return image.dts - self.delay
