"""Around a hit: frames of the video it names, or what the index has, and it is said which."""

import shutil

import numpy as np
import pytest
from PIL import Image

from indexes.build.build import build
from indexes.build.settings import BuildSettings
from indexes.search import strips
from indexes.search.index import open_index
from indexes.search.strips import StripReader
from indexes.sources import Reading
from indexes.sources.cut import Cut
from toolkit.images import decode_image, encode_jpeg, shrink
from toolkit.video.decode import frame_at


@pytest.fixture
def sampled(tmp_path, moving_clip, embedder):
    """A frame a second of a video, cut into a left and a right half."""
    video = tmp_path / "clip.mp4"
    shutil.copy(moving_clip, video)
    reading = Reading(every_s=1.0, cut=Cut(grids=((1, 2),)))
    build(tmp_path / "index", [video], embedder, BuildSettings(reading=reading))
    return tmp_path / "index"


def strip_of(store, place):
    return StripReader(store).strip_of(place)


def place_at(index, time_s):
    places = index.store.places(range(1, 100)).values()
    return next(p for p in places if abs(p.time_s - time_s) < 0.01 and p.box[0] > 0)


def levels(jpeg):
    return decode_image(jpeg, name="strip").astype(int)


def test_frames_before_and_after_with_the_box_in_percent(sampled, moving_clip):
    with open_index(sampled) as index:
        place = place_at(index, 2.0)
        strip = strip_of(index.store, place)
    assert strip.note == ""
    times = [picture.time_s for picture in strip.pictures]
    assert times == pytest.approx([1.0, 1.5, 2.0, 2.5, 3.0], abs=0.05)
    assert [picture.is_hit for picture in strip.pictures] == [False, False, True, False, False]
    assert strip.pictures[2].time_s == place.time_s
    for picture in strip.pictures:
        frame = shrink(frame_at(moving_clip, picture.time_s), 240)
        expected = encode_jpeg(frame, quality=80)
        assert np.abs(levels(picture.jpeg) - levels(expected)).mean() < 1
    assert strip.box == pytest.approx((50, 0, 50, 100))


def test_at_the_start_there_is_nothing_before(sampled):
    with open_index(sampled) as index:
        strip = strip_of(index.store, place_at(index, 0.0))
    assert [picture.time_s for picture in strip.pictures] == pytest.approx([0, 0.5, 1], abs=0.05)
    assert strip.pictures[0].is_hit


def test_a_video_that_is_gone_says_so(sampled, tmp_path):
    (tmp_path / "clip.mp4").unlink()
    with open_index(sampled) as index:
        strip = strip_of(index.store, place_at(index, 2.0))
    assert strip.pictures == ()
    assert "no clip.mp4 at its path now" in strip.note


def test_another_video_at_the_path_is_not_shown(sampled, tmp_path, still_clip, text_clip):
    for other in (still_clip, text_clip):
        shutil.copy(other, tmp_path / "clip.mp4")
        with open_index(sampled) as index:
            strip = strip_of(index.store, place_at(index, 2.0))
        assert strip.pictures == ()
        assert "Another clip.mp4 lies at its path now" in strip.note


def test_what_is_too_large_to_hash_is_told_by_its_look(sampled, tmp_path, encode_clip, monkeypatch):
    monkeypatch.setattr(strips, "_MOST_HASHED_BYTES", 10)
    with open_index(sampled) as index:
        place = place_at(index, 2.0)
        assert len(strip_of(index.store, place).pictures) == 5
        noise = np.random.default_rng(0).integers(0, 256, (60, 240, 320, 3), np.uint8)
        encode_clip(tmp_path / "clip.mp4", list(noise), [i / 15 for i in range(60)])
        strip = strip_of(index.store, place)
        assert strip.pictures == ()
        assert "Another clip.mp4 may lie at its path now" in strip.note


@pytest.mark.parametrize("content", [b"", b"words"])
def test_what_is_no_video_any_more_is_said(sampled, tmp_path, content):
    (tmp_path / "clip.mp4").write_bytes(content)
    with open_index(sampled) as index:
        strip = strip_of(index.store, place_at(index, 2.0))
    assert strip.pictures == ()
    assert "clip.mp4" in strip.note


def test_without_the_video_the_sightings_of_its_track_are_shown(
    tmp_path, pair, shard, embedder, picture_of
):
    """Its own is among them, the hit's is marked, and they are five at most."""
    pairs = [pair(1, (float(t), t + 1.0)) for t in range(0, 8, 2)] + [pair(2, (0.0, 1.0))]
    shard(tmp_path / "p" / "s.tar", pairs)
    build(tmp_path / "index", [tmp_path / "p"], embedder)
    with open_index(tmp_path / "index") as index:
        places = index.store.places(range(1, 11)).values()
        place = next(p for p in places if p.track == "street-001" and p.time_s == 4.0)
        strip = strip_of(index.store, place)
    assert [picture.time_s for picture in strip.pictures] == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert [picture.is_hit for picture in strip.pictures] == [False, False, True, False, False]
    assert "no street.mp4 at its path now" in strip.note
    assert "sightings of the same track" in strip.note
    for picture in strip.pictures:
        seed = 1000 + round(10 * picture.time_s)
        assert np.abs(levels(picture.jpeg) - picture_of(seed, 48, 48)).mean() < 12


def test_a_part_of_an_image_is_shown_in_all_of_it(tmp_path, pictures, embedder):
    (path,) = pictures(1)
    settings = BuildSettings(reading=Reading(cut=Cut(grids=((1, 1), (2, 2)))))
    build(tmp_path / "index", [path], embedder, settings)
    with open_index(tmp_path / "index") as index:
        whole, *_, last = index.store.places(range(1, 6)).values()
        strip = strip_of(index.store, last)
        assert strip.box == pytest.approx((50, 50, 50, 50))
        assert [(p.time_s, p.is_hit) for p in strip.pictures] == [(None, True)]
        assert strip_of(index.store, whole).box is None
        Image.fromarray(np.full((40, 56, 3), 255, np.uint8)).save(path)
        assert "Another 0000.png lies at its path now" in strip_of(index.store, last).note
