"""Synthetic footage with known truth, shared by all tests: textured sprites on a texture.

`make_clip` draws and encodes a clip into tmp_path and says where every sprite is at any
time; `moving_clip`, `still_clip`, `cut_clip` and `text_clip` are ready-made ones.
"""

import math
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.records import Box

# A shell starts its background jobs deaf to Ctrl-C, and they hand that on: the tests of Ctrl-C
# would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

Picture = NDArray[np.uint8]
Route = Callable[[float], tuple[float, float]]  # seconds to the middle (x, y) in the world


@dataclass(frozen=True)
class Sprite:
    """A textured rectangle; `route` is in world pixels, before the camera's pan."""

    route: Route
    width: int = 36
    height: int = 52
    seed: int = 1
    appears_s: float = 0.0
    vanishes_s: float = math.inf


@dataclass(frozen=True)
class Clip:
    """A clip on disk and the truth about it: `boxes(t)` holds None for a hidden sprite."""

    path: Path
    sprites: Sequence[Sprite]
    pan: Route
    times_s: list[float] = field(default_factory=list)

    def boxes(self, time_s: float) -> list[Box | None]:
        return [_box(sprite, self.pan, time_s) for sprite in self.sprites]


def line(start: tuple[float, float], speed: tuple[float, float]) -> Route:
    return lambda t: (start[0] + speed[0] * t, start[1] + speed[1] * t)


def _texture(height: int, width: int, seed: int, contrast: float) -> NDArray[np.float32]:
    """Coloured blotches of two sizes: something to follow, and no two alike."""
    random = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for cell, weight in ((4, 0.5), (13, 0.5)):
        blotches = random.random((height // cell + 1, width // cell + 1, 3)).astype(np.float32)
        picture += weight * np.kron(blotches, np.ones((cell, cell, 1)))[:height, :width]
    tint = random.random(3)
    return (255 * (contrast * (picture - 0.5) + 0.25 + 0.5 * tint)).clip(0, 255)


def _box(sprite: Sprite, pan: Route, time_s: float) -> Box | None:
    if not sprite.appears_s <= time_s < sprite.vanishes_s:
        return None
    (x, y), (dx, dy) = sprite.route(time_s), pan(time_s)
    return Box.around(x - dx, y - dy, sprite.width, sprite.height)


def draw(
    sprites: Sequence[Sprite], pan: Route, time_s: float, size: tuple[int, int], scene: int
) -> Picture:
    """One frame (height, width, 3): the background moved by the pan, the sprites on it."""
    import cv2

    height, width = size
    world = _texture(height + 160, width + 320, 1000 + scene, 0.6)
    dx, dy = pan(time_s)
    shift = np.array([[1, 0, dx + 80], [0, 1, dy + 80]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    frame = cv2.warpAffine(world, shift, (width, height), flags=flags)
    for sprite in sprites:
        box = _box(sprite, pan, time_s)
        if box is None:
            continue
        texture = _texture(sprite.height, sprite.width, sprite.seed, 1.0)
        place = np.array([[1, 0, box.x0], [0, 1, box.y0]], np.float64)
        layer = cv2.warpAffine(texture, place, (width, height))
        cover = cv2.warpAffine(np.ones(texture.shape[:2], np.float32), place, (width, height))
        frame = frame * (1 - cover[..., None]) + layer * cover[..., None]
    return frame.round().astype(np.uint8)


def encode(
    path: Path,
    frames: Sequence[Picture],
    times_s: Sequence[float],
    *,
    rotation: int = 0,
    pixels: str = "yuv420p",
) -> None:
    """H.264 with the index in front, so that a cut file can still be opened."""
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        options = {"preset": "veryfast", "crf": "16"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.time_base = Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for picture, time_s in zip(frames, times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = round(time_s * 1000)
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


THREE_SPRITES = (
    Sprite(line((50, 60), (38, 6)), seed=1),
    Sprite(line((270, 120), (-34, 8)), 44, 40, seed=2),
    Sprite(line((80, 200), (30, -5)), 40, 40, seed=3),
)


class ClipMaker:
    """Draws clips into one folder; `scenes` are backgrounds that follow on hard cuts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        name: str = "clip.mp4",
        sprites: Sequence[Sprite] = THREE_SPRITES,
        *,
        seconds: float = 6.0,
        rate: float = 15.0,
        size: tuple[int, int] = (240, 320),
        pan: Route = lambda t: (0.0, 0.0),
        scenes: Sequence[float] = (),
        times_s: Sequence[float] | None = None,
    ) -> Clip:
        """size: (height, width); scenes: the times of cuts; times_s: for a variable rate."""
        times = list(times_s or (i / rate for i in range(round(seconds * rate))))
        frames = [draw(sprites, pan, t, size, sum(t >= cut for cut in scenes)) for t in times]
        path = self.folder / name
        encode(path, frames, times)
        return Clip(path, sprites, pan, times)


@pytest.fixture
def make_clip(tmp_path: Path) -> ClipMaker:
    return ClipMaker(tmp_path)


@pytest.fixture
def encode_clip() -> Callable[..., None]:
    """The encoder itself, for clips of given pictures: encode(path, pictures, times_s)."""
    return encode


@pytest.fixture
def sprite() -> Callable[..., Sprite]:
    """Makes sprites: sprite(start, speed, ...), in pixels and pixels a second."""
    return lambda start, speed, **rest: Sprite(line(start, speed), **rest)


@pytest.fixture(scope="session")
def truth_clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """moving_clip with its truth."""
    return ClipMaker(tmp_path_factory.mktemp("moving"))("moving.mp4")


@pytest.fixture(scope="session")
def moving_clip(truth_clip: Clip) -> Path:
    """Six seconds, 320x240: three textured sprites cross a textured background."""
    return truth_clip.path


@pytest.fixture(scope="session")
def still_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds in which nothing moves."""
    return ClipMaker(tmp_path_factory.mktemp("still"))("still.mp4", (), seconds=3).path


@pytest.fixture(scope="session")
def cut_clip(moving_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """moving_clip with the last third of its bytes missing, as after a broken copy."""
    path = tmp_path_factory.mktemp("cut") / "cut.mp4"
    content = moving_clip.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path


@pytest.fixture(scope="session")
def damaged_clip(moving_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """moving_clip with noise in many places of its pictures, as from a failing disk."""
    path = tmp_path_factory.mktemp("damaged") / "damaged.mp4"
    content = np.frombuffer(moving_clip.read_bytes(), np.uint8).copy()
    random = np.random.default_rng(3)
    for start in random.integers(len(content) // 4, len(content) - 32, 25):
        content[start : start + 16] = random.integers(0, 256, 16)
    path.write_bytes(content.tobytes())
    return path


@pytest.fixture(scope="session")
def text_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file that calls itself a video."""
    path = tmp_path_factory.mktemp("text") / "text.mp4"
    path.write_text("This is no video.\n" * 50)
    return path


@pytest.fixture
def largest_file() -> Callable[[int], AbstractContextManager[None]]:
    """`with largest_file(bytes)`: the system lets no file of this process grow beyond that.

    The nearest thing to a full disk that needs no root: a write stops in the middle (EFBIG).
    """
    import resource  # Python itself ignores the signal that comes with it, SIGXFSZ

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit
