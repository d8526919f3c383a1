from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.errors import VideoError
from toolkit.video.decode import DamagedVideoError, frame_at, frames
from toolkit.video.probe import probe

LEVELS = (40, 80, 120, 160, 200)


@pytest.fixture
def flat_clip(tmp_path: Path, encode_clip: Any) -> Path:
    """Five flat gray frames at uneven times: the picture tells which frame it is."""
    path = tmp_path / "flat.mp4"
    pictures = [np.full((48, 64, 3), level, np.uint8) for level in LEVELS]
    encode_clip(path, pictures, [0.0, 0.1, 0.5, 0.55, 2.0])
    return path


def test_times_are_pts_at_a_variable_rate(flat_clip: Path) -> None:
    found = list(frames(flat_clip))
    assert [frame.time_s for frame in found] == pytest.approx([0.0, 0.1, 0.5, 0.55, 2.0], abs=1e-3)
    assert [float(frame.rgb().mean()) for frame in found] == pytest.approx(LEVELS, abs=3)


@pytest.mark.parametrize(
    ("time_s", "level"), [(0.0, 40), (0.3, 80), (0.52, 120), (1.9, 160), (2.0, 200)]
)
def test_frame_at_shows_what_a_player_shows(flat_clip: Path, time_s: float, level: int) -> None:
    assert frame_at(flat_clip, time_s).mean() == pytest.approx(level, abs=3)


def test_frame_at_before_the_first_frame_is_an_error(flat_clip: Path) -> None:
    with pytest.raises(VideoError, match="no frame at -1"):
        frame_at(flat_clip, -1.0)


def test_gray_is_the_luma_of_rgb(moving_clip: Path) -> None:
    frame = next(frames(moving_clip))
    red, green, blue = np.moveaxis(frame.rgb().astype(float), -1, 0)
    luma = 16 + (65.5 * red + 128.6 * green + 25.0 * blue) / 256  # BT.601, studio range
    assert np.abs(luma - frame.gray()).mean() < 2


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_rotation_metadata_makes_frames_upright(
    tmp_path: Path, encode_clip: Any, rotation: int, turns: int
) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32] = 255  # a white corner at the top left of what is stored
    path = tmp_path / "turned.mp4"
    encode_clip(path, [picture] * 3, [0, 0.1, 0.2], rotation=rotation)
    upright = np.rot90(picture, turns)
    frame = next(frames(path))
    assert (frame.height, frame.width) == upright.shape[:2]
    assert np.abs(frame.rgb().astype(int) - upright).mean() < 4
    assert np.abs(frame.gray().astype(float) - (16 + upright[..., 0] * (219 / 255))).mean() < 4
    info = probe(path)
    assert (info.height, info.width) == upright.shape[:2]


@pytest.mark.parametrize("pixels", ["yuv444p", "yuv420p10le"])
def test_other_pixel_formats_give_the_same_gray(
    tmp_path: Path, encode_clip: Any, pixels: str
) -> None:
    path = tmp_path / "other.mp4"
    ramp = np.tile(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], (48, 1, 3))
    encode_clip(path, [ramp] * 2, [0, 0.1], pixels=pixels)
    gray = next(frames(path)).gray().astype(float)
    assert np.corrcoef(gray[24], ramp[24, :, 0])[0, 1] > 0.999


def test_a_cut_file_gives_its_frames_and_then_says_where_it_ends(cut_clip: Path) -> None:
    got: list[float] = []
    with pytest.raises(DamagedVideoError, match=r"ends at \d\.\d s of 6\.0 s: the file is cut"):
        got.extend(frame.time_s for frame in frames(cut_clip))
    assert 10 < len(got) < 90
    assert got == sorted(got)


def _pictures(path: Path) -> list[bytes]:
    found: list[bytes] = []
    with pytest.raises(DamagedVideoError, match="damaged frames"):
        found.extend(frame.gray().tobytes() for frame in frames(path))
    return found


def test_a_damaged_file_gives_the_same_pictures_each_time(damaged_clip: Path) -> None:
    first = _pictures(damaged_clip)
    assert len(first) > 20
    assert all(_pictures(damaged_clip) == first for _ in range(4))


def test_a_damaged_file_gives_what_one_thread_gives(damaged_clip: Path) -> None:
    import av

    expected = []
    with av.open(str(damaged_clip)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                images = packet.decode()
            except av.FFmpegError:
                continue
            expected += [i.to_ndarray()[: i.height].tobytes() for i in images if not i.is_corrupt]
    assert _pictures(damaged_clip) == expected


@pytest.mark.parametrize("name", ["long.mkv", "long.mp4"])
def test_a_last_frame_that_is_shown_long_is_no_cut(tmp_path: Path, name: str) -> None:
    import av

    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        packets = [packet for _ in range(50) for packet in stream.encode(picture)]
        packets += stream.encode(None)
        packets[-1].duration = 125  # twenty-fifths of a second
        container.mux(packets)
    found = list(frames(path))
    assert len(found) == 50
    assert found[-1].time_s == pytest.approx(1.96, abs=1e-3)
    assert probe(path).duration_s == pytest.approx(6.96, abs=0.05)


def test_a_whole_file_ends_without_complaint(moving_clip: Path) -> None:
    assert len(list(frames(moving_clip))) == 90


def test_a_text_file_is_no_video(text_clip: Path) -> None:
    with pytest.raises(VideoError, match="is no video that can be read"):
        next(frames(text_clip))
    with pytest.raises(VideoError, match="is no video that can be read"):
        probe(text_clip)


def test_an_empty_file_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    with pytest.raises(VideoError, match="is empty"):
        next(frames(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        next(frames(tmp_path / "gone.mp4"))


def test_a_playlist_in_disguise_opens_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "list.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError):
        list(frames(path))


def test_sound_alone_has_no_video_stream(tmp_path: Path) -> None:
    import wave

    path = tmp_path / "sound.mp4"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 800)
    with pytest.raises(VideoError, match="has no video stream"):
        next(frames(path))


def test_probe_reads_size_rate_length_and_codec(moving_clip: Path) -> None:
    info = probe(moving_clip)
    assert (info.width, info.height, info.codec) == (320, 240, "h264")
    assert info.duration_s == pytest.approx(6.0, abs=0.1)
    assert info.frames_per_second == pytest.approx(15.0, abs=0.3)
