"""Footage as it is: `make_video` encodes pictures that tell themselves apart, in any way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.video.stream import VideoStream

Picture = NDArray[np.uint8]


def numbered(index: int, width: int = 160, height: int = 96) -> Picture:
    """A textured picture (height, width, 3) that moves with its number; no two are alike."""
    world = np.random.default_rng(5).integers(0, 256, (height // 8 + 2, 80, 3), np.uint8)
    world = np.kron(world, np.ones((8, 8, 1), np.uint8))
    picture = world[:height, 2 * index % 200 :][:, :width].copy()
    picture[height // 3 : height // 2, : width // 4] = (index * 37 % 256, index * 11 % 256, 128)
    return picture


@dataclass(frozen=True)
class Encoding:
    """How to encode: 25 frames a second, a key frame in 12, unless it is told otherwise.

    x264: its own parameters, for the codec libx264.
    """

    codec: str = "libx264"
    pixels: str = "yuv420p"
    x264: str = "keyint=12:bframes=2:scenecut=0"
    options: Mapping[str, str] = field(default_factory=dict)
    gop: int = 12
    b_frames: int = 0
    rate: int = 25
    muxer: Mapping[str, str] = field(default_factory=dict)
    rotation: int = 0
    aspect: Fraction | None = None

    def apply(self, stream: "VideoStream") -> None:
        stream.pix_fmt = self.pixels
        context = stream.codec_context
        context.thread_count = 1
        if self.codec == "libx264":
            context.options = {"preset": "ultrafast", "x264-params": self.x264, **self.options}
        else:
            context.gop_size, context.max_b_frames = self.gop, self.b_frames
            context.options = dict(self.options)
        if self.aspect:
            context.sample_aspect_ratio = self.aspect
        if self.rotation:
            stream.set_display_rotation(self.rotation)


class VideoMaker:
    """Encodes pictures, numbered ones if none are given; the name says in which container.

    ticks: the PTS of the pictures in frame durations, 0, 1, 2... by default.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        name: str,
        pictures: Sequence[Picture] | None = None,
        ticks: Sequence[int] | None = None,
        **encoding: Any,
    ) -> Path:
        import av

        how = Encoding(**encoding)
        ticks = ticks or range(len(pictures) if pictures else 60)
        pictures = pictures or [numbered(i) for i in range(len(ticks))]
        path = self.folder / name
        with av.open(str(path), "w", options=dict(how.muxer)) as container:
            stream = container.add_stream(how.codec, rate=how.rate)
            stream.height, stream.width = pictures[0].shape[:2]
            how.apply(stream)
            for picture, pts in zip(pictures, ticks, strict=True):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame = frame.reformat(format=how.pixels)
                frame.pts, frame.time_base = pts, Fraction(1, how.rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path


@pytest.fixture
def make_video(tmp_path: Path) -> VideoMaker:
    return VideoMaker(tmp_path)


@pytest.fixture
def picture() -> Callable[..., Picture]:
    """The numbered pictures themselves: picture(index, width, height)."""
    return numbered
