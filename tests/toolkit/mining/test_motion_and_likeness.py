"""The small parts of mining, against known motion and naive computations."""

import numpy as np
import pytest

from toolkit.errors import UsageError
from toolkit.mining.modern.advance import GRID, advance, grid_points
from toolkit.mining.modern.camera import (
    STILL,
    background_points,
    camera_motion,
    moved_by,
    spread_points,
)
from toolkit.mining.modern.engine import flow_engine
from toolkit.mining.modern.flow import LOST_PX, Followed, dense_flow, follow
from toolkit.mining.modern.overlap import areas, as_array, intersections
from toolkit.mining.modern.picture import MIN_CHANGE, Picture
from toolkit.mining.modern.proposals import find_moving
from toolkit.mining.modern.samples import Look
from toolkit.mining.modern.scene import is_cut
from toolkit.mining.settings import MiningSettings
from toolkit.records import Box

CPU = flow_engine("cpu")


def _noise(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    import cv2

    picture = np.random.default_rng(seed).normal(0, 1, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(picture, (0, 0), 2)
    return np.clip(128 + 45 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def _shifted(picture: np.ndarray, dx: int, dy: int) -> np.ndarray:
    return np.roll(picture, (dy, dx), axis=(0, 1))


def _points(*boxes: Box) -> np.ndarray:
    return grid_points(as_array(boxes).astype(np.float32))


def _boxes(*boxes: Box) -> np.ndarray:
    return as_array(boxes).astype(np.float32)


def _no_cells(tracks: int) -> np.ndarray:
    return np.zeros((tracks, GRID * GRID), np.float32)


def test_points_follow_a_known_shift() -> None:
    before = _noise(1)
    points = _points(Box(30, 30, 130, 90))[0]
    followed = follow(before, _shifted(before, 4, -3), points, points)
    assert followed.kept.mean() > 0.9
    moves = (followed.after - points)[followed.kept]
    assert np.abs(moves - [4, -3]).max() < 0.3


def test_a_guess_finds_what_the_pyramid_misses() -> None:
    before = _noise(2, 240, 320)
    after = _shifted(before, 70, 0)
    points = _points(Box(60, 60, 180, 180))[0]
    right = points + np.array([68, 1], np.float32)
    assert follow(before, after, points, right).kept.mean() > 0.9
    assert follow(before, after, points, points).kept.mean() < 0.5


def test_following_no_points_gives_none() -> None:
    none = np.zeros((0, 2), np.float32)
    assert len(follow(_noise(1), _noise(1), none, none).after) == 0


def test_points_do_not_come_back_from_another_picture() -> None:
    points = _points(Box(20, 20, 140, 100))[0]
    followed = follow(_noise(1), _noise(2), points, points)
    assert followed.kept.mean() < 0.25
    assert (followed.error[followed.kept] <= LOST_PX).all()


def test_what_leaves_the_frame_is_lost() -> None:
    before = _noise(3)
    points = np.array([[156, 60], [80, 60]], np.float32)
    followed = follow(before, _shifted(before, 6, 0), points, points)
    assert followed.kept.tolist() == [False, True]


def test_each_track_goes_where_its_own_thing_went() -> None:
    background = _noise(15, 240, 320)
    before, after = background.copy(), background.copy()
    first, second = _noise(16, 60, 40), _noise(17, 40, 60)
    before[40:100, 40:80], after[43:103, 46:86] = first, first
    before[150:190, 200:260], after[150:190, 195:255] = second, second
    boxes = _boxes(Box(40, 40, 80, 100), Box(200, 150, 260, 190))
    grids = grid_points(boxes)
    flat = grids.reshape(-1, 2)
    followed = follow(before, after, flat, flat).of_tracks(2)
    went = advance(grids, followed, _no_cells(2), STILL)
    assert went.found.tolist() == [True, True]
    assert went.step == pytest.approx(np.array([[6, 3], [-5, 0]]), abs=0.4)
    assert went.scale == pytest.approx([1, 1], abs=0.04)
    assert went.error.max() < 0.5
    # What moved is remembered, so that a thing that stops is not taken for what is beside it.
    assert (went.cells.max(axis=1) > 0.2).all()


def _went(after: np.ndarray, kept: np.ndarray) -> Followed:
    return Followed(after.astype(np.float32), np.zeros(after.shape[:2], np.float32), kept)


def test_a_thing_that_grows_makes_its_box_grow() -> None:
    points = _points(Box(40, 30, 120, 90))
    after = (points - [80, 60]) * 1.08 + [83, 60]
    followed = _went(after, np.ones(points.shape[:2], bool))
    went = advance(points, followed, _no_cells(1), STILL)
    assert went.found.tolist() == [True]
    assert went.scale[0] == pytest.approx(1.08, abs=0.005)
    assert went.step[0] == pytest.approx([3, 0], abs=1.2)


def test_a_thing_whose_points_do_not_come_back_is_lost() -> None:
    points = _points(Box(40, 30, 120, 90), Box(40, 30, 120, 90))
    kept = np.zeros(points.shape[:2], bool)
    kept[1] = True
    went = advance(points, _went(points + 3, kept), _no_cells(2), STILL)
    assert went.found.tolist() == [False, True]
    assert went.step.tolist() == [[0, 0], [3, 3]]


def test_points_that_go_apart_are_no_thing() -> None:
    points = _points(Box(40, 30, 120, 90))
    after = points + np.random.default_rng(3).normal(0, 30, points.shape)
    went = advance(points, _went(after, np.ones(points.shape[:2], bool)), _no_cells(1), STILL)
    assert went.found.tolist() == [False]


def test_what_moved_of_late_is_followed_when_it_slows_down() -> None:
    points = _points(Box(40, 30, 120, 90))
    right = points[0, :, 0] > 80  # the thing; the left half of the box is background
    cells = np.where(right, 1, 0).astype(np.float32)[None]
    after = points + np.where(right[:, None], [0.3, 0.0], [0.0, 0.0])  # less than counts as motion
    followed = _went(after, np.ones(points.shape[:2], bool))
    assert advance(points, followed, cells, STILL).step[0] == pytest.approx([0.3, 0], abs=0.01)
    assert advance(points, followed, _no_cells(1), STILL).step[0] == pytest.approx([0, 0], abs=0.01)


def test_overlaps_equal_those_of_boxes() -> None:
    random = np.random.default_rng(5)
    corners = random.uniform(0, 50, (2, 6, 2))
    boxes = [
        [Box(*c, *(c + random.uniform(1, 30, 2))) for c in group.tolist()] for group in corners
    ]
    shared = intersections(as_array(boxes[0]), as_array(boxes[1]))
    for row, first in zip(shared, boxes[0], strict=True):
        assert row == pytest.approx([first.intersection(second) for second in boxes[1]])
    assert areas(as_array(boxes[0])) == pytest.approx([box.area for box in boxes[0]])
    assert intersections(as_array([]), as_array(boxes[0])).shape == (0, 6)


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
    assert spread_points(strength, 4, 3, least=0).tolist() == expected


def test_a_flat_picture_has_no_points() -> None:
    flat = np.full((60, 80), 90, np.uint8)
    assert len(background_points(Picture.of(flat))) == 0


def test_an_edge_alone_has_no_points_and_its_corner_has() -> None:
    picture = np.full((240, 320), 60, np.uint8)
    picture[100:, 150:] = 200
    points = background_points(Picture.of(picture))
    assert len(points) >= 1
    assert np.abs(points - [150, 100]).max() <= 12


def test_a_moved_square_is_found_where_it_is() -> None:
    background, square = _noise(7, 240, 320), _noise(8, 70, 70)
    before, after = background.copy(), background.copy()
    before[80:150, 100:170] = square
    after[82:152, 106:176] = square
    moving = find_moving(Picture.of(before), Picture.of(after), STILL, CPU)
    assert moving is not None
    assert moving.boxes[0].iou(Box(106, 82, 176, 152)) > 0.7
    inside = Box(116, 92, 166, 142)
    assert moving.velocity(inside) == pytest.approx((6, 2), abs=0.7)
    assert moving.share(inside) > 0.8
    assert moving.share(Box(0, 0, 20, 20)) < 0.1
    assert moving.velocity(Box(0, 0, 20, 20)) == (0, 0)


def test_nothing_moves_in_equal_frames() -> None:
    picture = _noise(1)
    moving = find_moving(Picture.of(picture), Picture.of(picture), STILL, CPU)
    assert moving is not None
    assert moving.boxes == []


def test_a_frame_that_moves_as_a_whole_tells_nothing() -> None:
    before = _noise(9)
    after = _shifted(before, 6, 0)
    assert find_moving(Picture.of(before), Picture.of(after), STILL, CPU) is None


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


def test_nothing_moves_where_less_than_noise_changes() -> None:
    picture = _noise(18, 240, 320)
    noisy = (picture.astype(int) + np.random.default_rng(1).integers(-9, 10, picture.shape)).clip(
        0, 255
    )
    first, second = Picture.of(picture), Picture.of(noisy.astype(np.uint8))
    assert second.equals(first)
    louder = picture.copy()
    louder[100:104, 100:104] += np.uint8(MIN_CHANGE + 5)
    assert not Picture.of(louder).equals(first)


def test_likeness_equals_a_naive_search() -> None:
    first = Look(50.0, np.random.default_rng(12).normal(0, 20, (30, 30)).astype(np.float32))
    detail = np.random.default_rng(13).normal(0, 20, (30, 30)).astype(np.float32)
    detail[5:29, 1:25] += first.detail[3:27, 3:27]  # shifted by (-2, 2), and much besides
    best = -1.0
    template = first.detail[3:27, 3:27].astype(float) - first.detail[3:27, 3:27].mean()
    for y in range(7):
        for x in range(7):
            window = detail[y : y + 24, x : x + 24].astype(float)
            window -= window.mean()
            scale = np.sqrt((template**2).sum() * (window**2).sum())
            best = max(best, float((template * window).sum() / scale))
    assert first.likeness(Look(50.0, detail)) == pytest.approx(best, abs=1e-3)
    assert 0.4 < best < 0.9


def test_likeness_of_flat_patches_is_nothing() -> None:
    flat = Look.at(np.full((60, 60), 100, np.uint8), Box(10, 10, 40, 40))
    assert flat.contrast == 0
    assert flat.likeness(flat) == 0.0


def test_the_edge_of_a_shadow_does_not_make_two_places_alike() -> None:
    ground = _noise(19, 120, 320).astype(float)
    light = np.ones(320)
    light[:100] = 0.4
    early, late = Box(80, 40, 120, 80), Box(180, 40, 220, 80)
    looks = [
        Look.at((ground * np.roll(light, shift)).astype(np.uint8), box)
        for shift, box in ((0, early), (100, late))
    ]
    assert looks[0].likeness(looks[1]) < 0.5


def test_a_look_is_the_box_and_its_margin() -> None:
    import cv2

    picture = _noise(14)
    look = Look.at(picture, Box(40, 30, 64, 54))  # 24 pixels: no scaling
    cut = picture[27:57, 37:67].astype(np.float32)
    assert np.abs(look.detail - (cut - cv2.GaussianBlur(cut, (0, 0), 1.5))).max() < 1
    assert look.contrast == pytest.approx(picture[30:54, 40:64].std(), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gap_s", 0),
        ("pairs_per_gap", 4),
        ("patch_pixels", 1),
        ("min_quality", 2),
        ("gap_s", "x"),
        ("device", "tpu"),
    ],
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
