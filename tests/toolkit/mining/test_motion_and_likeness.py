"""The small parts of mining, against known motion and naive computations."""

import numpy as np
import pytest

from toolkit.errors import UsageError
from toolkit.mining.modern.motion import (
    DenseFlow,
    camera_motion,
    corner_strength,
    dense_flow,
    follow,
    grid_points,
    moved_by,
    spread_points,
)
from toolkit.mining.modern.proposals import find_moving
from toolkit.mining.modern.samples import likeness, look_at
from toolkit.mining.modern.scene import is_cut
from toolkit.mining.settings import MiningSettings
from toolkit.records import Box


def _noise(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    import cv2

    picture = np.random.default_rng(seed).normal(0, 1, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(picture, (0, 0), 2)
    return np.clip(128 + 45 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def _shifted(picture: np.ndarray, dx: int, dy: int) -> np.ndarray:
    return np.roll(picture, (dy, dx), axis=(0, 1))


def test_points_follow_a_known_shift() -> None:
    before = _noise(1)
    points = grid_points(Box(30, 30, 130, 90), before.shape)
    followed = follow(before, _shifted(before, 4, -3), points, points)
    assert followed.kept.mean() > 0.9
    moves = (followed.after - points)[followed.kept]
    assert np.abs(moves - [4, -3]).max() < 0.3


def test_a_guess_finds_what_the_pyramid_misses() -> None:
    before = _noise(2, 240, 320)
    after = _shifted(before, 70, 0)
    points = grid_points(Box(60, 60, 180, 180), before.shape)
    right = points + np.array([68, 1], np.float32)
    assert follow(before, after, points, right).kept.mean() > 0.9
    assert follow(before, after, points, points).kept.mean() < 0.5


def test_following_no_points_gives_none() -> None:
    none = np.zeros((0, 2), np.float32)
    assert len(follow(_noise(1), _noise(1), none, none).after) == 0


def test_points_do_not_come_back_from_another_picture() -> None:
    points = grid_points(Box(20, 20, 140, 100), (120, 160))
    assert follow(_noise(1), _noise(2), points, points).kept.mean() < 0.15


def test_dense_flow_follows_a_known_shift() -> None:
    before = _noise(3)
    points = grid_points(Box(30, 30, 130, 90), before.shape)
    followed = DenseFlow(before, _shifted(before, 5, 2)).follow(points)
    assert followed.kept.mean() > 0.8
    assert np.abs(np.median(followed.after - points, axis=0) - [5, 2]).max() < 0.5


def test_the_camera_is_what_most_points_do() -> None:
    random = np.random.default_rng(4)
    before = random.uniform(0, 300, (100, 2)).astype(np.float32)
    truth = np.array([[1.01, 0.02, 3.0], [-0.02, 1.01, -2.0]])
    after = moved_by(truth, before).astype(np.float32)
    after[:30] += random.uniform(5, 20, (30, 2)).astype(np.float32)
    found = camera_motion(before, after)
    assert found is not None
    affine, share = found
    assert np.abs(affine - truth).max() < 0.05
    assert share == pytest.approx(0.7, abs=0.02)


def test_too_few_points_say_nothing_of_the_camera() -> None:
    few = np.zeros((5, 2), np.float32)
    assert camera_motion(few, few) is None


def test_moved_by_equals_a_loop() -> None:
    affine = np.array([[0.9, 0.1, 5.0], [-0.2, 1.1, 3.0]])
    points = np.random.default_rng(5).uniform(0, 50, (7, 2))
    for (x, y), got in zip(points, moved_by(affine, points), strict=True):
        assert got == pytest.approx([0.9 * x + 0.1 * y + 5, -0.2 * x + 1.1 * y + 3])


def test_spread_points_are_the_strongest_of_their_cells() -> None:
    strength = np.random.default_rng(6).uniform(1, 2, (12, 20)).astype(np.float32)
    expected = []
    for top in range(0, 12, 4):
        for left in range(0, 20, 5):
            cell = strength[top : top + 4, left : left + 5]
            y, x = np.unravel_index(cell.argmax(), cell.shape)
            expected.append([left + x, top + y])
    assert spread_points(strength, 4, 3).tolist() == expected


def test_a_flat_picture_has_no_points() -> None:
    flat = np.full((60, 80), 90, np.uint8)
    assert len(spread_points(corner_strength(flat), 8, 6)) == 0


def test_a_moved_square_is_found_where_it_is() -> None:
    background, square = _noise(7, 240, 320), _noise(8, 70, 70)
    before, after = background.copy(), background.copy()
    before[80:150, 100:170] = square
    after[82:152, 106:176] = square
    moving = find_moving(before, after, np.eye(2, 3))
    assert moving is not None
    assert moving.boxes[0].iou(Box(106, 82, 176, 152)) > 0.7
    points = grid_points(Box(116, 92, 166, 142), after.shape)
    assert moving.velocity(points)[0] == pytest.approx([6, 2], abs=0.7)
    assert moving.share(Box(116, 92, 166, 142)) > 0.8
    assert moving.share(Box(0, 0, 20, 20)) < 0.1


def test_nothing_moves_in_equal_frames() -> None:
    moving = find_moving(_noise(1), _noise(1), np.eye(2, 3))
    assert moving is not None
    assert moving.boxes == []


def test_a_frame_that_moves_as_a_whole_tells_nothing() -> None:
    before = _noise(9)
    assert find_moving(before, _shifted(before, 6, 0), np.eye(2, 3)) is None


def test_cuts_are_told_from_motion_and_from_light() -> None:
    first, second = _noise(10), _noise(11)
    dark = np.full_like(first, 20)
    half = dark.copy()
    half[:, 80:] = 220
    assert is_cut(_coarse(first), _coarse(second), followed=0.02)
    assert is_cut(dark, half, followed=0.5)
    assert not is_cut(dark, half, followed=0.9)  # a van drives in, the rest is the same
    assert not is_cut(first, _shifted(first, 8, 0), followed=0.9)
    assert not is_cut(dark, dark + 60, followed=0.0)  # a lamp is switched on
    assert not is_cut(first, first, followed=1.0)


def _coarse(picture: np.ndarray) -> np.ndarray:
    """Large blotches, as scenes have them."""
    return np.kron(picture[::12, ::12], np.ones((12, 12), np.uint8))


def test_likeness_equals_a_naive_search() -> None:
    first, second = _noise(12, 40, 40), _noise(13, 40, 40)
    second[6:38, 2:34] = first[4:36, 4:36]  # shifted by (-2, 2)
    best = -1.0
    template = first[4:36, 4:36].astype(float) - first[4:36, 4:36].mean()
    for y in range(9):
        for x in range(9):
            window = second[y : y + 32, x : x + 32].astype(float)
            window -= window.mean()
            scale = np.sqrt((template**2).sum() * (window**2).sum())
            best = max(best, float((template * window).sum() / scale))
    assert likeness(first, second) == pytest.approx(best, abs=1e-3)
    assert best == pytest.approx(1.0)


def test_likeness_of_flat_patches_is_nothing() -> None:
    flat = np.full((40, 40), 100, np.uint8)
    assert likeness(flat, flat) == 0.0


def test_a_look_is_the_box_and_its_margin() -> None:
    picture = _noise(14)
    look = look_at(picture, Box(40, 30, 72, 62))  # 32 pixels: no scaling
    assert look.shape == (40, 40)
    assert np.abs(look.astype(int) - picture[26:66, 36:76]).max() <= 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("gap_s", 0), ("pairs_per_gap", 4), ("patch_pixels", 1), ("min_quality", 2), ("gap_s", "x")],
)
def test_a_wrong_setting_is_named(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=name):
        MiningSettings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(12, 12), (12, 50), (24, 384), (384, 12), (31, 33)])
def test_dense_flow_of_a_narrow_frame_stays_inside_it(size: tuple[int, int]) -> None:
    # Alone, DIS reads beyond such frames: wrong sizes, errors, a crash of the process.
    picture = np.kron(np.random.default_rng(0).integers(0, 256, (80, 80)), np.ones((5, 5)))
    height, width = size
    before = np.ascontiguousarray(picture[:height, :width], np.uint8)
    assert dense_flow(before, before).shape == (height, width, 2)
    assert np.abs(dense_flow(before, before)).max() < 0.1


def test_dense_flow_of_a_low_wide_frame_is_its_motion() -> None:
    picture = np.kron(np.random.default_rng(0).integers(0, 256, (80, 80)), np.ones((5, 5)))
    before, after = (np.ascontiguousarray(picture[:24, x : x + 384], np.uint8) for x in (2, 0))
    assert np.median(dense_flow(before, after), axis=(0, 1)) == pytest.approx([2, 0], abs=0.3)
