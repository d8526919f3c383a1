"""What a video says about itself, checked by decoding its first frame."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import VideoError
from toolkit.video.decode import Decoder


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """width and height in pixels of the upright frame; None where the header is silent."""

    path: Path
    width: int
    height: int
    duration_s: float | None
    frames_per_second: float | None
    codec: str


def probe(path: Path) -> VideoInfo:
    """Open a video and decode its first frame.

    Raises VideoError for what is no video, has no video stream, or has no readable frame.
    """
    with Decoder(path) as decoder:
        frame = next(iter(decoder.decode()), None)
        if frame is None:
            raise VideoError(f"{path} has no frame that can be decoded.")
        return VideoInfo(
            path=path,
            width=frame.width,
            height=frame.height,
            duration_s=decoder.duration_s,
            frames_per_second=decoder.frames_per_second,
            codec=decoder.codec,
        )
