"""The paper's recipe from frames to pairs."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.errors import UsageError
from toolkit.mining.mined import MinedPair
from toolkit.mining.recipes import mined_pairs
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.mining.wang2015 import pairs as pairs_module
from toolkit.video.decode import DamagedVideoError
from toolkit.video.frame import Frame

Draw = Callable[..., NDArray[np.uint8]]
AsFrames = Callable[..., list[Frame]]
Pictures = list[NDArray[np.uint8]]

SPEED = 4  # pixels a frame, of 600 across


@pytest.fixture(scope="session")
def crossing() -> Callable[[Draw], Pictures]:
    """32 frames of a patch that goes to the right before a panning camera; drawn once."""
    drawn: Pictures = []

    def pictures(draw: Draw) -> Pictures:
        if not drawn:
            drawn.extend(draw((30 + SPEED * i, 70), pan=(0.4 * i, 0.2 * i)) for i in range(32))
        return drawn

    return pictures


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracks of 6 frames, where their length is not what is tested: KCF is slow."""
    monkeypatch.setattr(pairs_module, "TRACK_FRAMES", 6)


def _mine(
    frames: Sequence[Frame] | Iterator[Frame], **settings: float
) -> tuple[list[MinedPair], Tally]:
    tally = Tally()
    chosen = MiningSettings(recipe="wang2015", **settings)  # type: ignore[arg-type]
    return list(mined_pairs(frames, chosen, tally)), tally


def _content(pairs: Sequence[MinedPair]) -> list[object]:
    return [
        (view.track, view.sighting, view.patch.tobytes(), pair.quality)
        for pair in pairs
        for view in (pair.query, pair.positive)
    ]


def test_the_box_rides_on_the_patch_for_thirty_frames(
    draw: Draw, as_frames: AsFrames, crossing: Callable[[Draw], Pictures]
) -> None:
    # As from a wide camera: the boxes have to come out in its pixels.
    wide = [cv2.resize(picture, (1200, 672)) for picture in crossing(draw)[:31]]
    pairs, tally = _mine(as_frames(wide))
    (pair,) = pairs
    assert (tally.frames, tally.tracks, tally.pairs) == (31, 1, 1)
    assert not tally.rejected
    assert tally.footage_s == pytest.approx(1.2)
    assert (pair.query.sighting.time_s, pair.positive.sighting.time_s) == (0, 1.2)
    query, positive = pair.query.sighting.box, pair.positive.sighting.box
    for box in (query, positive):
        assert (box.width, box.height) == pytest.approx((454, 340.5), abs=0.2)
    # It lies on the patch, which is 290 of 600 pixels wide and at (30, 70).
    assert 2 * (30 - 12) <= query.x0 <= 2 * (30 + 290 - 227 + 12)
    assert 1.5 * (70 - 12) <= query.y0 <= 1.5 * (70 + 290 - 227 + 12)
    moved = positive.x0 - query.x0, positive.y0 - query.y0
    assert moved == pytest.approx((2 * SPEED * 30, 0), abs=12)
    assert pair.quality.score > 0.9
    assert pair.quality.forward_backward < 0.02
    assert pair.query.patch.shape == pair.positive.patch.shape == (227, 227, 3)


def test_thirty_frames_are_one_too_few_and_the_rest_is_too_short(
    draw: Draw, as_frames: AsFrames, crossing: Callable[[Draw], Pictures]
) -> None:
    pairs, tally = _mine(as_frames(crossing(draw)[:30]))
    assert not pairs
    assert tally.tracks == 1
    assert tally.rejected == {"tracks too short": 1}


