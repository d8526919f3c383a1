"""Decoding through torchcodec against the CPU's decoder, on torch's CPU device.

Each test runs on a stand-in for torchcodec, which answers as its documentation says, and on
torchcodec itself where that is installed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.errors import VideoError
from toolkit.video.cuda import cuda_frames
from toolkit.video.cuda_frame import CudaFrame
from toolkit.video.decode import DamagedVideoError, frames
from toolkit.video.shown import ShownFrame
from toolkit.video.timeline import Segment, read_timeline

OPEN = "keyint=12:bframes=3:open-gop=1:scenecut=0"
CLOSED = "keyint=12:bframes=2:scenecut=0"
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
FOOTAGE: dict[str, tuple[str, dict[str, Any]]] = {
    "closed groups": ("a.mp4", {"x264": CLOSED}),
    "open groups": ("a.mkv", {"x264": OPEN}),
    "transport stream": ("a.ts", {"x264": CLOSED}),
    "ten bits": ("a.mp4", {"pixels": "yuv420p10le"}),
    "full range": ("a.mp4", {"x264": "colormatrix=bt709:fullrange=on:keyint=12"}),
    "turned left": ("a.mp4", {"rotation": 90}),
    "turned over": ("a.mp4", {"rotation": 180}),
    "turned right": ("a.mp4", {"rotation": -90}),
    "interlaced": ("a.mp4", {"x264": "interlaced=1:tff=1:keyint=12"}),
    "motion jpeg": ("a.mov", {"codec": "mjpeg", "pixels": "yuvj420p"}),
    "mpeg4 with b-frames": ("a.mkv", {"codec": "mpeg4", "b_frames": 2}),
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime"}}),
    "mpeg2": ("a.ts", {"codec": "mpeg2video"}),
    "no length in the header": ("a.mkv", {"x264": CLOSED, "muxer": {"live": "1"}}),
    "fragments": ("a.mp4", {"x264": CLOSED, "muxer": FRAGMENTED}),
    "flash": ("a.flv", {"x264": CLOSED}),
}


def shown(path: Path, segment: Segment | None = None) -> list[ShownFrame]:
    return list(cuda_frames(path, segment, _device="cpu"))


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("name", FOOTAGE)
def test_frames_are_those_of_the_cpu(make_video: Any, name: str) -> None:
    file, encoding = FOOTAGE[name]
    path = make_video(file, **encoding)
    found, expected = shown(path), list(frames(path))
    assert [frame.time_s for frame in found] == [frame.time_s for frame in expected]
    assert len(found) == 60
    assert all(isinstance(frame, CudaFrame) for frame in found)
    for mine, theirs in zip(found[::7], expected[::7], strict=True):
        assert (mine.width, mine.height) == (theirs.width, theirs.height)
        # Colours at hard edges are another matter: they depend on the version of FFmpeg.
        assert np.median(np.abs(mine.rgb().astype(int) - theirs.rgb())) <= 2
        assert np.array_equal(mine.crop(11, 21, 70, 83), mine.rgb()[21:83, 11:70])
        # The pictures have colours that RGB cannot hold, and lose some gray with them.
        assert _apart(mine.small(80), theirs.small(80)) < 4


def _apart(first: Any, second: Any) -> float:
    assert first.shape == second.shape
    assert first.flags.c_contiguous
    return float(np.abs(first.astype(int) - second).mean())


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("name", FOOTAGE)
def test_segments_hold_each_frame_once(make_video: Any, name: str) -> None:
    file, encoding = FOOTAGE[name]
    path = make_video(file, **encoding)
    segments = read_timeline(path).segments(0.6)
    assert len(segments) > 1
    for segment in segments:
        found, expected = shown(path, segment), list(frames(path, segment))
        assert [frame.time_s for frame in found] == [frame.time_s for frame in expected]
        for place in (0, -1):
            apart = found[place].rgb().astype(int) - expected[place].rgb()
            assert np.median(np.abs(apart)) <= 2


@pytest.mark.usefixtures("decoder")
def test_a_variable_rate_keeps_its_times(make_video: Any) -> None:
    path = make_video("v.mkv", ticks=[0, 1, 2, 10, 11, 40, 41, 42, 43, 90])
    assert [f.time_s for f in shown(path)] == [f.time_s for f in frames(path)]


@pytest.mark.usefixtures("decoder")
def test_a_single_frame(make_video: Any) -> None:
    assert len(shown(make_video("one.mp4", ticks=[0]))) == 1


@pytest.mark.usefixtures("decoder")
def test_a_file_that_is_cut_gives_its_frames_and_says_so(
    cut_clip: Path, readable: Callable[[Any], list[Any]]
) -> None:
    with pytest.raises(DamagedVideoError) as expected:
        list(frames(cut_clip))
    found: list[float] = []
    with pytest.raises(DamagedVideoError) as error:
        found.extend(frame.time_s for frame in cuda_frames(cut_clip, _device="cpu"))
    assert found == [frame.time_s for frame in readable(frames(cut_clip))]
    assert error.value.problem == expected.value.problem


def test_damage_costs_no_frame_that_the_cpu_can_read(
    installed: None,
    damaged_clip: Path,
    damaged_in_the_middle: Path,
    readable: Callable[[Any], list[Any]],
) -> None:
    for path in (damaged_clip, damaged_in_the_middle):
        found = [frame.time_s for frame in readable(cuda_frames(path, _device="cpu"))]
        assert {frame.time_s for frame in readable(frames(path))} <= set(found)
        assert found == sorted(set(found))


@pytest.mark.usefixtures("decoder")
def test_what_is_no_video_is_refused(text_clip: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path in (text_clip, empty, tmp_path / "absent.mp4"):
        with pytest.raises(VideoError):
            shown(path)


@pytest.mark.gpu
def test_a_gpu_decodes_the_frames_of_the_cpu(moving_clip: Path) -> None:
    found, expected = list(cuda_frames(moving_clip)), list(frames(moving_clip))
    assert [frame.time_s for frame in found] == [frame.time_s for frame in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert isinstance(mine, CudaFrame)
        assert mine.pixels.device.type == "cuda"
        assert _apart(mine.small(160), theirs.small(160)) < 3
        assert _apart(mine.crop(20, 30, 100, 90), theirs.crop(20, 30, 100, 90)) < 3
