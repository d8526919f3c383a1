"""Where the GPU, torchcodec or the footage is not as it should be; on a stand-in for torchcodec."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import MissingError, VideoError
from toolkit.video.container import VideoFile
from toolkit.video.cuda import _BATCH, NotOnGpuError, cuda_frames
from toolkit.video.cuda_frame import CudaFrame
from toolkit.video.decode import DamagedVideoError, frames
from toolkit.video.nvdec import load_torchcodec
from toolkit.video.shown import ShownFrame
from toolkit.video.timeline import Segment, read_timeline

CLOSED = "keyint=12:bframes=2:scenecut=0"


def shown(path: Path, segment: Segment | None = None) -> list[ShownFrame]:
    return list(cuda_frames(path, segment, _device="cpu"))


def test_few_frames_are_asked_for_at_once(make_video: Any, stand_in: Callable[..., Any]) -> None:
    torchcodec = stand_in()
    path = make_video("a.mp4", x264=CLOSED)
    shown(path)
    assert max(torchcodec.asked) == _BATCH
    assert sum(torchcodec.asked) == 60
    assert len(torchcodec.opened) == 1
    assert torchcodec.opened[0]["stream_index"] == 0


def test_a_segment_is_decoded_from_its_own_key_frame(
    make_video: Any, stand_in: Callable[..., Any]
) -> None:
    torchcodec = stand_in()
    path = make_video("a.mp4", x264=CLOSED)
    segment = read_timeline(path).segments(0.6)[1]
    found = shown(path, segment)
    mapped = json.loads(torchcodec.opened[0]["custom_frame_mappings"])["frames"]
    assert len(mapped) == len(found) == sum(torchcodec.asked)
    with VideoFile(path) as file:
        assert float(mapped[0]["pts"] * file.base) == segment.start_s


def test_where_the_gpu_stops_at_damage_the_cpu_goes_on(
    damaged_in_the_middle: Path, stand_in: Callable[..., Any], readable: Callable[[Any], list[Any]]
) -> None:
    stand_in(broken=frozenset(range(24, 30)))
    found: list[ShownFrame] = []
    with pytest.raises(DamagedVideoError, match="is damaged in 1 places"):
        found.extend(cuda_frames(damaged_in_the_middle, _device="cpu"))
    assert [f.time_s for f in found] == [f.time_s for f in readable(frames(damaged_in_the_middle))]
    by_gpu = [isinstance(frame, CudaFrame) for frame in found]
    assert by_gpu[0]
    assert by_gpu[-1]
    assert 1 <= by_gpu.count(False) <= 12


def test_a_gpu_that_fails_on_a_sound_video_is_an_error(
    make_video: Any, stand_in: Callable[..., Any]
) -> None:
    stand_in(broken=frozenset({30}))
    path = make_video("a.mp4", x264=CLOSED)
    found: list[ShownFrame] = []
    with pytest.raises(
        VideoError, match=r"on the GPU at 1\.2 s: Could not push .* Invalid data\. "
    ) as e:
        found.extend(cuda_frames(path, _device="cpu"))
    assert not isinstance(e.value, DamagedVideoError)
    assert "--device cpu" in e.value.mend
    assert [f.time_s for f in found[:30]] == [f.time_s for f in frames(path)][:30]


def test_decoding_that_begins_too_late_begins_again_further_back(
    make_video: Any, stand_in: Callable[..., Any]
) -> None:
    torchcodec = stand_in(late=3)
    path = make_video("a.mp4", x264=CLOSED)
    for segment in [None, *read_timeline(path).segments(0.6)]:
        found = shown(path, segment)
        assert [f.time_s for f in found] == [f.time_s for f in frames(path, segment)]
        assert all(isinstance(frame, CudaFrame) for frame in found)
    assert len(torchcodec.opened) % 2 == 0


def test_decoding_that_always_begins_too_late_is_an_error(
    make_video: Any, stand_in: Callable[..., Any]
) -> None:
    stand_in(late=3, always=True)
    with pytest.raises(VideoError, match="began too late"):
        shown(make_video("a.mp4", x264=CLOSED))


@pytest.mark.parametrize("packets", [{7}, {5, 6, 7, 8, 9}, {58, 59}])
def test_packets_without_a_picture_are_passed_over(
    make_video: Any,
    stand_in: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    packets: set[int],
) -> None:
    import toolkit.video.cuda as module

    stand_in(pictureless=frozenset(packets))
    path = make_video("a.mp4", x264="keyint=60:bframes=0")
    expected = [f for i, f in enumerate(frames(path)) if i not in packets]
    times = {f.time_s for f in expected}
    monkeypatch.setattr(
        module, "frames", lambda *args: (f for f in frames(*args) if f.time_s in times)
    )
    assert [f.time_s for f in shown(path)] == [f.time_s for f in expected]


def test_a_codec_that_nvdec_lacks_is_refused_at_once(
    make_video: Any, stand_in: Callable[..., Any]
) -> None:
    stand_in(fallback="[CUDA] Fallback status: Falling back due to: Video not supported")
    with pytest.raises(NotOnGpuError, match="does not decode h264") as error:
        shown(make_video("a.mp4"))
    assert "--device cpu" in error.value.mend


def test_a_driver_without_nvdec_is_missing(make_video: Any, stand_in: Callable[..., Any]) -> None:
    stand_in(fallback="[CUDA] Fallback status: Falling back due to: NVcuvid unavailable")
    with pytest.raises(MissingError, match="libnvcuvid"):
        shown(make_video("a.mp4"))


def test_without_a_gpu_or_torchcodec_it_says_what_is_missing(
    moving_clip: Path, stand_in: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    stand_in()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MissingError, match="--device cuda cannot be had"):
        next(cuda_frames(moving_clip))
    monkeypatch.setitem(sys.modules, "torchcodec", None)  # type: ignore[arg-type]
    with pytest.raises(MissingError, match=r"needs the package torchcodec") as error:
        next(cuda_frames(moving_clip, _device="cpu"))
    assert "vr-toolkit[gpu]" in error.value.mend


def test_a_torchcodec_that_cannot_be_loaded_says_why(
    stand_in: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in(ffmpeg_major_version=None)
    with pytest.raises(MissingError, match="finds no FFmpeg"):
        load_torchcodec()
    monkeypatch.delitem(sys.modules, "torchcodec")
    (tmp_path / "torchcodec.py").write_text("raise OSError('libx.so: not found')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingError, match=r"libx\.so: not found\. It needs"):
        load_torchcodec()


def test_footage_that_only_the_cpu_decodes(
    make_video: Any, stand_in: Callable[..., Any], tmp_path: Path
) -> None:
    stand_in()
    for name, codec in [("a.avi", "mpeg4"), ("b.avi", "libx264"), ("a.mpg", "mpeg2video")]:
        with pytest.raises(NotOnGpuError, match="only by reading it from its beginning"):
            shown(make_video(name, codec=codec))
    with pytest.raises(NotOnGpuError, match="does not say when"):
        shown(make_video("raw.h264", x264=CLOSED))
    part = make_video("part.ts", x264=CLOSED)
    playlist = tmp_path / "list.mp4"
    playlist.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.4,\n{part.name}\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(VideoError):
        shown(playlist)
    turned = make_video("i.mp4", x264="interlaced=1:tff=1:keyint=12", rotation=90)
    with pytest.raises(NotOnGpuError, match="interlaced and turned"):
        shown(turned)


def test_a_clock_that_is_set_back_is_left_to_the_cpu(
    make_video: Any, stand_in: Callable[..., Any], readable: Callable[[Any], list[Any]]
) -> None:
    stand_in()
    first = make_video("a.ts", x264="keyint=12:bframes=0").read_bytes()
    path = make_video("b.ts", x264="keyint=12:bframes=0")
    path.write_bytes(first + path.read_bytes())
    assert len(readable(frames(path))) == 120
    with pytest.raises(NotOnGpuError, match="its clock is set back"):
        shown(path)
