"""An open video file: its first video stream, the packets of it, and going to a key frame."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from toolkit.errors import VideoError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    VideoPacket = Packet[VideoStream]

# A seek aims at DTS, or at bytes near a time, and may come out too late: ask for earlier
# places, and in the end read from the beginning.
_SEEK_BACK_S = (0.0, 2.0, 20.0)
# Their demuxers give times that depend on what was read before: an AVI's clock counts its
# chunks and slips where one is damaged, and a program stream dates some of its frames only.
_CLOCK_BY_READING = frozenset({"avi", "mpeg"})
_REORDERING = frozenset({"h264", "hevc"})
_NOMINAL_RATE = 25.0  # frames a second, where the file does not say


class VideoFile:
    """A plain file with pictures in it; `unread` is why its packets ended before its end."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises VideoError where it is missing, empty, or holds no pictures."""
        self.path = path
        self.unread: str | None = None
        self._open()

    def _open(self) -> None:
        self.container = _open_container(self.path)
        try:
            self.stream = _video_stream(self.path, self.container)
        except BaseException:
            self.container.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def base(self) -> Fraction:
        """Seconds in a tick of PTS."""
        return self.stream.time_base or Fraction(1, 1000)

    @property
    def step_s(self) -> float:
        """Seconds from frame to frame, on average or by habit."""
        return 1 / (float(self.stream.average_rate or 0) or _NOMINAL_RATE)

    @property
    def has_pts(self) -> bool:
        """False where PTS are made up in the order of the file, which is not that of display."""
        return not (
            self.container.format.name == "avi" and self.stream.codec_context.name in _REORDERING
        )

    def packets(self) -> Iterator["VideoPacket"]:
        """The packets with a picture from here on, as far as they can be read."""
        import av

        try:
            for packet in self.container.demux(self.stream):
                if packet.size:  # an empty one would end decoding
                    yield packet
        except av.FFmpegError as error:
            self.unread = error.strerror
        except IndexError:  # how demux ends where another stream appeared on the way
            return

    def from_before(self, pts: int) -> Iterator[Iterator["VideoPacket"]]:
        """The packets from ever earlier places before `pts` on, the beginning last."""
        import av

        if self.container.format.name not in _CLOCK_BY_READING:
            for back_s in _SEEK_BACK_S:
                try:
                    self.container.seek(pts - round(back_s / self.base), stream=self.stream)
                except av.FFmpegError:
                    continue
                self.unread = None
                yield self.packets()
        yield self.from_beginning()

    def from_beginning(self) -> Iterator["VideoPacket"]:
        """All packets; the file is opened anew, for what cannot be sought cannot be rewound."""
        self.close()
        self._open()
        self.unread = None
        return self.packets()


def _open_container(path: Path) -> "InputContainer":
    import av

    try:
        if path.stat().st_size == 0:
            raise VideoError(f"{path} is empty.", mend="Give a whole video file.")
        # Only plain files: a playlist in disguise must not reach out to the network.
        return av.open(
            f"file:{path}",
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",  # titles come in any encoding
        )
    except av.FFmpegError as error:
        raise VideoError(
            f"{path} is no video that can be read: {error.strerror}.",
            mend="Give a video file that a player opens.",
        ) from error
    except OSError as error:
        raise VideoError(
            f"Cannot read the video {path}: {error.strerror}.", mend="Give the path of a video."
        ) from error


def _video_stream(path: Path, container: "InputContainer") -> "VideoStream":
    if not container.streams.video:
        raise VideoError(f"{path} has no video stream.", mend="Give a file with pictures in it.")
    stream = container.streams.video[0]
    if not hasattr(stream.codec_context, "thread_count"):  # None, whatever the annotations say
        raise VideoError(
            f"{path} has pictures in a format that is not known.",
            mend="Give a video file that a player opens.",
        )
    # Threads of either kind conceal damage in another way each time, or on each machine, and
    # the same video must give the same pictures. Analysis takes most of the time anyway.
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1  # some decoders (AV1) heed only this
    return stream
