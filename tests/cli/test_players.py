"""What opens a hit: the players by their own flags, the desktop, or nothing."""

from pathlib import Path

import pytest

from cli import players
from toolkit.errors import InputError


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """A file whose name would be a flag, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("-x; rm.mp4").write_bytes(b"x")
    return "-x; rm.mp4"


def only(monkeypatch, *installed):
    monkeypatch.setattr(players.shutil, "which", lambda name: name in installed or None)


@pytest.mark.parametrize(
    ("installed", "start"),
    [
        (("mpv", "vlc", "ffplay"), ["mpv", "--start=62.500", "--pause", "--"]),
        (("vlc", "xdg-open"), ["vlc", "--start-time=62.500", "--"]),
        (("ffplay", "xdg-open"), ["ffplay", "-hide_banner", "-ss", "62.500", "-i"]),
        (("xdg-open",), ["xdg-open"]),
        (("open",), ["open"]),
    ],
)
def test_each_takes_an_absolute_path_and_the_moment(monkeypatch, clip, installed, start):
    only(monkeypatch, *installed)
    assert players.opening(clip, 62.5) == [*start, str(Path(clip).absolute())]


def test_an_image_is_for_the_desktop(monkeypatch, clip):
    only(monkeypatch, "mpv", "xdg-open")
    assert players.opening(clip, None) == ["xdg-open", str(Path(clip).absolute())]


def test_a_clock_that_begins_below_zero_starts_at_the_beginning(monkeypatch, clip):
    only(monkeypatch, "mpv")
    command = players.opening(clip, -0.5)
    assert command is not None
    assert command[1] == "--start=0.000"


def test_nothing_installed_opens_nothing(monkeypatch, clip):
    only(monkeypatch)
    assert players.opening(clip, 1.0) is None


def test_a_file_that_is_not_there(monkeypatch, clip):
    with pytest.raises(InputError, match="no file y"):
        players.opening("y.mp4", 1.0)
    with pytest.raises(InputError, match="no file"):
        players.opening("", 1.0)


def test_the_command_can_be_pasted_into_a_shell():
    import shlex

    command = ["mpv", "--start=1.000", "--", "/a b/it's; rm.mp4"]
    assert shlex.split(players.as_text(command)) == command


@pytest.mark.parametrize(
    ("platform", "variables", "there"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("darwin", {}, True),
    ],
)
def test_where_a_window_can_be_opened(monkeypatch, platform, variables, there):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(players.sys, "platform", platform)
    assert players.has_display() is there
