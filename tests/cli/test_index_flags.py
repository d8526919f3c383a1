"""What the flags of sources mean, and which of them are refused before any work."""

import pytest

from cli.index_flags import reading_of
from cli.main import main
from indexes.sources import Cut, Reading
from toolkit.errors import UsageError
from toolkit.mining.cameras import CameraRule

NONE = (None, None)


def test_no_flag_is_the_default():
    assert reading_of((None, None, None), False, None, NONE) == Reading()


@pytest.mark.parametrize(
    ("cuts", "wanted"),
    [
        (("3x2", None, None), Cut(grids=((3, 2),))),
        (("1x1, 2X2", None, None), Cut(grids=((1, 1), (2, 2)))),
        ((None, "128", None), Cut(windows=(128,))),
        ((None, "128,256 ", 0.0), Cut(windows=(128, 256), overlap=0.0)),
        (("2x2", "64", 0.25), Cut(grids=((2, 2),), windows=(64,), overlap=0.25)),
    ],
)
def test_cuts(cuts, wanted):
    assert reading_of(cuts, False, None, NONE) == Reading(cut=wanted)


def test_the_rest():
    reading = reading_of((None, "256", None), True, 0.5, ("gate", None))
    cut, cameras = Cut(windows=(256,)), CameraRule("gate")
    assert reading == Reading(cut=cut, dense=True, every_s=0.5, cameras=cameras)


@pytest.mark.parametrize("grid", ["", "3", "3x", "x3", "3x3,", "-1x2", "3×3", "99999x1", "0x1"])
def test_what_is_no_grid_is_refused(grid):
    with pytest.raises(UsageError):
        reading_of((grid, None, None), False, None, NONE)


@pytest.mark.parametrize("windows", ["", "big", "128,", "-128", "1e3", "9999999", "7"])
def test_what_are_no_windows_is_refused(windows):
    with pytest.raises(UsageError):
        reading_of((None, windows, None), False, None, NONE)


@pytest.mark.parametrize(
    ("cuts", "dense"),
    [((None, None, 0.5), False), (("2x2", None, 0.5), False), ((None, "128", 0.5), True),
     (("2x2", None, None), True), ((None, "128", 0.99), False)],
)  # fmt: skip
def test_flags_that_do_not_go_together_are_refused(cuts, dense):
    with pytest.raises(UsageError):
        reading_of(cuts, dense, None, NONE)


@pytest.mark.parametrize("command", ["build", "add"])
@pytest.mark.parametrize(
    "flags",
    [["--grid", "3"], ["--windows", "x"], ["--overlap", "0.5"],
     ["--every", "0"], ["--camera", "a", "--camera-pattern", "{camera}/*"]],
    ids=" ".join,
)  # fmt: skip
def test_the_commands_refuse_them_before_they_open_anything(tmp_path, capsys, command, flags):
    arguments = ["index", command, str(tmp_path), "--index", str(tmp_path / "i"), *flags]
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "i").exists()
