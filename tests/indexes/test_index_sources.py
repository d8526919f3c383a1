"""Which files are meant, and which patches stream out of each."""

import hashlib
import os
from dataclasses import dataclass

import numpy as np
import pytest

from indexes.sources import Source, find_sources, printable, read_patches
from toolkit.errors import ImageError, InputError, ShardError
from toolkit.images import RgbImage, decode_image
from toolkit.mining.settings import MiningSettings
from toolkit.records import Box, Sighting

MINING = MiningSettings()


def stream(source):
    return list(read_patches(source, source.sha256(), MINING))


def test_a_folder_is_walked_in_order_and_the_rest_is_passed_over(tmp_path, pictures):
    pictures([2, 1], "clips/b")
    pictures([3], "clips/a")
    for name in ("clips/notes.txt", "clips/.hidden.png", "clips/c.MP4", "clips/d.tar.txt"):
        (tmp_path / name).write_bytes(b"x")
    pictures([4], "clips/runs/latest")
    pictures([5], "clips/.cache")
    found = find_sources([tmp_path / "clips"])
    named = [(str(s.path.relative_to(tmp_path / "clips")), s.kind) for s in found]
    assert named == [
        ("a/0003.png", "image"),
        ("b/0001.png", "image"),
        ("b/0002.png", "image"),
        ("c.MP4", "video"),
    ]


def test_a_folder_of_shards_stands_for_the_shards_and_not_for_its_contact_sheet(
    tmp_path, pictures, pair, shard
):
    pictures([1], "patches")
    for name in ("b.tar", "a.tar"):
        shard(tmp_path / "patches" / name, [pair(1, (0.0, 1.0))])
    found = find_sources([tmp_path / "patches"])
    assert [(s.path.name, s.kind) for s in found] == [("a.tar", "shard"), ("b.tar", "shard")]


def test_the_same_file_given_twice_counts_once(tmp_path, pictures):
    first, second = pictures(2)
    found = find_sources([second, tmp_path / "pictures", first])
    assert [s.path for s in found] == [second, first]


def test_a_file_of_unknown_name_is_taken_for_a_video(tmp_path):
    (tmp_path / "recording").write_bytes(b"?")
    assert find_sources([tmp_path / "recording"]) == [Source(tmp_path / "recording", "video")]


def test_an_empty_folder_holds_nothing(tmp_path):
    assert find_sources([tmp_path]) == []


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no file or folder .*gone"):
        find_sources([tmp_path / "gone"])


def test_a_linked_folder_that_leads_back_up_is_not_followed(tmp_path, pictures):
    pictures(1)
    (tmp_path / "pictures" / "loop").symlink_to(tmp_path)
    assert len(find_sources([tmp_path])) == 1


def test_an_image_is_one_patch_of_its_whole_area(pictures, picture_of):
    (path,) = pictures([7])
    (patch,) = stream(Source(path, "image"))
    assert (patch.origin.path, patch.origin.kind) == (str(path), "image")
    assert patch.origin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (patch.time_s, patch.track, patch.origin.camera) == (None, None, None)
    assert patch.box == Box(0, 0, 56, 40)
    np.testing.assert_array_equal(patch.image, picture_of(7))


def test_a_truncated_image_is_an_image_error(pictures):
    (path,) = pictures([7])
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ImageError, match=r"0007\.png"):
        stream(Source(path, "image"))


def test_a_shard_gives_each_sighting_once_under_the_name_of_its_video(tmp_path, pair, shard):
    # Three pairs along one track share two patches; the other track has its own times.
    samples = [
        pair(1, (0.0, 1.0)),
        pair(1, (1.0, 2.0)),
        pair(1, (2.0, 3.0)),
        pair(2, (0.0, 1.0)),
    ]
    path = shard(tmp_path / "s.tar", samples)
    patches = stream(Source(path, "shard"))
    found = {(p.track, p.time_s): p for p in patches}
    wanted = {
        (s.pair.track, at.time_s): (at.box, jpeg)
        for s in samples
        for at, jpeg in ((s.pair.query, s.query_jpeg), (s.pair.positive, s.positive_jpeg))
    }
    assert len(patches) == len(found) == 6
    assert found.keys() == wanted.keys()
    for key, (box, jpeg) in wanted.items():
        assert found[key].box == box
        np.testing.assert_array_equal(found[key].image, decode_image(jpeg, name="oracle"))
    origin = patches[0].origin
    assert (origin.path, origin.kind, origin.camera) == ("clips/street.mp4", "video", "street")
    assert origin.sha256 == hashlib.sha256(b"street").hexdigest()


def test_a_text_file_named_tar_is_a_shard_error(tmp_path):
    (tmp_path / "x.tar").write_text("no shard")
    with pytest.raises(ShardError, match=r"x\.tar"):
        stream(Source(tmp_path / "x.tar", "shard"))


@dataclass
class Region:
    track: str
    sighting: Sighting
    patch: RgbImage


def test_a_video_gives_its_moving_regions_lazily(tmp_path, monkeypatch, picture_of):
    regions = [
        Region("t1", Sighting(0.5, Box(1, 2, 3, 4)), picture_of(1)),
        Region("t1", Sighting(1.0, Box(2, 2, 4, 4)), picture_of(2)),
    ]
    pulled = []

    def moving_regions(path, settings):
        assert (path, settings) == (tmp_path / "gate 3.mp4", MINING)
        for region in regions:
            pulled.append(region)
            yield region

    monkeypatch.setattr("toolkit.mining.regions.moving_regions", moving_regions)
    (tmp_path / "gate 3.mp4").write_bytes(b"footage")
    patches = read_patches(Source(tmp_path / "gate 3.mp4", "video"), "f00d", MINING)
    first = next(patches)
    assert len(pulled) == 1
    assert (first.time_s, first.track, first.box) == (0.5, "t1", Box(1, 2, 3, 4))
    assert (first.origin.sha256, first.origin.camera) == ("f00d", "gate 3")
    assert next(patches).time_s == 1.0


def test_an_unreadable_name_becomes_printable_text():
    path = os.fsdecode(b"a\xff b\n\xc3\xa9.png")
    text = printable(__import__("pathlib").Path(path))
    assert text == "a\\xff b\né.png"
    text.encode("utf-8")
