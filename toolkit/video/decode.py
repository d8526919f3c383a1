"""Frames out of a video by PTS, as far as the file can be read."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from toolkit.errors import VideoError
from toolkit.images import RgbImage
from toolkit.video.frame import Frame

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_CUT_TOLERANCE_S = 0.5  # headers count the last frames of a stream loosely


class DamagedVideoError(VideoError):
    """A part of the video cannot be read; every frame that can be was yielded before this."""


def frames(path: Path) -> Iterator[Frame]:
    """Every readable frame of the first video stream, in the order of display.

    Raises VideoError where nothing can be read. A file that is cut short, or has damaged
    packets, yields all its readable frames first and then raises DamagedVideoError, whose
    message says how far it goes: a caller keeps what it has and knows that there was more.
    """
    with Decoder(path) as decoder:
        yield from decoder.decode()
        decoder.raise_for_damage()


def frame_at(path: Path, time_s: float) -> RgbImage:
    """The picture on display at `time_s` (PTS seconds), uint8 RGB (height, width, 3).

    Raises VideoError where the video has no frame at or before that time.
    """
    for seek in (True, False):
        shown: Frame | None = None
        with Decoder(path) as decoder:
            if seek and not decoder.seek(time_s):
                continue
            for frame in decoder.decode():
                if frame.time_s > time_s + 1e-3:
                    break
                shown = frame
            if shown is not None:
                return shown.rgb()
    raise VideoError(f"{path} has no frame at {time_s:.2f} s.", mend="Give a time inside it.")


class Decoder:
    """One pass over an open video; counts what it could not read."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises VideoError."""
        self.path = path
        self._container = _open(path)
        try:
            self._stream = _video_stream(path, self._container)
        except BaseException:
            self._container.close()
            raise
        self._damaged_packets = 0
        self._unread: str | None = None
        self._end_s = -math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._container.close()

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, "h264"."""
        return self._stream.codec_context.name

    @property
    def frames_per_second(self) -> float | None:
        """The average rate that the header claims."""
        rate = self._stream.average_rate
        return float(rate) if rate else None

    @property
    def duration_s(self) -> float | None:
        """The length that the header claims; None for a stream that was saved without one."""
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration:
            return self._container.duration / 1e6
        return None

    def seek(self, time_s: float) -> bool:
        """Go to the key frame at or before `time_s`; False where the file cannot seek."""
        import av

        try:
            target = int(time_s / (self._stream.time_base or Fraction(1, 1000)))
            self._container.seek(target, stream=self._stream)
        except av.FFmpegError:
            return False
        return True

    def decode(self) -> Iterator[Frame]:
        """Yield the frames; damaged packets are counted and passed over."""
        step_s = 1 / (self.frames_per_second or 25.0)
        last_s: float | None = None
        for image in self._images():
            if image.pts is None:  # raw streams carry no clock: go on at the nominal rate
                time_s = 0.0 if last_s is None else last_s + step_s
            else:
                time_s = image.time
            last_s = time_s
            self._end_s = max(self._end_s, time_s + (_lasts_s(image) or step_s))
            yield Frame(time_s, image, round(image.rotation / 90) % 4)

    def _images(self) -> Iterator["VideoFrame"]:
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError as error:
                self._unread = error.strerror
                return
            try:
                images = packet.decode()
            except av.FFmpegError:
                self._damaged_packets += 1
                continue
            for image in images:
                if image.is_corrupt:
                    self._damaged_packets += 1
                else:
                    yield image

    def raise_for_damage(self) -> None:
        """After decoding: raise DamagedVideoError, or VideoError where there was no frame."""
        if not math.isfinite(self._end_s):
            raise VideoError(
                f"{self.path} has no frame that can be decoded.", mend="Give a whole video file."
            )
        mend = "What could be read was used; give a whole copy of the file for the rest."
        if self._missing_s() > _CUT_TOLERANCE_S or self._unread:
            of = f" of {self.duration_s:.1f} s" if self.duration_s else ""
            raise DamagedVideoError(
                f"{self.path} ends at {self._length_s():.1f} s{of}: the file is cut.", mend=mend
            )
        if self._damaged_packets:
            raise DamagedVideoError(
                f"{self.path} has {self._damaged_packets} damaged frames, passed over.", mend=mend
            )

    def _length_s(self) -> float:
        start = self._stream.start_time
        base = self._stream.time_base
        return self._end_s - (float(start * base) if start and base else 0.0)

    def _missing_s(self) -> float:
        # The container's length may be that of another stream (sound), so it proves nothing.
        if self._stream.duration is None and len(self._container.streams) > 1:
            return 0.0
        return (self.duration_s or 0.0) - self._length_s()


def _lasts_s(image: "VideoFrame") -> float:
    """How long a frame is on display; 0 where the file does not say."""
    if not image.duration or image.time_base is None:
        return 0.0
    return float(image.duration * image.time_base)


def _open(path: Path) -> "InputContainer":
    import av

    try:
        if path.stat().st_size == 0:
            raise VideoError(f"{path} is empty.", mend="Give a whole video file.")
        # Only plain files: a playlist in disguise must not reach out to the network.
        return av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        raise VideoError(
            f"{path} is no video that can be read: {error.strerror}.",
            mend="Give a video file that a player opens.",
        ) from error
    except OSError as error:
        raise VideoError(f"Cannot read the video {path}: {error.strerror}.") from error


def _video_stream(path: Path, container: "InputContainer") -> "VideoStream":
    if not container.streams.video:
        raise VideoError(f"{path} has no video stream.", mend="Give a file with pictures in it.")
    stream = container.streams.video[0]
    # Threads of either kind conceal damage in another way each time, or on each machine, and
    # the same video must give the same pictures. Analysis takes most of the time anyway.
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1  # some decoders (AV1) heed only this
    return stream
