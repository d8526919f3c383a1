"""KCF on the box, cuts, the scaled frame and the quality of a pair."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.mining.wang2015.cuts import is_cut
from toolkit.mining.wang2015.kcf import KcfTracker
from toolkit.mining.wang2015.quality import LOST, forward_backward, judge, likeness
from toolkit.mining.wang2015.scaled import ScaledFrame
from toolkit.records import Box
from toolkit.video.frame import Frame

Draw = Callable[..., NDArray[np.uint8]]
AsFrames = Callable[..., list[Frame]]


def test_the_box_moves_with_its_patch_from_the_first_frame_on(draw: Draw) -> None:
    tracker = KcfTracker(draw((100, 90)), 130, 120)
    for step in range(1, 5):
        place = tracker.follow(draw((100 + 8 * step, 90 - 4 * step)))
        assert place is not None
        assert place == pytest.approx((130 + 8 * step, 120 - 4 * step), abs=2)


def test_it_does_not_creep_where_nothing_moves(draw: Draw) -> None:
    still = draw((150, 80))
    tracker = KcfTracker(still, 181, 111)
    assert {tracker.follow(still) for _ in range(8)} == {(181, 111)}


@pytest.mark.parametrize(("dx", "dy"), [(-9, 0), (9, 0), (0, -7), (0, 7)])
def test_the_corner_is_right_where_the_box_sticks_out_of_the_frame(
    dx: int, dy: int, draw: Draw
) -> None:
    x, y = {-9: 20, 9: 353}.get(dx, 200), {-7: 15, 7: 206}.get(dy, 110)
    tracker = KcfTracker(draw((x - 30, y - 30)), x, y)
    for step in range(1, 6):
        place = tracker.follow(draw((x - 30 + dx * step, y - 30 + dy * step)))
    assert place == pytest.approx((x + 5 * dx, y + 5 * dy), abs=5)
    assert place is not None
    assert not (0 <= place[0] <= 600 - 227 and 0 <= place[1] <= 448 - 227)


def test_a_true_track_comes_back_to_where_it_began(draw: Draw) -> None:
    pictures = [draw((120 + 6 * step, 100)) for step in range(6)]
    assert forward_backward(pictures, (150, 120), (180, 120)) <= 3 / 321


def test_a_track_that_slid_to_the_wall_does_not_come_back(draw: Draw) -> None:
    pictures = [draw((40 + 20 * step, 100)) for step in range(6)]
    # The box stayed where it was, while the patch under it went on by 100 pixels.
    pictures[3:] = [draw(None)] * 3
    error = forward_backward(pictures, (60, 120), (120, 120))
    assert error > 0.1
    assert error <= LOST


def test_the_score_falls_with_the_error_and_with_the_look() -> None:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (20, 20, 3))
    patch = np.kron(coarse, np.ones((12, 12, 1))).astype(np.uint8)[:227, :227]
    other = np.rot90(patch).copy()
    assert judge(0.0, patch, patch).score == 1
    assert judge(0.055, patch, patch).score == pytest.approx(0.5**0.5, abs=1e-3)
    assert judge(0.1, patch, patch).score == 0
    assert judge(0.0, patch, other).score < 0.6
    assert judge(0.02, patch, patch).forward_backward == 0.02


def test_likeness_forgives_light_and_a_small_shift_and_knows_nothing_of_plain_patches() -> None:
    coarse = np.random.default_rng(1).integers(60, 180, (22, 22, 3))
    large = np.kron(coarse, np.ones((12, 12, 1))).astype(np.uint8)
    patch, shifted = large[:227, :227], large[14:241, 8:235]
    assert likeness(patch, patch) == pytest.approx(1, abs=1e-4)
    assert likeness(patch, patch // 2 + 40) > 0.99
    assert likeness(patch, shifted) > 0.8
    assert likeness(patch, 255 - patch) < 0.4
    plain = np.full((227, 227, 3), 90, np.uint8)
    assert likeness(patch, plain) == likeness(plain, patch) == likeness(plain, plain) == 0


def test_another_picture_is_a_cut(draw: Draw) -> None:
    one, other = draw((100, 100))[..., 1], draw((100, 100), wall=3)[..., 1]
    assert is_cut(draw(None)[..., 1], other.copy())
    assert not is_cut(one, one)
    assert not is_cut(one, draw((130, 90), pan=(10, 5))[..., 1])


def test_light_that_changes_all_alike_is_no_cut(draw: Draw) -> None:
    one = draw(None)[..., 1] // 2
    assert not is_cut(one, one + 100)


def test_a_plain_picture_that_gives_way_to_another_is_a_cut(draw: Draw) -> None:
    plain = np.full((448, 600), 20, np.uint8)
    assert is_cut(plain, draw(None)[..., 1])
    assert is_cut(draw(None)[..., 1], plain)
    assert not is_cut(plain, plain + 50)


def _scaled(height: int, width: int, as_frames: AsFrames) -> ScaledFrame:
    ramp = np.arange(width)[None, :, None] * 255 // width + np.zeros((height, 1, 3), int)
    return ScaledFrame.of(as_frames([ramp.astype(np.uint8)])[0])


def test_every_frame_is_448_by_600_and_a_high_one_600_by_448(as_frames: AsFrames) -> None:
    assert _scaled(1080, 1920, as_frames).picture.shape == (448, 600, 3)
    assert _scaled(100, 160, as_frames).gray.shape == (448, 600)
    assert _scaled(640, 360, as_frames).gray.shape == (600, 448)
    assert _scaled(300, 300, as_frames).gray.shape == (448, 600)


def test_boxes_are_in_pixels_of_the_original(as_frames: AsFrames) -> None:
    frame = _scaled(896, 1800, as_frames)
    assert frame.original(100, 50) == Box(300, 100, 300 + 3 * 227, 100 + 2 * 227)
    # The ramp says where in the original the patch is from.
    patch = frame.patch(100, 50)
    assert patch.shape == (227, 227, 3)
    assert patch[0, [0, -1], 0] == pytest.approx([255 / 6, 255 * 327 / 600], abs=2)


def test_a_patch_is_rgb(as_frames: AsFrames) -> None:
    red = np.zeros((448, 600, 3), np.uint8)
    red[..., 0] = 200
    assert ScaledFrame.of(as_frames([red])[0]).patch(0, 0)[0, 0].tolist() == [200, 0, 0]


def test_a_box_that_sticks_out_is_moved_inside(as_frames: AsFrames) -> None:
    frame = _scaled(448, 600, as_frames)
    assert frame.inside(-20, 500) == (0, 448 - 227)
    assert frame.inside(12, 30) == (12, 30)
    assert frame.visible(12, 30) == 1
    assert frame.visible(-227 // 2, 0) == pytest.approx(0.5, abs=0.01)
    assert frame.visible(600, 448) == 0
