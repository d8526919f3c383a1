"""A stand-in for torchcodec, of which a test says where the GPU fails."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from toolkit.errors import MissingError
from toolkit.video.decode import DamagedVideoError, frames
from toolkit.video.nvdec import load_torchcodec


@dataclass
class StandIn:
    """A torchcodec of which a test says where it fails; `asked` are the frames of each call.

    broken: numbers of frames that cannot be decoded; pictureless: packets that give none;
    late: frames by which decoding begins too late, `always` or until sought further back;
    fallback: why it is not NVDEC's.
    """

    broken: frozenset[int] = frozenset()
    pictureless: frozenset[int] = frozenset()
    late: int = 0
    always: bool = False
    fallback: str = ""
    ffmpeg_major_version: int = 7
    asked: list[int] = field(default_factory=list)
    opened: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def decoders(self) -> SimpleNamespace:
        return SimpleNamespace(VideoDecoder=lambda *args, **kw: _Decoder(self, *args, **kw))


class _Fallback(str):
    def __bool__(self) -> bool:
        return "No fallback" not in self


class _Decoder:
    """Plays a mapping of frames; what it cannot do is a RuntimeError, as in torchcodec."""

    def __init__(self, stand_in: StandIn, source: str, **options: Any) -> None:
        import torch

        assert source.startswith("file:")
        assert options["dimension_order"] == "NHWC"
        assert options["device"] == "cpu"
        mapped = json.loads(options["custom_frame_mappings"])["frames"]
        assert mapped[0]["key_frame"]
        path = Path(source.removeprefix("file:"))
        every = {round(f.time_s * 90000): (f.time_s, f.rgb()) for f in every_readable(path)}
        numbers = {ticks: number for number, ticks in enumerate(sorted(every))}
        base = base_of(path)
        self._plan = stand_in
        self._mapped = [round(frame["pts"] * base * 90000) for frame in mapped]
        self._offset = int(self._mapped[0] not in every)  # an invented key frame
        begin = 0 if self._offset else numbers[self._mapped[0]]
        if stand_in.always or not self._offset:
            begin += stand_in.late
        self._queue = [
            (numbers[ticks], every[ticks][0], torch.from_numpy(every[ticks][1]))
            for ticks in sorted(every)
            if numbers[ticks] >= begin and numbers[ticks] not in stand_in.pictureless
        ]
        self.cpu_fallback = _Fallback(stand_in.fallback or "No fallback required")
        self.metadata = SimpleNamespace(codec="h264")
        stand_in.opened.append(options)

    def get_frames_played_at(self, seconds: Sequence[float]) -> SimpleNamespace:
        import torch

        self._plan.asked.append(len(seconds))
        ticks = [round(at * 90000) for at in seconds]
        first = max(mapped for mapped in self._mapped if mapped <= ticks[0])
        found = [one for one in self._queue if round(one[1] * 90000) >= first][: len(seconds)]
        if len(found) < len(seconds):
            raise RuntimeError("Requested next frame while there are no more frames left.")
        if self._plan.broken & {number for number, _, _ in found}:
            raise RuntimeError("Could not push packet to decoder: Invalid data\nmore")
        pts = torch.tensor([time_s for _, time_s, _ in found], dtype=torch.float64)
        return SimpleNamespace(data=torch.stack([p for _, _, p in found]), pts_seconds=pts)


def every_readable(path: Path) -> Iterator[Any]:
    return until_damage(frames(path))


def until_damage(found: Iterator[Any]) -> Iterator[Any]:
    """The frames before a DamagedVideoError, or all."""
    try:
        yield from found
    except DamagedVideoError:
        return


def base_of(path: Path) -> float:
    from toolkit.video.container import VideoFile

    with VideoFile(path) as file:
        return float(file.base)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., StandIn]:
    """Puts a stand-in in the place of torchcodec: stand_in(broken=...)."""

    def install(**plan: Any) -> StandIn:
        made = StandIn(**plan)
        monkeypatch.setitem(sys.modules, "torchcodec", made)  # type: ignore[arg-type]
        return made

    return install


@pytest.fixture
def installed() -> None:
    try:
        load_torchcodec()
    except MissingError as error:
        pytest.skip(error.problem)


@pytest.fixture(params=["stand-in", "torchcodec"])
def decoder(request: pytest.FixtureRequest) -> None:
    if request.param == "torchcodec":
        request.getfixturevalue("installed")
    else:
        request.getfixturevalue("stand_in")()


@pytest.fixture
def damaged_in_the_middle(make_video: Any) -> Path:
    """Noise in a picture of the third group."""
    from toolkit.video.container import VideoFile

    path: Path = make_video("damaged.mp4", x264="keyint=12:bframes=0:scenecut=0")
    with VideoFile(path) as file:
        packet = list(file.packets())[26]
        position, size = packet.pos, packet.size
    assert position is not None
    content = bytearray(path.read_bytes())
    noise = np.random.default_rng(0).integers(0, 256, size - 8, np.uint8)
    content[position + 8 : position + size] = noise.tobytes()
    path.write_bytes(content)
    assert len(list(every_readable(path))) < 60
    return path


@pytest.fixture
def readable() -> Callable[[Iterator[Any]], list[Any]]:
    """Lists what comes before a DamagedVideoError: readable(frames(path))."""
    return lambda found: list(until_damage(found))
