"""Which files are meant, and which are passed over."""

import os

import pytest

from indexes.sources import Cut, Reading, Source, find_sources, printable
from toolkit.errors import InputError, UsageError
from toolkit.mining.cameras import CameraRule


def named(found, root):
    return [(str(source.path.relative_to(root)), source.kind) for source in found]


def test_a_folder_is_walked_in_order_and_the_rest_is_passed_over(tmp_path, pictures):
    pictures([2, 1], "clips/b")
    pictures([3], "clips/a")
    for name in ("clips/notes.txt", "clips/.hidden.png", "clips/c.MP4", "clips/d.tar.txt"):
        (tmp_path / name).write_bytes(b"x")
    pictures([5], "clips/.cache")
    assert named(find_sources([tmp_path / "clips"]), tmp_path / "clips") == [
        ("a/0003.png", "image"),
        ("b/0001.png", "image"),
        ("b/0002.png", "image"),
        ("c.MP4", "video"),
    ]


def test_mined_patches_stand_for_their_shards_and_not_for_their_contact_sheet(
    tmp_path, pictures, pair, shard
):
    pictures([1], "patches")
    for name in ("b.tar", "a.tar"):
        shard(tmp_path / "patches" / name, [pair(1, (0.0, 1.0))])
    (tmp_path / "patches/ledger").mkdir()
    (tmp_path / "patches/ledger" / f"{'0' * 64}.json").write_text("{}")
    found = find_sources([tmp_path / "patches"])
    assert [(s.path.name, s.kind) for s in found] == [("a.tar", "shard"), ("b.tar", "shard")]


def test_a_tar_among_footage_hides_none_of_it(tmp_path, pictures):
    pictures([1], "clips")
    (tmp_path / "clips/backup.tar").write_bytes(b"x")
    assert named(find_sources([tmp_path / "clips"]), tmp_path / "clips") == [
        ("backup.tar", "shard"),
        ("0001.png", "image"),
    ]


OWN = {
    "index": ["catalog.sqlite"],
    "bundle": ["model.onnx", "model.json"],
    "run": ["model.safetensors", "model.json"],
    "unfinished run": ["settings.json", "checkpoints/last.pt"],
    "patches": [f"ledger/{'a' * 64}.json"],
    "audited patches": ["audit.json", "contact_sheet.png"],
    "demo": [".vr-demo"],
}


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("depth", ["here", "deep/er/here"])
def test_what_vr_wrote_is_known_by_its_content_at_any_depth(tmp_path, pictures, kind, depth):
    pictures([1], f"clips/{depth}/sheets")
    for name in OWN[kind]:
        path = tmp_path / "clips" / depth / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    pictures([2], "clips")
    assert named(find_sources([tmp_path / "clips"]), tmp_path / "clips") == [("0002.png", "image")]


@pytest.mark.parametrize("name", ["index", "runs", "patches", "exported", "demo", "ledger"])
def test_a_users_folder_of_such_a_name_does_not_vanish(tmp_path, pictures, name):
    pictures([1], f"clips/{name}")
    pictures([2], f"clips/2019/{name}")
    (tmp_path / "clips" / name / "model.json").write_text("{}")
    assert len(find_sources([tmp_path / "clips"])) == 2


def test_the_same_file_given_twice_counts_once(tmp_path, pictures):
    first, second = pictures(2)
    found = find_sources([second, tmp_path / "pictures", first])
    assert [s.path for s in found] == [second, first]


def test_a_file_of_unknown_name_is_taken_for_a_video(tmp_path):
    (tmp_path / "recording").write_bytes(b"?")
    (found,) = find_sources([tmp_path / "recording"])
    assert (found.path, found.kind, found.size_bytes) == (tmp_path / "recording", "video", 1)


def test_tables_count_where_they_are_named_and_not_in_a_folder(tmp_path):
    for name in ("a.npy", "b.parquet"):
        (tmp_path / name).write_bytes(b"x")
    assert find_sources([tmp_path]) == []
    found = find_sources([tmp_path / "a.npy", tmp_path / "b.parquet"])
    assert [(s.kind, s.reading) for s in found] == [("table", "vectors")] * 2


def test_an_empty_folder_holds_nothing(tmp_path):
    assert find_sources([tmp_path]) == []


def test_no_path_is_no_source():
    assert find_sources([]) == []


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no file or folder .*gone"):
        find_sources([tmp_path / "gone"])


def test_a_broken_link_that_is_given_is_named(tmp_path):
    (tmp_path / "link.png").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"no file or folder .*link\.png"):
        find_sources([tmp_path / "link.png"])


