"""Frames out of a video by PTS, as far as the file can be read."""

import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from toolkit.errors import VideoError
from toolkit.images import RgbImage
from toolkit.video.clock import Clock, Span
from toolkit.video.container import VideoFile
from toolkit.video.ending import claimed_s, held_s, is_cut
from toolkit.video.frame import Frame
from toolkit.video.seeking import from_key, key_shown, packets_from, sound_start, until
from toolkit.video.timeline import Segment

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from toolkit.video.container import VideoPacket

_WHOLE = Segment(0)
_MEND = "What could be read was used; give a whole copy of the file for the rest."


class DamagedVideoError(VideoError):
    """A part of the video cannot be read; every frame that can be was yielded before this."""


def frames(path: Path, segment: Segment | None = None) -> Iterator[Frame]:
    """Every readable frame of the first video stream, in the order of display.

    With a segment of the video's timeline, the frames whose PTS lie in it: over all segments
    each frame comes once, and is the same as in one pass. Raises VideoError where nothing can
    be read. A file that is cut short, or has damaged packets, yields all its readable frames
    first and then raises DamagedVideoError, whose message says how far it goes: a caller keeps
    what it has and knows that there was more. Each segment speaks of its own damage only.
    """
    with Decoder(path) as decoder:
        yield from decoder.decode(segment or _WHOLE)
        decoder.raise_for_damage(segment or _WHOLE)


def frame_at(path: Path, time_s: float) -> RgbImage:
    """The picture on display at `time_s` (PTS seconds), uint8 RGB (height, width, 3).

    Raises VideoError where the video has no frame at or before that time.
    """
    for seek in (True, False):
        shown: Frame | None = None
        with Decoder(path) as decoder:
            for frame in decoder.decode_near(time_s) if seek else decoder.decode():
                if frame.time_s > time_s + 1e-3:
                    break
                shown = frame
            if shown is not None:
                return shown.rgb()
    raise VideoError(f"{path} has no frame at {time_s:.2f} s.", mend="Give a time inside it.")


class Decoder:
    """One pass over an open video, or a part of it; counts what it could not read."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises VideoError."""
        self.path = path
        self._file = VideoFile(path)
        self._damaged = 0
        self._end_s = -math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, "h264"."""
        return self._file.stream.codec_context.name

    @property
    def frames_per_second(self) -> float | None:
        """The average rate that the header claims."""
        rate = self._file.stream.average_rate
        return float(rate) if rate else None

    @property
    def duration_s(self) -> float | None:
        """The length that the header claims; None for a stream that was saved without one."""
        return claimed_s(self._file)

    def decode(self, segment: Segment = _WHOLE) -> Iterator[Frame]:
        """Yield the frames of a segment; damaged packets are counted and passed over."""
        span = Span.of(segment, self._file)
        packets = self._file.packets()
        if math.isfinite(span.start):
            key = sound_start(self.path, int(span.start))
            packets = self._file.from_beginning() if key is None else packets_from(self._file, key)
        return self._frames(packets, span)

    def decode_near(self, time_s: float) -> Iterator[Frame]:
        """Yield the frames from the last key frame before `time_s` on, or all."""
        has_pts = self._file.has_pts
        key = key_shown(self._file, round(time_s / self._file.base)) if has_pts else None
        packets = self._file.from_beginning() if key is None else packets_from(self._file, key)
        return self._frames(packets, Span())

    def _frames(self, packets: Iterator["VideoPacket"], span: Span) -> Iterator[Frame]:
        clock = Clock(self._file)
        for image in self._images(packets, span, clock):
            time_s = clock.time_s(image)
            if image.pts is not None and not span.holds(image.pts):
                continue
            lasts_s = float((image.duration or 0) * self._file.base) or self._file.step_s
            self._end_s = max(self._end_s, time_s + lasts_s)
            yield Frame(time_s, image, round(image.rotation / 90) % 4)

    def _images(
        self, packets: Iterator["VideoPacket"], span: Span, clock: Clock
    ) -> Iterator["VideoFrame"]:
        import av

        for packet in until(from_key(packets), span.end):
            if packet is not None:
                clock.begin(packet)
            try:
                images = self._file.stream.decode(packet)
            except av.FFmpegError:
                self._damaged += packet is None or packet.pts is None or span.holds(packet.pts)
                continue
            for image in images:
                if image.is_corrupt:
                    self._damaged += image.pts is None or span.holds(image.pts)
                else:
                    yield image

    def raise_for_damage(self, segment: Segment = _WHOLE) -> None:
        """After decoding: raise DamagedVideoError, or VideoError where there was no frame."""
        if not math.isfinite(self._end_s):
            if segment == _WHOLE:
                raise VideoError(
                    f"{self.path} has no frame that can be decoded.",
                    mend="Give a whole video file.",
                )
            raise DamagedVideoError(f"{self.path} has no frame {_words(segment)}.", mend=_MEND)
        if self._file.unread or (segment.end_s is None and is_cut(self._file, self._end_s)):
            of = f" of {self.duration_s:.1f} s" if self.duration_s else ""
            length_s = held_s(self._file, self._end_s)
            raise DamagedVideoError(
                f"{self.path} ends at {length_s:.1f} s{of}: the file is cut.", mend=_MEND
            )
        if self._damaged:
            raise DamagedVideoError(
                f"{self.path} has {self._damaged} damaged frames, passed over.", mend=_MEND
            )


def _words(segment: Segment) -> str:
    start = "" if segment.start_s is None else f"from {segment.start_s:.1f} s"
    end = "" if segment.end_s is None else f"to {segment.end_s:.1f} s"
    return f"{start} {end}".strip()