def test_two_runs_give_the_same_bytes_with_any_number_of_threads(
    draw: Draw,
    as_frames: AsFrames,
    crossing: Callable[[Draw], Pictures],
    short: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: set[int] = set()

    def noted(*pictures: NDArray[np.uint8]) -> bool:
        used.add(cv2.getNumThreads())
        return False

    monkeypatch.setattr(pairs_module, "is_cut", noted)
    before = cv2.getNumThreads()
    try:
        runs = []
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            pairs, tally = _mine(as_frames(crossing(draw)[:14]))
            runs.append((_content(pairs), tally.rejected))
            assert cv2.getNumThreads() == threads
    finally:
        cv2.setNumThreads(before)
    assert used == {1}
    assert runs[0] == runs[1]
    assert len(runs[0][0]) == 4  # views, of two pairs one after the other


def test_no_track_crosses_a_cut(
    draw: Draw, as_frames: AsFrames, crossing: Callable[[Draw], Pictures], short: None
) -> None:
    other = [np.rot90(picture, 2).copy() for picture in crossing(draw)]
    pairs, tally = _mine(as_frames(crossing(draw)[:5] + other[5:10]), min_quality=0)
    assert not pairs
    assert tally.rejected["cuts"] == 1
    assert tally.rejected["tracks too short"] == tally.tracks == 2


def test_no_track_crosses_a_hole_or_a_clock_that_jumps_back(
    draw: Draw, as_frames: AsFrames, crossing: Callable[[Draw], Pictures], short: None
) -> None:
    for jump_s in (2.0, -3.0):
        times_s = [index / 25 + (jump_s if index >= 5 else 0) for index in range(10)]
        pairs, tally = _mine(as_frames(crossing(draw)[:10], times_s), min_quality=0)
        assert not pairs
        assert tally.rejected == {"frames too far apart": 1, "tracks too short": 2}


def test_a_patch_that_vanishes_has_no_quality(
    draw: Draw,
    as_frames: AsFrames,
    crossing: Callable[[Draw], Pictures],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pairs_module, "TRACK_FRAMES", 14)
    empty = [draw(None, pan=(0.4 * i, 0.2 * i)) for i in range(10, 15)]
    (pair,), _ = _mine(as_frames(crossing(draw)[:10] + empty), min_quality=0)
    assert pair.quality.score < 0.5


def test_pairs_of_low_quality_are_dropped_and_counted(
    draw: Draw,
    as_frames: AsFrames,
    crossing: Callable[[Draw], Pictures],
    short: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pairs_module, "forward_backward", lambda pictures, start, end: 0.06)
    (pair,), tally = _mine(as_frames(crossing(draw)[:7]))
    assert 0.5 <= pair.quality.score < 0.75
    pairs, tally = _mine(as_frames(crossing(draw)[:7]), min_quality=0.75)
    assert not pairs
    assert (tally.tracks, tally.pairs) == (1, 0)
    assert tally.rejected == {"pairs of low quality": 1}


def test_a_patch_that_leaves_the_frame_ends_its_track(draw: Draw, as_frames: AsFrames) -> None:
    pictures = [draw((40 - 20 * i, 70)) for i in range(12)]
    pairs, tally = _mine(as_frames(pictures), min_quality=0)
    assert not pairs
    assert tally.tracks == 1
    assert tally.rejected["tracks that left the frame"] == 1


def test_a_last_box_that_sticks_out_a_little_is_moved_inside(
    draw: Draw, as_frames: AsFrames, short: None
) -> None:
    (pair,), _ = _mine(as_frames([draw((30 - 20 * i, 70)) for i in range(7)]), min_quality=0)
    box = pair.positive.sighting.box
    assert pair.query.sighting.box.x0 > 20
    assert (box.x0, box.x1) == pytest.approx((0, 227))
    assert pair.positive.patch.shape == (227, 227, 3)


def test_a_still_camera_before_a_wall_gives_nothing(draw: Draw, as_frames: AsFrames) -> None:
    pairs, tally = _mine(as_frames([draw(None)] * 4))
    assert not pairs
    assert tally.rejected == {"frames with few moving points": 3}


def test_an_empty_video_gives_nothing() -> None:
    pairs, tally = _mine([])
    assert not pairs
    assert (tally.frames, tally.footage_s, tally.tracks) == (0, 0, 0)
    assert not tally.rejected


def test_one_frame_gives_nothing(draw: Draw, as_frames: AsFrames) -> None:
    pairs, tally = _mine(as_frames([draw((100, 100))]))
    assert not pairs
    assert (tally.frames, tally.tracks) == (1, 0)


def test_plain_gray_has_too_few_points(as_frames: AsFrames) -> None:
    pairs, tally = _mine(as_frames([np.full((48, 64, 3), 128, np.uint8)] * 5))
    assert not pairs
    assert tally.rejected == {"frames with too few points": 4}


def test_footage_that_is_too_small_is_set_aside(draw: Draw, as_frames: AsFrames) -> None:
    pictures = [draw((200 + 5 * i, 70)) for i in range(2)]
    pairs, tally = _mine(as_frames(pictures), min_box_pixels=228)
    assert not pairs
    assert tally.rejected == {"things too small": 1}
    assert tally.tracks == 0


def test_what_was_found_before_the_damage_is_kept(
    draw: Draw, as_frames: AsFrames, crossing: Callable[[Draw], Pictures], short: None
) -> None:
    def damage() -> Iterator[Frame]:
        raise DamagedVideoError("the file is cut")
        yield

    tally = Tally()
    frames = chain(as_frames(crossing(draw)[:9]), damage())
    pairs = mined_pairs(frames, MiningSettings(recipe="wang2015"), tally)
    assert next(pairs).positive.sighting.time_s == 0.24
    with pytest.raises(DamagedVideoError):
        next(pairs)
    assert tally.rejected == {"tracks too short": 1}


def test_the_next_track_begins_where_the_last_one_ended(
    draw: Draw, as_frames: AsFrames, crossing: Callable[[Draw], Pictures], short: None
) -> None:
    pairs, _ = _mine(as_frames(crossing(draw)[:20]))
    times_s = [(p.query.sighting.time_s, p.positive.sighting.time_s) for p in pairs]
    assert times_s == [(0, 0.24), (0.24, 0.48), (0.48, 0.72)]
    assert [(p.query.track, p.positive.track) for p in pairs] == [(0, 0), (1, 1), (2, 2)]


def test_patches_may_be_asked_for_smaller(
    draw: Draw, as_frames: AsFrames, crossing: Callable[[Draw], Pictures], short: None
) -> None:
    (pair,), _ = _mine(as_frames(crossing(draw)[:7]), patch_pixels=64)
    assert pair.query.patch.shape == pair.positive.patch.shape == (64, 64, 3)
    assert pair.query.sighting.box.width == pytest.approx(227)


@pytest.mark.parametrize(
    ("name", "value"), [("gap_s", 1.0), ("pairs_per_gap", 1), ("min_travel", 0.0)]
)
def test_settings_that_it_does_not_use_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"wang2015 does not use the setting {name}"):
        MiningSettings(recipe="wang2015", **{name: value})  # type: ignore[arg-type]
    MiningSettings(recipe="modern", **{name: value})  # type: ignore[arg-type]


def test_progress_is_told_once_a_frame(draw: Draw, as_frames: AsFrames) -> None:
    seen: list[int] = []
    tally = Tally(on_frame=lambda t: seen.append(t.frames))
    list(mined_pairs(as_frames([draw(None)] * 3), MiningSettings(recipe="wang2015"), tally))
    assert seen == [1, 2, 3]
