"""Sampled frames against one naive pass: the last frame whose PTS each tick has reached."""

import hashlib
from pathlib import Path

import pytest

from toolkit.errors import VideoError
from toolkit.video.decode import DamagedVideoError, frames
from toolkit.video.sampled import sampled_frames, stretches
from toolkit.video.timeline import Timeline, read_timeline

KEYS = "keyint=12:bframes=2:scenecut=0"
OPEN = "keyint=12:bframes=3:open-gop=1:scenecut=0"


def shown(found):
    return [(f.time_s, hashlib.sha256(f.rgb().tobytes()).hexdigest()) for f in found]


def naive(path: Path, every_s: float):
    everything = shown(frames(path))
    start_s, end_s = everything[0][0], read_timeline(path).end_s
    wanted, tick = [], 0
    while start_s + tick * every_s < end_s:
        reached = [one for one in everything if one[0] <= start_s + tick * every_s + 1e-3]
        if reached[-1] not in wanted:
            wanted.append(reached[-1])
        tick += 1
    return wanted


FOOTAGE = {
    "closed groups": ("a.mp4", {"x264": KEYS}),
    "open groups": ("a.mkv", {"x264": OPEN}),
    "transport stream": ("a.ts", {"x264": KEYS}),
    "avi": ("a.avi", {"codec": "mpeg4", "b_frames": 2}),
    "raw stream": ("a.h264", {"x264": KEYS}),
}


@pytest.mark.parametrize("kind", FOOTAGE)
@pytest.mark.parametrize("every_s", [0.01, 0.04, 0.33, 1.0, 2.6, 100.0])
def test_samples_are_those_of_a_naive_pass(make_video, kind, every_s):
    name, options = FOOTAGE[kind]
    path = make_video(name, ticks=range(150), **options)
    timeline = read_timeline(path)
    assert shown(sampled_frames(path, every_s, timeline)) == naive(path, every_s)


def test_a_variable_rate_is_followed(make_clip):
    times = [0.0, 0.1, 0.15, 0.9, 2.0, 2.01, 2.02, 3.7, 3.8]
    clip = make_clip(times_s=times, sprites=())
    timeline = read_timeline(clip.path)
    found = [frame.time_s for frame in sampled_frames(clip.path, 0.5, timeline)]
    assert found[:5] == pytest.approx([0.0, 0.15, 0.9, 2.0, 2.02])
    assert found == [time_s for time_s, _ in naive(clip.path, 0.5)]


def test_a_video_of_one_frame_gives_it(make_clip):
    clip = make_clip(times_s=[0.0], sprites=())
    assert len(list(sampled_frames(clip.path, 7.0, read_timeline(clip.path)))) == 1


def test_only_the_stretches_that_hold_a_tick_are_decoded():
    timeline = Timeline(10.0, 40.0, tuple(float(s) for s in range(10, 40, 2)), 750)
    found = [(s.start_s, s.end_s) for s in stretches(timeline, 10.0)]
    assert found == [(None, 12.0), (20.0, 22.0), (30.0, 32.0), (38.0, None)]
    # A gap that is shorter than a look at its key frame is decoded through.
    assert [(s.start_s, s.end_s) for s in stretches(timeline, 2.0)] == [(None, None)]
    assert [(s.start_s, s.end_s) for s in stretches(timeline, 100.0)] == [(None, 12), (38, None)]


def test_without_key_frames_there_is_one_stretch():
    assert [(s.start_s, s.end_s) for s in stretches(Timeline(0, 9, (), 9), 3)] == [(None, None)]


def test_a_cut_file_gives_what_is_readable_and_then_says_so(cut_clip):
    found = sampled_frames(cut_clip, 0.25, read_timeline(cut_clip))
    first = [next(found).time_s for _ in range(4)]
    assert first == sorted(first)
    with pytest.raises(DamagedVideoError, match="cut"):
        list(found)


def test_a_cut_file_says_so_also_where_its_end_is_not_sampled(make_video):
    front = {"movflags": "faststart"}  # the file's own index, so that a cut one can be opened
    path = make_video("a.mp4", ticks=range(150), x264=KEYS, muxer=front)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    found = sampled_frames(path, 1000.0, read_timeline(path))
    assert next(found).time_s == 0.0
    with pytest.raises(DamagedVideoError, match="cut"):
        next(found)


def test_what_is_no_video_is_refused(text_clip):
    with pytest.raises(VideoError):
        list(sampled_frames(text_clip, 1.0, Timeline(0.0, 1.0, (), 1)))


def test_the_share_of_a_timeline_is_between_none_and_all():
    timeline = Timeline(10.0, 20.0, (), 1)
    assert [timeline.share(t) for t in (0.0, 10.0, 12.5, 20.0, 99.0)] == [0, 0, 0.25, 1, 1]
    assert Timeline(3.0, 3.0, (), 1).share(3.0) == 1
