"""The patches of videos: moving regions, or sampled frames, at the PTS of their pictures."""

from dataclasses import dataclass

import av
import numpy as np
import pytest

from indexes.sources import Cut, Reading, Source, Watch, read_patches
from toolkit.errors import VideoError
from toolkit.images import RgbImage, crop_patch
from toolkit.mining.cameras import CameraRule
from toolkit.mining.settings import MiningSettings
from toolkit.records import Box, Sighting
from toolkit.video.decode import DamagedVideoError, frame_at


def patches_of(path, embedder, watch=None, **settings):
    reading = Reading(**settings)
    told = {} if watch is None else {"watch": watch}
    source = Source(path, "video", reading.of("video"))
    return read_patches(source, "f00d", reading, embedder, **told)


@dataclass
class Region:
    track: str
    sighting: Sighting
    patch: RgbImage


def test_a_video_gives_its_moving_regions_lazily(tmp_path, monkeypatch, picture_of, embedder):
    mining = MiningSettings(gap_s=0.5)
    regions = [
        Region("t1", Sighting(0.5, Box(1, 2, 3, 4.04)), picture_of(1)),
        Region("t1", Sighting(1.0, Box(2, 2, 4, 4)), picture_of(2)),
    ]
    pulled = []

    def moving_regions(path, settings):
        assert (path, settings) == (tmp_path / "gate 3.mp4", mining)
        for region in regions:
            pulled.append(region)
            yield region

    monkeypatch.setattr("toolkit.mining.regions.moving_regions", moving_regions)
    (tmp_path / "gate 3.mp4").write_bytes(b"footage")
    patches = patches_of(tmp_path / "gate 3.mp4", embedder, mining=mining)
    first = next(patches)
    assert len(pulled) == 1
    assert (first.time_s, first.track, first.box) == (0.5, "t1", (1, 2, 3, 4))
    assert (first.origin.sha256, first.origin.camera) == ("f00d", "gate 3")
    assert next(patches).time_s == 1.0


def test_sampled_frames_are_whole_pictures_at_their_pts(moving_clip, embedder):
    shares = []
    watch = Watch(shares.append, lambda note: None)
    patches = list(patches_of(moving_clip, embedder, watch, every_s=0.5))
    with av.open(str(moving_clip)) as container:
        (stream,) = container.streams.video
        times = [float(frame.pts * stream.time_base) for frame in container.decode(stream)]
    # Of 15 frames a second, the one on display at every half second.
    wanted = [max(t for t in times if t <= tick / 2 + 1e-3) for tick in range(12)]
    assert [patch.time_s for patch in patches] == wanted
    for patch in patches:
        np.testing.assert_array_equal(patch.image, frame_at(moving_clip, patch.time_s))
        assert (patch.box, patch.track) == ((0, 0, 320, 240), None)
        assert (patch.origin.sha256, patch.origin.kind) == ("f00d", "video")
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_sampled_frames_are_cut_like_pictures(moving_clip, embedder):
    cut = Cut(grids=((2, 2),), windows=(128,))
    patches = list(patches_of(moving_clip, embedder, every_s=3.0, cut=cut))
    boxes = list(cut.boxes(320, 240))
    assert [(p.time_s, p.box) for p in patches] == [(t, b) for t in (0.0, 3.0) for b in boxes]
    picture = frame_at(moving_clip, 3.0)
    for patch in patches[len(boxes) :]:
        np.testing.assert_array_equal(patch.image, crop_patch(picture, Box(*patch.box)))


def test_the_camera_is_the_one_that_was_named(moving_clip, embedder):
    rule = CameraRule(name="gate")
    patch = next(iter(patches_of(moving_clip, embedder, every_s=9.0, cameras=rule)))
    assert patch.origin.camera == "gate"


def test_a_cut_clip_gives_its_readable_frames_and_then_says_so(cut_clip, embedder):
    patches = patches_of(cut_clip, embedder, every_s=0.5)
    first = [next(patches).time_s for _ in range(3)]
    with pytest.raises(DamagedVideoError, match="cut"):
        list(patches)
    assert first == pytest.approx([0.0, 0.467, 1.0], abs=0.001)


@pytest.mark.parametrize("every_s", [None, 1.0], ids=["moving", "sampled"])
def test_a_text_file_is_a_video_error(text_clip, embedder, every_s):
    with pytest.raises(VideoError, match="no video"):
        list(patches_of(text_clip, embedder, every_s=every_s))
