"""The flow in torch, on the CPU, against known motion and against OpenCV's."""

from collections.abc import Callable

import numpy as np
import pytest

from toolkit.mining.modern import flow, flow_torch
from toolkit.mining.modern.flow import LOST_PX
from toolkit.mining.modern.flow_torch import _AT_ONCE, dense_flow, follow


def _noise(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    import cv2

    picture = np.random.default_rng(seed).normal(0, 1, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(picture, (0, 0), 2)
    return np.clip(128 + 45 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def _warped(picture: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The picture whose point p comes to lie at affine p."""
    import cv2

    height, width = picture.shape
    return np.asarray(
        cv2.warpAffine(picture, affine, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8
    )


def _grid(height: int, width: int, margin: int, step: int = 7) -> np.ndarray:
    x, y = np.meshgrid(
        np.arange(margin, width - margin, step), np.arange(margin, height - margin, step)
    )
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


TURN = np.array([[0.995, -0.05, 5.3], [0.05, 0.995, -6.7]])


def test_points_follow_a_known_motion() -> None:
    before = _noise(1, 216, 384)
    points = _grid(216, 384, 30)
    followed = follow(before, _warped(before, TURN), points, points, "cpu")
    assert followed.kept.mean() > 0.95
    expected = points @ TURN[:, :2].T + TURN[:, 2]
    off = np.hypot(*(followed.after - expected)[followed.kept].T)
    assert np.median(off) < 0.15  # warpAffine counts in 32nds of a pixel
    assert (followed.error[followed.kept] <= LOST_PX).all()
    assert followed.after.dtype == followed.error.dtype == np.float32


def test_points_go_where_opencv_takes_them() -> None:
    before = _noise(2, 216, 384)
    after = _warped(before, TURN)
    points = np.random.default_rng(0).uniform(0, (384, 216), (500, 2)).astype(np.float32)
    mine = follow(before, after, points, points, "cpu")
    theirs = flow.follow(before, after, points, points)
    both = mine.kept & theirs.kept
    assert (mine.kept == theirs.kept).mean() > 0.99
    assert both.mean() > 0.8
    off = np.hypot(*(mine.after - theirs.after)[both].T)
    assert np.median(off) < 0.01
    assert np.percentile(off, 99) < 0.1
    assert np.median(np.abs(mine.error - theirs.error)[both]) < 0.02


def test_texture_is_asked_for_as_by_opencv() -> None:
    """A ramp of contrast from nothing to plenty: both lose the same points of it."""
    ramp = np.linspace(0, 0.05, 384)[None]
    before = (128 + (_noise(3, 216, 384).astype(float) - 128) * ramp).round().astype(np.uint8)
    points = _grid(216, 384, 20)
    mine = follow(before, before, points, points, "cpu").kept
    theirs = flow.follow(before, before, points, points).kept
    assert 0.2 < theirs.mean() < 0.95
    assert (mine == theirs).mean() > 0.9


def test_a_guess_finds_what_the_pyramid_misses() -> None:
    before = _noise(2, 240, 320)
    after = np.roll(before, 70, axis=1)
    points = _grid(240, 320, 60)[:100]
    right = points + np.array([68, 1], np.float32)
    assert follow(before, after, points, right, "cpu").kept.mean() > 0.9
    assert follow(before, after, points, points, "cpu").kept.mean() < 0.5


def test_following_no_points_gives_none() -> None:
    none = np.zeros((0, 2), np.float32)
    followed = follow(_noise(1), _noise(1), none, none, "cpu")
    assert followed.after.shape == (0, 2)
    assert followed.kept.shape == followed.error.shape == (0,)


def test_one_point_and_more_than_at_once() -> None:
    before = _noise(1)
    after = np.roll(before, (1, 2), axis=(0, 1))
    one = np.array([[80, 60]], np.float32)
    single = follow(before, after, one, one, "cpu")
    assert single.after == pytest.approx(np.array([[82, 61]]), abs=0.05)
    many = np.repeat(one, _AT_ONCE + 1, axis=0)
    followed = follow(before, after, many, many.astype(np.float64), "cpu")
    assert followed.after.shape == (_AT_ONCE + 1, 2)
    assert np.array_equal(followed.after[[0, -1]], np.repeat(single.after, 2, axis=0))


def test_points_do_not_come_back_from_another_picture() -> None:
    points = _grid(120, 160, 20, 5)
    followed = follow(_noise(1), _noise(2), points, points, "cpu")
    assert followed.kept.mean() < 0.25


def test_what_leaves_the_frame_is_lost() -> None:
    before = _noise(3)
    points = np.array([[156, 60], [80, 60]], np.float32)
    followed = follow(before, np.roll(before, 6, axis=1), points, points, "cpu")
    assert followed.kept.tolist() == [False, True]


def test_points_at_the_border_and_outside_are_no_trouble() -> None:
    before = _noise(4)
    points = np.array([[0, 0], [159, 119], [-40, 300], [80, -9]], np.float32)
    followed = follow(before, before, points, points, "cpu")
    assert np.isfinite(followed.after).all()
    assert np.isfinite(followed.error).all()
    assert followed.kept[:2].all()
    assert not followed.kept[2:].any()


@pytest.mark.parametrize("size", [(12, 384), (384, 12), (12, 12), (13, 17)])
def test_narrow_frames(size: tuple[int, int]) -> None:
    height, width = size
    before = _noise(5, height, width)
    after = np.roll(before, 1, axis=1)
    points = np.array([[width / 2, height / 2]], np.float32)
    off = follow(before, after, points, points, "cpu").after - points
    assert off[0] == pytest.approx([1, 0], abs=0.3)
    places = dense_flow(before[: height // 2 + 1], after[: height // 2 + 1], "cpu")
    assert places.shape == (height // 2 + 1, width, 2)
    assert np.isfinite(places).all()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_plain_frames_have_no_points_and_no_flow(level: int) -> None:
    plain = np.full((108, 192), level, np.uint8)
    points = _grid(108, 192, 10)
    followed = follow(plain, plain, points, points, "cpu")
    assert not followed.kept.any()
    assert np.array_equal(followed.after, points)
    assert not followed.error.any()
    assert not dense_flow(plain, plain, "cpu").any()
    assert not dense_flow(plain, np.full_like(plain, 77), "cpu").any()


@pytest.mark.parametrize("shift", [(3, -2), (-7, 5), (0, 0), (1, 0)])
def test_dense_flow_is_a_known_shift(shift: tuple[int, int]) -> None:
    first = _noise(6, 108, 192)
    second = np.roll(first, (shift[1], shift[0]), axis=(0, 1))
    found = dense_flow(first, second, "cpu")
    assert found.dtype == np.float32
    inside = found[12:-12, 12:-12] - np.array(shift)
    assert np.percentile(np.hypot(inside[..., 0], inside[..., 1]), 95) < 0.2


def test_dense_flow_of_a_thing_that_moves_is_as_near_as_opencv_s() -> None:
    first = _noise(7, 108, 192)
    second = first.copy()
    thing = _noise(8, 30, 40)
    first[40:70, 60:100], second[43:73, 65:105] = thing, thing
    truth = np.zeros((108, 192, 2), np.float32)
    truth[40:70, 60:100] = 5, 3
    mine = np.hypot(*(dense_flow(first, second, "cpu") - truth).transpose(2, 0, 1))
    theirs = np.hypot(*(flow.dense_flow(first, second) - truth).transpose(2, 0, 1))
    assert np.median(mine[44:66, 64:96]) < 0.2
    assert (mine > 0.5).mean() < 1.2 * (theirs > 0.5).mean()


def test_a_change_of_light_is_no_motion() -> None:
    first = _noise(9, 108, 192) // 2
    found = dense_flow(first, first + 60, "cpu")
    assert np.percentile(np.hypot(found[..., 0], found[..., 1]), 95) < 0.2


@pytest.mark.parametrize("compute", [follow, dense_flow])
def test_the_same_frames_give_the_same_bytes(compute: Callable[..., object]) -> None:
    before, after = _noise(10, 108, 192), _noise(11, 108, 192)
    points = _grid(108, 192, 5)
    args = (before, after, points, points, "cpu") if compute is follow else (before, after, "cpu")
    first, second = compute(*args), compute(*args)
    if compute is follow:
        assert isinstance(first, flow.Followed)
        assert isinstance(second, flow.Followed)
        assert first.after.tobytes() == second.after.tobytes()
        assert first.error.tobytes() == second.error.tobytes()
    else:
        assert np.array_equal(first, second)  # type: ignore[arg-type]


@pytest.mark.gpu
def test_a_gpu_gives_the_flow_of_the_cpu() -> None:
    before = _noise(12, 216, 384)
    after = _warped(before, TURN)
    points = _grid(216, 384, 10)
    on_cpu, on_gpu = (flow_torch.follow(before, after, points, points, d) for d in ("cpu", "cuda"))
    assert (on_cpu.kept == on_gpu.kept).mean() > 0.99
    both = on_cpu.kept & on_gpu.kept
    assert np.abs(on_cpu.after - on_gpu.after)[both].max() < 0.01
    again = flow_torch.follow(before, after, points, points, "cuda")
    assert again.after.tobytes() == on_gpu.after.tobytes()
    coarse = before[::2, ::2].copy(), after[::2, ::2].copy()
    dense = dense_flow(*coarse, "cuda")
    assert np.median(np.abs(dense - dense_flow(*coarse, "cpu"))) < 0.01
    assert dense.tobytes() == dense_flow(*coarse, "cuda").tobytes()
