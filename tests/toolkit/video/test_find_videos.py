import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.errors import InputError
from toolkit.video.find import find_videos


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_folder_is_walked_in_order_for_videos_only(tmp_path: Path) -> None:
    _touch(tmp_path, "b.mp4", "a/z.AVI", "notes.txt", "c.jpg", "a/y.mkv")
    found = [str(path.relative_to(tmp_path)) for path in find_videos([tmp_path])]
    assert found == ["a/y.mkv", "a/z.AVI", "b.mp4"]


def test_hidden_and_own_folders_are_passed_over(tmp_path: Path) -> None:
    _touch(tmp_path, ".venv/x.mp4", ".hidden.mp4", "runs/x.mp4", "demo/x.mp4", "index/x.mp4")
    assert find_videos([tmp_path]) == []


def test_own_names_deeper_down_are_someone_elses_footage(tmp_path: Path) -> None:
    _touch(tmp_path, "x/demo/a.mp4", "x/index/runs/b.mp4", "demo/c.mp4")
    found = [str(path.relative_to(tmp_path)) for path in find_videos([tmp_path])]
    assert found == ["x/demo/a.mp4", "x/index/runs/b.mp4"]


def _forbid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to list the folder `name`, as the system does, but to root as well."""
    listed = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)


def test_a_folder_that_may_not_be_read_is_told_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _touch(tmp_path, "a.mp4", "locked/b.mp4", "z.mp4")
    _forbid("locked", monkeypatch)
    told: list[tuple[Path, str]] = []
    found = find_videos([tmp_path], lambda path, error: told.append((path, error.strerror)))
    assert found == [tmp_path / "a.mp4", tmp_path / "z.mp4"]
    assert told == [(tmp_path / "locked", "Permission denied")]


def test_a_folder_that_may_not_be_read_is_an_error_where_nobody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _touch(tmp_path, "locked/b.mp4")
    _forbid("locked", monkeypatch)
    with pytest.raises(InputError, match=r"Cannot read .*locked: Permission denied"):
        find_videos([tmp_path])


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    _touch(tmp_path, "a.mp4")
    (tmp_path / "one.mp4").symlink_to(tmp_path / "two.mp4")
    (tmp_path / "two.mp4").symlink_to(tmp_path / "one.mp4")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert tmp_path / "a.mp4" in find_videos([tmp_path])
    with pytest.raises(InputError, match="no file or folder"):
        find_videos([tmp_path / "self"])


def test_a_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    _touch(tmp_path, "recording.bin")
    assert find_videos([tmp_path / "recording.bin"]) == [tmp_path / "recording.bin"]


def test_a_video_given_twice_is_found_once(tmp_path: Path) -> None:
    _touch(tmp_path, "a.mp4")
    assert find_videos([tmp_path / "a.mp4", tmp_path]) == [tmp_path / "a.mp4"]


def test_a_link_that_leads_back_up_does_not_go_round_for_ever(tmp_path: Path) -> None:
    _touch(tmp_path, "a.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert find_videos([tmp_path]) == [tmp_path / "a.mp4"]


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file or folder .*nowhere"):
        find_videos([tmp_path / "nowhere"])


def test_no_sources_are_no_videos() -> None:
    assert find_videos([]) == []
