"""Which camera filmed a video: examples written out, and rules that are refused."""

from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.mining.cameras import CameraRule


def test_without_a_rule_a_video_is_its_own_camera():
    assert CameraRule().camera_of(Path("footage/gate/2024.05.mp4")) == "2024.05"


def test_one_name_is_for_all():
    rule = CameraRule(name="gate")
    assert {rule.camera_of(Path(path)) for path in ("a.mp4", "b/c.avi")} == {"gate"}


@pytest.mark.parametrize(
    ("pattern", "path", "camera"),
    [
        ("footage/{camera}/*", "footage/gate/a.mp4", "gate"),
        ("footage/{camera}/*", "/data/footage/gate/a.mp4", "gate"),
        ("{camera}/*", "footage/gate/a.mp4", "gate"),
        ("/data/{camera}/*", "/data/gate/a.mp4", "gate"),
        ("footage/{camera}/**", "footage/gate/2024/05/a.mp4", "gate"),
        ("footage/**/{camera}/*", "footage/2024/05/gate/a.mp4", "gate"),
        ("footage/**/{camera}/*", "footage/gate/a.mp4", "gate"),
        ("footage/{camera}/**", "footage/footage/gate/a.mp4", "footage"),
        ("{camera}_*.mp4", "gate_1_2.mp4", "gate"),
        ("cam-{camera}-????.*", "x/cam-north-2024.mkv", "north"),
        ("{camera}.mp4", "a.b.mp4", "a.b"),
        ("[a] ({camera})/*", "[a] (gate)/x.mp4", "gate"),
        ("{camera}/*", "two\nlines/a.mp4", "two\nlines"),
        ("{camera}/*", "straße/a.mp4", "straße"),
    ],
)
def test_a_pattern_reads_the_camera_from_the_path(pattern, path, camera):
    assert CameraRule(pattern=pattern).camera_of(Path(path)) == camera


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("footage/{camera}/*", "footage/a.mp4"),
        ("footage/{camera}/*", "footage/gate/2024/a.mp4"),
        ("footage/{camera}/*", "myfootage/gate/a.mp4"),
        ("/data/{camera}/*", "more/data/gate/a.mp4"),
        ("{camera}/*", "a.mp4"),
        ("{camera}_x.mp4", "_x.mp4"),
        ("gate.{camera}", "gateXmp4"),
    ],
)
def test_a_path_that_does_not_fit_is_refused_and_named(pattern, path):
    with pytest.raises(UsageError) as caught:
        CameraRule(pattern=pattern).camera_of(Path(path))
    assert path in caught.value.problem
    assert pattern in caught.value.problem
    assert caught.value.mend


@pytest.mark.parametrize(
    "pattern",
    ["", "a/*", "{camera}/{camera}/*", "{cam}/*", "{camera}/{x}", "{camera", "a**/{camera}"],
)
def test_a_pattern_that_makes_no_sense_is_refused(pattern):
    with pytest.raises(UsageError, match="camera-pattern"):
        CameraRule(pattern=pattern)


def test_one_rule_at_a_time():
    with pytest.raises(UsageError, match="Both"):
        CameraRule(name="gate", pattern="{camera}/*")


@pytest.mark.parametrize("name", ["", "  "])
def test_a_camera_needs_a_name(name):
    with pytest.raises(UsageError, match="empty"):
        CameraRule(name=name)
