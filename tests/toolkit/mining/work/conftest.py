"""Clips with a key frame each second, so that they are mined in several short segments."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from toolkit.mining.settings import MiningSettings

SEGMENT_S = 2.0
SETTINGS = MiningSettings(gap_s=0.4)


def keyed(source: Path, target: Path, start: int, stop: int, *, mirror: bool = False) -> None:
    """Write frames start to stop of `source` again, 15 a second, with a key frame each second."""
    import av

    with av.open(str(source)) as reader:
        pictures = [frame.to_ndarray(format="rgb24") for frame in reader.decode(video=0)]
    with av.open(str(target), "w") as writer:
        stream = writer.add_stream("libx264", rate=15, options={"crf": "18", "preset": "veryfast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 15
        for number, picture in enumerate(pictures[start:stop]):
            shown = picture[:, ::-1] if mirror else picture
            frame = av.VideoFrame.from_ndarray(shown.copy(), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 15)
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))


@pytest.fixture(scope="session")
def clips(moving_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three clips with things that move: of 3, 2 and 1 segments."""
    folder = tmp_path_factory.mktemp("clips")
    keyed(moving_clip, folder / "a.mp4", 0, 90)
    keyed(moving_clip, folder / "b.mp4", 15, 75, mirror=True)
    keyed(moving_clip, folder / "c.mp4", 30, 60)
    return folder


@pytest.fixture(scope="session")
def undisturbed(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What mining the clips gives when nothing happens: every file of OUT."""
    from toolkit.mining.work.run import How, mine

    out = tmp_path_factory.mktemp("undisturbed") / "p"
    report = mine([clips], out, SETTINGS, None, How(segment_s=SEGMENT_S))
    assert (report.videos, report.quarantined) == (3, [])
    content = content_of(out)
    assert len([name for name in content if name.endswith(".tar")]) == 3
    assert len(content) == 7  # three shards, three entries, the lock
    return content


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="session")
def content() -> Callable[[Path], dict[str, bytes]]:
    return content_of


@pytest.fixture(scope="session")
def settings() -> MiningSettings:
    """Pairs so close in time that short segments give many."""
    return SETTINGS


@pytest.fixture(scope="session")
def segment_s() -> float:
    return SEGMENT_S