def test_a_broken_link_in_a_folder_is_left_to_its_reader(tmp_path):
    (tmp_path / "link.png").symlink_to(tmp_path / "gone")
    (found,) = find_sources([tmp_path])
    with pytest.raises(InputError, match=r"Cannot read .*link\.png"):
        found.sha256()


def test_a_linked_folder_that_leads_back_up_is_not_followed(tmp_path, pictures):
    pictures(1)
    (tmp_path / "pictures" / "loop").symlink_to(tmp_path)
    (tmp_path / "pictures" / "self.png").symlink_to(tmp_path / "pictures" / "self.png")
    assert named(find_sources([tmp_path]), tmp_path) == [
        ("pictures/0000.png", "image"),
        ("pictures/self.png", "image"),
    ]


def test_a_folder_that_is_given_by_a_link_is_walked(tmp_path, pictures):
    pictures(2)
    (tmp_path / "link").symlink_to(tmp_path / "pictures")
    assert len(find_sources([tmp_path / "link"])) == 2


def test_a_pipe_is_refused_where_it_is_given_and_passed_over_elsewhere(tmp_path):
    os.mkfifo(tmp_path / "live.mp4")
    os.mkfifo(tmp_path / "shard.tar")
    with pytest.raises(InputError, match="no plain file"):
        find_sources([tmp_path / "live.mp4"])
    assert find_sources([tmp_path]) == []


@pytest.mark.parametrize(
    "name", [b"a\nb.png", b"-rf.png", b"caf\xe9.png", b" .png", "鳥.png".encode(), b"%s[1]'.png"],
    ids=["newline", "dash", "latin", "blank", "bird", "quotes"],
)  # fmt: skip
def test_names_of_any_bytes(tmp_path, pictures, name):
    (path,) = pictures(1)
    odd = tmp_path / os.fsdecode(name)
    path.rename(odd)
    (found,) = find_sources([tmp_path])
    assert found.path == odd
    assert len(found.sha256()) == 64
    printable(found.path).encode("utf-8")


def test_an_unreadable_name_becomes_printable_text():
    assert printable(os.fsdecode(b"a\xff b\n\xc3\xa9.png")) == "a\\xff b\né.png"


def refuse_listing(monkeypatch, *folders):
    """Stands in for missing permissions, which a superuser's tests cannot have."""
    from pathlib import Path

    listed = Path.iterdir

    def iterdir(self):
        if self.name in folders:
            raise PermissionError(13, "Permission denied", str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)


def test_a_folder_that_may_not_be_read_is_told_and_the_rest_goes_on(
    tmp_path, pictures, monkeypatch
):
    pictures([1], "clips/a")
    pictures([2], "clips/closed")
    pictures([3], "clips/z")
    refuse_listing(monkeypatch, "closed")
    with pytest.raises(InputError, match=r"Cannot read .*closed: Permission denied"):
        find_sources([tmp_path / "clips"])
    told = []
    found = find_sources([tmp_path / "clips"], Reading(), lambda path, error: told.append(path))
    assert [source.path.name for source in found] == ["0001.png", "0003.png"]
    assert told == [tmp_path / "clips/closed"]


def test_each_source_says_how_it_is_read(tmp_path, pictures):
    pictures(1)
    for name in ("pictures/v.mp4", "pictures/s.tar"):
        (tmp_path / name).write_bytes(b"x")
    reading = Reading(cut=Cut(grids=((2, 2),)), every_s=2)
    found = find_sources([tmp_path / "pictures"], reading)
    assert {source.kind: source.reading for source in found} == {
        "image": "grid:2x2",
        "video": "every:2.0/grid:2x2",
        "shard": "pairs",
    }


def test_windows_of_nothing_but_moving_regions_are_refused(tmp_path, pictures):
    (tmp_path / "v.mp4").write_bytes(b"x")
    reading = Reading(cut=Cut(windows=(64,)))
    with pytest.raises(UsageError, match="moving regions"):
        find_sources([tmp_path], reading)
    pictures([1], ".")
    assert len(find_sources([tmp_path], reading)) == 2


def test_a_camera_pattern_that_does_not_fit_is_told_before_any_work(tmp_path, pictures):
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate/v.mp4").write_bytes(b"x")
    fits = Reading(cameras=CameraRule(pattern="{camera}/*.mp4"))
    assert find_sources([tmp_path / "gate"], fits) == [
        Source(tmp_path / "gate/v.mp4", "video", fits.of("video"))
    ]
    pictures([1], "gate")
    with pytest.raises(UsageError, match=r"0001\.png does not fit"):
        find_sources([tmp_path / "gate"], fits)
