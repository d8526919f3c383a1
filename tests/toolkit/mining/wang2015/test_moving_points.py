"""Interest points and their residual flow, on pictures whose motion is known."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.mining.tally import Tally
from toolkit.mining.wang2015 import queries
from toolkit.mining.wang2015.moving_points import (
    MOVING_PX,
    Detector,
    InterestPoints,
    camera_motion,
    follow,
    match,
    residual_flow,
)
from toolkit.mining.wang2015.queries import QueryFinder
from toolkit.mining.wang2015.scaled import ScaledFrame
from toolkit.video.frame import Frame

Draw = Callable[..., NDArray[np.uint8]]
AsFrames = Callable[..., list[Frame]]

CAMERA = np.array([[1.01, 0.02, 4.0], [-0.01, 0.99, -3.0], [2e-5, -1e-5, 1.0]])


def _moved(point: NDArray[np.float32]) -> NDArray[np.float64]:
    x, y, w = CAMERA @ [point[0], point[1], 1]
    return np.array([x / w, y / w])


def _gray(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _find(
    first: NDArray[np.uint8], second: NDArray[np.uint8], as_frames: AsFrames
) -> tuple[tuple[int, int] | None, Tally]:
    tally = Tally()
    one, two = map(ScaledFrame.of, as_frames([first, second]))
    return QueryFinder(tally).find(one, two), tally


def test_residual_flow_is_what_a_loop_by_hand_gives() -> None:
    random = np.random.default_rng(0)
    before = (random.random((40, 2)) * [600, 448]).astype(np.float32)
    own = random.normal(0, 2, (40, 2))
    # What moves by itself does so in the first frame, then the camera takes it along.
    after = np.array([_moved(p + o) for p, o in zip(before, own, strict=True)], np.float32)
    found = residual_flow(before, after, CAMERA)
    assert found == pytest.approx(np.hypot(own[:, 0], own[:, 1]), abs=1e-3)


def test_matches_are_each_others_nearest_as_in_a_loop() -> None:
    random = np.random.default_rng(1)
    first, second = (
        InterestPoints(
            random.random((count, 2)).astype(np.float32),
            random.integers(0, 200, (count, 128)).astype(np.float32),
        )
        for count in (30, 40)
    )
    near = [
        np.argmin([((a - b) ** 2).sum() for b in second.descriptors]) for a in first.descriptors
    ]
    back = [
        np.argmin([((a - b) ** 2).sum() for a in first.descriptors]) for b in second.descriptors
    ]
    mutual = [(i, j) for i, j in enumerate(near) if back[j] == i]
    assert 3 < len(mutual) < 30
    before, after = match(first, second)
    assert np.array_equal(before, first.points[[i for i, _ in mutual]])
    assert np.array_equal(after, second.points[[j for _, j in mutual]])


def test_the_homography_of_the_camera_is_found_among_moving_points() -> None:
    random = np.random.default_rng(2)
    before = (random.random((200, 2)) * [600, 448]).astype(np.float32)
    after = np.array([_moved(point) for point in before], np.float32)
    after[:80] += random.uniform(5, 30, (80, 2)).astype(np.float32)
    camera = camera_motion(before, after)
    assert camera is not None
    moving = residual_flow(before, after, camera) > MOVING_PX
    assert moving[:80].all()
    assert not moving[80:].any()


def test_too_few_points_in_agreement_are_no_camera() -> None:
    points = (np.random.default_rng(3).random((200, 2)) * 400).astype(np.float32)
    assert camera_motion(points[:24], points[:24]) is None
    assert camera_motion(points[:25], points[:25]) is not None
    assert camera_motion(points, points[::-1].copy()) is None


def test_a_plain_picture_has_no_points_and_matches_nothing(draw: Draw) -> None:
    detector = Detector()
    plain = detector.detect(np.full((448, 600), 128, np.uint8))
    some = detector.detect(_gray(draw(None)))
    assert plain.points.shape == (0, 2)
    assert len(some.points) > 100
    for pair in ((plain, some), (some, plain), (plain, plain)):
        before, after = match(*pair)
        assert before.shape == after.shape == (0, 2)
    before, after = follow(np.zeros((448, 600), np.uint8), np.zeros((448, 600), np.uint8), before)
    assert len(before) == len(after) == 0


def test_the_points_that_move_are_those_of_the_patch(draw: Draw) -> None:
    first, second = _gray(draw((150, 80))), _gray(draw((154, 77), pan=(3, 2)))
    detector = Detector()
    points, others = detector.detect(first), detector.detect(second)
    camera = camera_motion(*match(points, others))
    assert camera is not None
    before, after = follow(first, second, points.points)
    flow = residual_flow(before, after, camera)
    depth = np.minimum(before - [150, 80], [440, 370] - before).min(axis=1)
    inside, outside = flow[depth > 15], flow[depth < -15]
    assert len(inside) > 50
    assert len(outside) > 50
    # The wall moves by (-3, -2) with the pan, the patch by (4, -3).
    assert np.median(inside) == pytest.approx(np.hypot(7, 1), abs=0.2)
    assert (inside > MOVING_PX).mean() > 0.95
    assert (outside > MOVING_PX).mean() < 0.05


def test_the_query_lies_on_the_moving_patch(draw: Draw, as_frames: AsFrames) -> None:
    corner, tally = _find(draw((250, 100)), draw((254, 98), pan=(2, 0)), as_frames)
    assert corner is not None
    assert not tally.rejected
    assert 250 - 10 <= corner[0] <= 250 + 290 - 227 + 10
    assert 100 - 10 <= corner[1] <= 100 + 290 - 227 + 10


def test_a_small_moving_thing_is_too_little(draw: Draw, as_frames: AsFrames) -> None:
    corner, tally = _find(draw((200, 100), side=120), draw((205, 100), side=120), as_frames)
    assert corner is None
    assert tally.rejected == {"frames with few moving points": 1}


def test_a_pan_of_the_camera_alone_moves_nothing(draw: Draw, as_frames: AsFrames) -> None:
    corner, tally = _find(draw(None), draw(None, pan=(6, 4)), as_frames)
    assert corner is None
    assert tally.rejected == {"frames with few moving points": 1}


def test_where_all_parts_move_each_its_way_it_is_too_much(draw: Draw, as_frames: AsFrames) -> None:
    first = draw(None)
    second = first.copy()
    for row in range(3):
        for column in range(3):
            tile = slice(150 * row, 150 * row + 148), slice(200 * column, 200 * column + 200)
            second[tile] = np.roll(first[tile], (4 * row - 5, 5 * column - 3), axis=(0, 1))
    corner, tally = _find(first, second, as_frames)
    assert corner is None
    assert tally.rejected == {"frames with mostly moving points": 1}


def test_a_picture_that_is_another_has_no_clear_camera(draw: Draw, as_frames: AsFrames) -> None:
    corner, tally = _find(draw(None), draw(None, wall=9), as_frames)
    assert corner is None
    assert set(tally.rejected) <= {
        "frames with unclear camera motion",
        "frames with too few points",
    }
    assert tally.rejected.total() == 1


def test_each_place_is_counted_once(
    draw: Draw, as_frames: AsFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[NDArray[np.float32]] = []

    def noted(first: object, second: object, places: NDArray[np.float32]) -> object:
        counted.append(places)
        return places, places

    monkeypatch.setattr(queries, "follow", noted)
    _find(draw(None), draw(None), as_frames)
    listed = [tuple(place) for place in counted[0].tolist()]
    points = Detector().detect(ScaledFrame.of(as_frames([draw(None)])[0]).gray).points
    assert len(listed) == len(set(listed)) < len(points)


@pytest.mark.parametrize(
    ("moving", "reason"),
    [
        (99, "frames with few moving points"),
        (100, None),
        (300, None),
        (301, "frames with mostly moving points"),
    ],
)
def test_a_quarter_and_three_quarters_are_kept_and_no_more(
    moving: int,
    reason: str | None,
    draw: Draw,
    as_frames: AsFrames,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = (np.random.default_rng(4).random((400, 2)) * [600, 448]).astype(np.float32)
    flow = np.r_[np.full(moving, 0.51), np.full(400 - moving, 0.5)]
    monkeypatch.setattr(queries, "follow", lambda first, second, places: (points, points))
    monkeypatch.setattr(queries, "residual_flow", lambda before, after, camera: flow)
    corner, tally = _find(draw(None), draw(None), as_frames)
    assert (corner is None) == (reason is not None)
    assert tally.rejected == ({reason: 1} if reason else {})
