"""What people name: images, moments of videos, regions; and what is none of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexes.search.pictures import read_example, seconds, split_moment
from toolkit.errors import ImageError, InputError, UsageError, VideoError
from toolkit.images import crop_patch
from toolkit.records import Box
from toolkit.video.decode import frame_at


def test_an_image_is_read_whole(tmp_path, picture_of):
    Image.fromarray(picture_of(3)).save(tmp_path / "a.png")
    example = read_example(str(tmp_path / "a.png"))
    assert np.array_equal(example.image, picture_of(3))
    assert (example.time_s, example.box) == (None, None)
    assert example.name == str(tmp_path / "a.png")


def test_a_region_is_the_square_that_a_network_sees(tmp_path, picture_of):
    Image.fromarray(picture_of(3)).save(tmp_path / "a.png")
    box = Box(5, 6, 20, 16)
    example = read_example(str(tmp_path / "a.png"), box)
    assert np.array_equal(example.image, crop_patch(picture_of(3), box))


@pytest.mark.parametrize("text", ["2.04", "0:02.04", "0:0:2.04"])
def test_a_moment_is_the_frame_on_display(moving_clip, text):
    example = read_example(f"{moving_clip}@{text}")
    assert np.array_equal(example.image, frame_at(moving_clip, 2.04))
    assert example.time_s is not None
    assert 1.9 < example.time_s <= 2.04
    assert example.path == moving_clip


def test_a_file_whose_name_holds_an_at_comes_first(tmp_path, picture_of, moving_clip):
    (tmp_path / "clip.mp4").symlink_to(moving_clip)
    Image.fromarray(picture_of(3)).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "clip.mp4@2")
    assert np.array_equal(read_example(str(tmp_path / "clip.mp4@2")).image, picture_of(3))
    assert read_example(str(tmp_path / "clip.mp4@3")).time_s is not None
    at_in_folder = tmp_path / "me@home"
    at_in_folder.mkdir()
    Image.fromarray(picture_of(4)).save(at_in_folder / "b.png")
    assert np.array_equal(read_example(str(at_in_folder / "b.png")).image, picture_of(4))


@pytest.mark.parametrize(
    ("text", "path", "time_s"),
    [
        ("a.mp4@12.5", "a.mp4", 12.5),
        ("a@b.mp4@1:02.5", "a@b.mp4", 62.5),
        ("a.mp4@1:00:00", "a.mp4", 3600.0),
        ("two\nlines.mp4@3.", "two\nlines.mp4", 3.0),
        ("-x.mp4@0", "-x.mp4", 0.0),
        ("a.mp4", "a.mp4", None),
        ("a.mp4@", "a.mp4@", None),
        ("@5", "@5", None),
        ("a.mp4@-1", "a.mp4@-1", None),
        ("a.mp4@nan", "a.mp4@nan", None),
        ("a.mp4@1e9", "a.mp4@1e9", None),
    ],
)
def test_what_stands_behind_the_last_at_is_a_time_or_part_of_the_name(text, path, time_s):
    assert split_moment(text) == (Path(path), time_s)


@pytest.mark.parametrize("text", ["", "x", "1:", ":1", "-1", "1e3", "nan", "1:2:3:x"])
def test_what_is_no_time(text):
    with pytest.raises(UsageError, match="no time"):
        seconds(text)


def test_a_time_beyond_the_end_names_the_span(moving_clip):
    with pytest.raises(VideoError, match="no frame at 999") as caught:
        read_example(f"{moving_clip}@999")
    assert "Give a time from 0.00 to" in caught.value.mend


def test_a_video_without_a_time_says_how_to_give_one(moving_clip):
    with pytest.raises(InputError, match="is a video, not an image") as caught:
        read_example(str(moving_clip))
    assert f"{moving_clip}@SECONDS" in caught.value.mend


def test_an_at_without_a_time_says_how_to_give_one(tmp_path):
    with pytest.raises(InputError, match="no image") as caught:
        read_example(str(tmp_path / "clip.mp4@soon"))
    assert "VIDEO@12.5" in caught.value.mend


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(InputError, match="is a folder, not an image"):
        read_example(str(tmp_path))


def test_a_moment_of_what_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_text("words")
    with pytest.raises(VideoError, match=r"a\.mp4"):
        read_example(str(tmp_path / "a.mp4@1"))
    with pytest.raises(VideoError, match=r"b\.mp4"):
        read_example(str(tmp_path / "b.mp4@1"))


def test_a_missing_image_and_a_box_outside(tmp_path, picture_of):
    with pytest.raises(ImageError, match=r"a\.png"):
        read_example(str(tmp_path / "a.png"))
    Image.fromarray(picture_of(3)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="outside the image, which has 56x40"):
        read_example(str(tmp_path / "a.png"), Box(56, 0, 80, 40))
