"""Footage as it is: formats, interlace, clocks, headers that say too little or too much."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.errors import VideoError
from toolkit.video.decode import DamagedVideoError, frame_at, frames
from toolkit.video.probe import probe
from toolkit.video.timeline import read_timeline

Picture = NDArray[np.uint8]
PLAIN = "keyint=12:bframes=0:scenecut=0"
OPEN = "keyint=12:bframes=3:open-gop=1:scenecut=0"


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("odd.mkv", {"codec": "ffv1", "pixels": "yuv420p"}),
        ("odd.avi", {"codec": "mjpeg", "pixels": "yuvj420p", "options": {"qscale": "2"}}),
        ("odd.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime"}}),
        ("gray.mkv", {"codec": "ffv1", "pixels": "gray"}),
        ("deep_gray.mkv", {"codec": "ffv1", "pixels": "gray10le"}),
        ("deep.mkv", {"codec": "ffv1", "pixels": "yuv422p10le"}),
        ("rgb.mkv", {"codec": "ffv1", "pixels": "bgr0"}),
    ],
)
def test_odd_sizes_and_formats(
    make_video: Any, picture: Callable[..., Picture], name: str, encoding: dict[str, Any]
) -> None:
    pictures = [picture(i, 321, 241) for i in range(3)]
    found = list(frames(make_video(name, pictures, **encoding)))
    assert len(found) == 3
    for frame, expected in zip(found, pictures, strict=True):
        whole = frame.rgb()
        assert whole.shape == (241, 321, 3)
        luma = expected @ np.array([0.299, 0.587, 0.114])
        assert np.abs(whole.mean(2) - expected.mean(2)).mean() < (60 if "gray" in name else 12)
        assert np.corrcoef(frame.gray().ravel(), luma.ravel())[0, 1] > 0.97
        assert frame.small(107).shape == (80, 107)
        assert np.array_equal(frame.crop(31, 41, 320, 241), whole[41:241, 31:320])


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv422p10le"])
def test_ten_bits_give_the_gray_of_eight(make_video: Any, pixels: str) -> None:
    deep = next(frames(make_video("deep.mp4", pixels=pixels, x264="qp=10")))
    plain = next(frames(make_video("plain.mp4", pixels="yuv420p", x264="qp=10")))
    assert np.abs(deep.gray().astype(int) - plain.gray()).mean() < 1.5
    assert np.abs(deep.small(80).astype(int) - plain.small(80)).mean() < 1.5


@pytest.mark.parametrize("full", ["off", "on"])
@pytest.mark.parametrize("matrix", ["smpte170m", "bt709"])
def test_range_and_matrix_are_read_from_the_stream(make_video: Any, full: str, matrix: str) -> None:
    """The same planes under another label are other colours."""
    flat = np.full((64, 64, 3), (200, 40, 60), np.uint8)
    label = f"qp=4:colormatrix={matrix}:fullrange={full}"
    frame = next(frames(make_video("label.mp4", [flat] * 2, x264=label)))
    y = np.dot((200, 40, 60), (0.299, 0.587, 0.114)) / 255  # the encoder was given BT.601
    cb, cr = (60 / 255 - y) / 1.772, (200 / 255 - y) / 1.402
    if full == "on":  # and the limited range
        y, cb, cr = (219 * y + 16) / 255, cb * 224 / 255, cr * 224 / 255
    kr, kb = {"smpte170m": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    red, blue = y + (2 - 2 * kr) * cr, y + (2 - 2 * kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    expected = np.clip(np.array([red, green, blue]) * 255, 0, 255)
    assert np.abs(frame.rgb()[32, 32] - expected).max() <= 4
    assert np.abs(frame.crop(30, 30, 40, 40)[5, 5] - expected).max() <= 4


def _scene(time: float, width: int = 192, height: int = 128) -> Picture:
    """A smooth texture that moves 12 pixels in a unit of time, on one that rests."""
    import cv2

    noise = np.random.default_rng(3).normal(size=(height, width + 200)).astype(np.float32)
    world = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 20, 235, cv2.NORM_MINMAX)
    picture = world[:, :width].copy()
    shift = np.array([[1, 0, -12 * time], [0, 1, 0]], np.float64)
    moving = cv2.warpAffine(world, shift, (width, height), flags=cv2.INTER_LINEAR)
    picture[32:96] = moving[32:96]
    return np.repeat(picture.round().astype(np.uint8)[:, :, None], 3, 2)


def _woven(time: float) -> Picture:
    """An interlaced frame: even rows of this moment, odd rows of half a frame later."""
    woven = _scene(time)
    woven[1::2] = _scene(time + 0.5)[1::2]
    return woven


INTERLACED = {
    "h264": ("i.ts", {"x264": "interlaced=1:tff=1:keyint=6:bframes=2:qp=12"}),
    "h264, mp4": ("i.mp4", {"x264": "interlaced=1:bff=1:keyint=6:bframes=0:qp=12"}),
    "mpeg2": (
        "i.mpg",
        {"codec": "mpeg2video", "gop": 6, "options": {"flags": "+ilme+ildct", "b": "20M"}},
    ),
}


@pytest.mark.parametrize("kind", INTERLACED)
def test_interlaced_frames_show_one_moment(make_video: Any, kind: str) -> None:
    name, encoding = INTERLACED[kind]
    path = make_video(name, [_woven(i) for i in range(12)], **encoding)
    found = list(frames(path))
    assert len(found) == 12
    for i, frame in enumerate(found):
        truth = _scene(i)[..., 0].astype(float)
        shown = frame.rgb()
        assert shown.shape == (128, 192, 3)
        woven_error = np.abs(_woven(i)[32:96, :, 0] - truth[32:96]).mean()
        assert np.abs(shown[..., 1] - truth).mean() < 3 < 8 < woven_error
        gray = (frame.gray() - 16.0) * 255 / 219
        assert np.abs(gray - truth).mean() < 3
        assert np.array_equal(frame.crop(21, 35, 100, 64), shown[35:64, 21:100])
        assert np.array_equal(frame.crop(0, 0, 192, 128), shown)
        small = (frame.small(96) - 16.0) * 255 / 219
        # The field is half a row of the frame higher than where its mean is taken.
        assert np.abs(small - truth.reshape(64, 2, 96, 2).mean((1, 3))).mean() < 5
        tall = frame.small(160)  # more rows than the field has
        assert tall.shape == (107, 160)
    # Each picture needs no other one, so that segments and one pass agree.
    segments = read_timeline(path).segments(0.2)
    assert len(segments) == 2
    again = [frame for segment in segments for frame in frames(path, segment)]
    assert [f.time_s for f in again] == [f.time_s for f in found]
    assert all(np.array_equal(a.rgb(), b.rgb()) for a, b in zip(again, found, strict=True))


def test_an_interlaced_frame_on_its_side(make_video: Any) -> None:
    from dataclasses import replace

    path = make_video("i.ts", [_woven(i) for i in range(2)], x264="interlaced=1:tff=1:qp=12")
    frame = next(frames(path))
    turned = replace(frame, quarter_turns=1)
    assert np.array_equal(turned.rgb(), np.rot90(frame.rgb()))
    assert np.array_equal(turned.gray(), np.rot90(frame.gray()))
    assert np.array_equal(turned.small(96), np.rot90(frame.small(96)))
    assert np.array_equal(turned.crop(3, 5, 60, 71), turned.rgb()[5:71, 3:60])


def test_progressive_frames_keep_all_their_rows(make_video: Any) -> None:
    stripes = np.zeros((96, 160, 3), np.uint8)
    stripes[::2] = 255
    frame = next(frames(make_video("p.mkv", [stripes], codec="ffv1", pixels="gray")))
    assert np.array_equal(frame.rgb(), stripes)


def test_pixels_that_are_not_square_stay_as_they_are_stored(make_video: Any) -> None:
    path = make_video("wide.mkv", aspect=Fraction(16, 11))
    frame = next(frames(path))
    assert (frame.width, frame.height) == (160, 96) == (probe(path).width, probe(path).height)
    assert frame.rgb().shape == (96, 160, 3)


def test_a_4k_frame_in_parts(make_video: Any) -> None:
    picture = np.kron(_scene(0, 192, 108), np.ones((20, 20, 1), np.uint8))
    path = make_video("4k.mp4", [picture] * 2, x264="qp=20:keyint=2")
    frame = next(frames(path))
    assert (frame.width, frame.height) == (3840, 2160)
    small = (frame.small(384) - 16.0) * 255 / 219
    truth = picture[..., 0].reshape(216, 10, 384, 10).mean((1, 3))
    assert np.abs(small - truth).mean() < 2
    cut = frame.crop(3001, 1101, 3230, 1330).astype(int)
    assert np.abs(cut - picture[1101:1330, 3001:3230]).mean() < 3


@pytest.mark.parametrize("name", ["live.mkv", "frag.mp4", "plain.ts"])
def test_a_stream_saved_without_length_or_index_is_whole(make_video: Any, name: str) -> None:
    muxer = {
        "live.mkv": {"live": "1"},
        "frag.mp4": {"movflags": "frag_keyframe+empty_moov"},
        "plain.ts": {},
    }[name]
    path = make_video(name, x264=OPEN, muxer=muxer)
    assert len(list(frames(path))) == 60
    assert read_timeline(path).end_s - read_timeline(path).start_s == pytest.approx(2.4, abs=0.01)


@pytest.mark.parametrize(
    "encoding", [{"x264": OPEN}, {"codec": "mpeg4", "b_frames": 2}, {"codec": "mpeg2video"}]
)
def test_a_stream_joined_in_the_middle_begins_at_its_first_key_frame(
    make_video: Any, encoding: dict[str, Any]
) -> None:
    whole = make_video("whole.ts", **encoding)
    expected = {round(frame.time_s, 3): frame.rgb() for frame in frames(whole)}
    path = whole.with_name("joined.ts")
    content = whole.read_bytes()
    path.write_bytes(content[len(content) // 3 // 188 * 188 + 77 :])
    found = list(frames(path))  # without complaint: nothing of it is damaged
    timeline = read_timeline(path)
    assert 24 < len(found) < 48
    assert found[0].time_s == timeline.keyframes_s[0] == timeline.start_s
    for frame in found:
        assert np.array_equal(frame.rgb(), expected[round(frame.time_s, 3)])


def _long_last_frame(path: Path, codec: str) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        image = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        packets = [packet for _ in range(20) for packet in stream.encode(image)]
        packets += stream.encode(None)
        packets[-1].duration = 125
        container.mux(packets)
    return path


@pytest.mark.parametrize(("name", "codec"), [("long.avi", "mpeg4"), ("long.flv", "flv1")])
def test_a_header_that_counts_a_long_last_frame_is_no_cut(
    tmp_path: Path, name: str, codec: str
) -> None:
    path = _long_last_frame(tmp_path / name, {"flv1": "flv"}.get(codec, codec))
    assert (probe(path).duration_s or 0) > 5
    assert len(list(frames(path))) == 20


@pytest.mark.parametrize("rate", [25, 1])
def test_an_avi_that_is_cut_says_so(make_video: Any, rate: int) -> None:
    path = make_video("cut.avi", codec="mpeg4", rate=rate)
    assert len(list(frames(path))) == 60
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DamagedVideoError, match=r"ends at .* of .* s: the file is cut"):
        list(frames(path))


def test_an_avi_of_several_parts_is_not_cut_between_them(make_video: Any) -> None:
    """Beyond 1 GiB an AVI goes on in another RIFF; what follows its last one is foreign."""
    path = make_video("parts.avi", codec="mpeg4")
    content = path.read_bytes()
    more = b"RIFF" + (12).to_bytes(4, "little") + b"AVIXJUNK" + bytes(4)
    path.write_bytes(content + more)
    assert len(list(frames(path))) == 60
    path.write_bytes(content + more + b"\0" * 100)
    assert len(list(frames(path))) == 60
    path.write_bytes(content + more[:-2])
    with pytest.raises(DamagedVideoError, match="the file is cut"):
        list(frames(path))


def test_a_recording_that_begins_at_two_hours_is_not_cut(make_video: Any) -> None:
    path = make_video("late.mkv", ticks=range(7200 * 25, 7200 * 25 + 60))
    assert [frame.time_s for frame in frames(path)] == pytest.approx(
        [7200 + i / 25 for i in range(60)], abs=1e-3
    )


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("at.ts", {"x264": OPEN}),
        ("at.mp4", {"x264": OPEN}),
        ("at.avi", {"x264": OPEN}),
        ("at.avi", {"codec": "mpeg4", "b_frames": 2}),
        ("at.mpg", {"codec": "mpeg2video", "b_frames": 2}),
        ("at.h264", {"x264": OPEN}),
    ],
)
def test_frame_at_agrees_with_a_whole_pass(
    make_video: Any, name: str, encoding: dict[str, Any]
) -> None:
    path = make_video(name, **encoding)
    found = list(frames(path))
    for i in (0, 11, 12, 13, 30, 59):
        assert np.array_equal(frame_at(path, found[i].time_s + 0.01), found[i].rgb())


def test_a_title_in_another_encoding_does_no_harm(make_video: Any) -> None:
    path = make_video("title.mkv", muxer={"live": "1"})
    content = path.read_bytes()
    assert content.count(b"Lavf") > 0
    path.write_bytes(content.replace(b"Lavf", b"\xc6\xfc\xb3\xb5"))  # GBK, no UTF-8
    assert len(list(frames(path))) == 60


def test_pictures_of_an_unknown_kind_are_named(make_video: Any) -> None:
    path = make_video("kind.mp4", codec="mpeg4")
    content = path.read_bytes()
    assert content.count(b"mp4v") == 1
    path.write_bytes(content.replace(b"mp4v", b"zzzz").replace(b"esds", b"free"))
    with pytest.raises(VideoError, match="format that is not known"):
        list(frames(path))


def test_sound_that_begins_on_the_way_does_not_end_the_pictures(make_video: Any) -> None:
    import av

    random = np.random.default_rng(1)
    noise = [random.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(60)]
    first = make_video("first.ts", noise, x264="keyint=12:bframes=0:qp=1")
    later = first.with_name("later.ts")
    with av.open(str(first)) as source, av.open(str(later), "w") as target:
        pictures = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream("mp2", rate=48000)
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts, packet.dts = (packet.pts or 0) + 216000, (packet.dts or 0) + 216000
                packet.stream = pictures
                target.mux(packet)
        for i in range(40):
            silence = np.zeros((1, 1152 * 2), np.int16)
            samples = av.AudioFrame.from_ndarray(silence, format="s16", layout="stereo")
            samples.sample_rate, samples.pts = 48000, i * 1152 + 115200
            target.mux(sound.encode(samples))
        target.mux(sound.encode(None))
    path = first.with_name("joined.ts")
    path.write_bytes(first.read_bytes() + later.read_bytes())
    with av.open(str(path)) as container:
        assert len(container.streams) == 1  # it is not known from the start
    found = [frame.time_s for frame in frames(path)]
    assert len(found) == 120
    assert found[-1] == pytest.approx(2.4 + 59 / 25, abs=1e-3)
