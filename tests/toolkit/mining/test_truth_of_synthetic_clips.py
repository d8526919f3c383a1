"""The truth that benchmarks/mining_truth.py measures mining against, and its arithmetic."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolkit.mining.mined import MinedPair, View
from toolkit.mining.settings import MiningSettings
from toolkit.records import Box, Sighting, TrackQuality
from toolkit.video.decode import frames

clips = pytest.importorskip("synthetic_clips", reason="the folder benchmarks/ is not here")
drawing = pytest.importorskip("synthetic_drawing")
sprites = pytest.importorskip("synthetic_sprites")
judging = pytest.importorskip("mining_judging")
truths = pytest.importorskip("mining_truth")

SETTINGS = MiningSettings(gap_s=0.8)
PATCH = np.zeros((4, 4, 3), np.uint8)
SIZE = (120, 200)


def white(name: str, route: Callable[[float], tuple[float, float]], **rest: object) -> object:
    return drawing.Sprite(name, sprites.flat(30, 40, (255, 255, 255)), route, **rest)


def line(x: float, y: float, speed: float) -> Callable[[float], tuple[float, float]]:
    return lambda t: (x + speed * t, y)


def black_scene(*shown: object, seconds: float = 4.0, **rest: object) -> object:
    ground = np.zeros((160, 400, 3), np.float32)
    shot = drawing.Shot(background=ground, sprites=list(shown), seconds=seconds, **rest)
    return drawing.Scene(name="black", shots=[shot], size=SIZE, rate=10, noise=0.0)


def clip_of(scene: object, path: Path = Path("none.mp4")) -> object:
    return clips.SyntheticClip("black", path, drawing.drawn(scene)[1])


def two_things() -> object:
    return clip_of(black_scene(white("one", line(-60, -30, 25)), white("two", line(60, 30, -25))))


def box_of_white(picture: np.ndarray) -> list[int] | None:
    rows, columns = np.nonzero(picture.mean(axis=2) > 127.5)
    if not len(rows):
        return None
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def view(clip: object, column: int, frame: int, track: int = 0) -> View:
    box = Box(*clip.truth.boxes[frame, column].tolist())
    return View(track, Sighting(float(clip.truth.times_s[frame]), box), PATCH)


def pair(query: View, positive: View, score: float = 1.0) -> MinedPair:
    return MinedPair(query, positive, TrackQuality(score, 0.0, 1.0))


def perfect(clip: object, frames_apart: int = 8) -> Iterator[MinedPair]:
    """What a tracker would give that reads the truth."""
    truth = clip.truth
    for column in range(len(truth.names)):
        for start in range(len(truth.times_s) - frames_apart):
            both = view(clip, column, start, column), view(clip, column, start + frames_apart)
            yield pair(both[0], replace(both[1], track=column))


# The truth about a drawn clip


@pytest.mark.parametrize(
    "camera",
    [
        lambda t: drawing.View(0, 0),
        lambda t: drawing.View(12 * t, 5 * t),
        lambda t: drawing.View(3 * t, 0, 1 + 0.1 * t),
        lambda t: drawing.View(0, 0, 1, 0.05 * t),
    ],
    ids=["still", "pan", "zoom", "roll"],
)
def test_a_true_box_is_what_can_be_seen_in_the_picture(camera: object) -> None:
    scene = black_scene(white("one", line(-130, 4, 60)), seconds=3, camera=camera)
    pictures, truth = drawing.drawn(scene)
    off = []
    for picture, box in zip(pictures, truth.boxes[:, 0], strict=True):
        seen = box_of_white(picture)
        if seen is None:
            assert np.isnan(box).all()
        else:
            off.append(np.abs(box - seen))
    assert np.isnan(truth.boxes[0]).all()  # it starts outside
    assert np.max(off) <= 1  # a pixel of half the brightness is a tie
    assert np.mean(off) < 0.4


def test_the_camera_shows_what_it_points_at() -> None:
    scene = black_scene(
        white("one", lambda t: (20.0, 10.0)), camera=lambda t: drawing.View(20, 10, 2), seconds=0.1
    )
    _, truth = drawing.drawn(scene)
    middle_x, middle_y = SIZE[1] / 2, SIZE[0] / 2  # the sprite is 40 x 30, twice that in view
    expected = [middle_x - 40, middle_y - 30, middle_x + 40, middle_y + 30]
    assert truth.boxes[0, 0].tolist() == pytest.approx(expected, abs=1.5)


def test_the_visible_share_counts_what_is_covered_and_what_is_outside() -> None:
    thing = white("thing", lambda t: (0.0, 0.0))
    half = drawing.Sprite("post", sprites.flat(60, 60, (0, 0, 0)), lambda t: (30.0, 0.0), "fixture")
    leaving = white("leaving", lambda t: (-100.0, 30.0))  # its middle on the border
    _, truth = drawing.drawn(black_scene(thing, half, leaving, seconds=0.2))
    assert truth.names == ["thing", "leaving"]
    assert truth.visible[0] == pytest.approx([0.5, 0.5], abs=0.03)
    assert truth.boxes[0, 0].tolist() == pytest.approx([80, 45, 100, 75], abs=1.5)
    assert truth.boxes[0, 1].tolist() == pytest.approx([0, 75, 20, 105], abs=1.5)


def test_a_sprite_that_is_not_shown_is_not_seen() -> None:
    blinking = white("lamp", lambda t: (0.0, 0.0), kind="distractor", shown=lambda t: t < 0.45)
    _, truth = drawing.drawn(black_scene(blinking, seconds=1))
    assert (truth.visible[:, 0] > 0).tolist() == [True] * 5 + [False] * 5
    assert not truth.counted.any()


def test_places_are_motion_against_the_background_whatever_the_camera_does() -> None:
    scene = black_scene(
        white("walks", line(-50, 0, 20)),
        white("stands", lambda t: (10.0, 40.0)),
        camera=lambda t: drawing.View(20 * t, 0),
        seconds=2,
    )
    _, truth = drawing.drawn(scene)
    moved = truth.places[10] - truth.places[0]
    assert moved[0] == pytest.approx([20 / math.sqrt(30 * 40), 0], rel=0.05)
    assert moved[1].tolist() == [0, 0]


def test_one_seed_draws_the_same_picture_and_another_does_not() -> None:
    scene = replace(black_scene(white("one", line(0, 0, 10)), seconds=0.3), noise=3.0)
    first, again, other = (drawing.drawn(scene, seed)[0] for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_the_encoded_clip_shows_the_truth_at_its_times(tmp_path: Path) -> None:
    pictures, truth = drawing.drawn(black_scene(white("one", line(-60, 0, 40)), seconds=2))
    path = tmp_path / "clip.mp4"
    clips.encode(path, iter(pictures), 10, crf=14)
    decoded = list(frames(path))
    assert [frame.time_s for frame in decoded] == pytest.approx(truth.times_s.tolist())
    for frame, box in zip(decoded, truth.boxes[:, 0], strict=True):
        assert np.abs(np.array(box_of_white(frame.rgb())) - box).max() <= 2


def test_clips_are_drawn_once_and_read_again(tmp_path: Path) -> None:
    _need_footage()
    clip = clips.make_clips(tmp_path, names=["small"])[0]
    before = clip.path.stat().st_mtime_ns
    again = clips.make_clips(tmp_path, names=["small"])[0]
    assert again.path.stat().st_mtime_ns == before
    assert np.array_equal(again.truth.boxes, clip.truth.boxes, equal_nan=True)


def _need_footage() -> None:
    from cli.demo.footage import sample_clips
    from toolkit.errors import MissingError

    try:
        sample_clips()
    except MissingError:
        pytest.skip("the sample footage of the demo extra is not installed")


# Judging


def test_a_tracker_that_reads_the_truth_is_perfect() -> None:
    clip = two_things()
    result = truths.row("all", [judging.score(perfect(clip), clip, SETTINGS)])
    assert result.precision == result.strict == result.loose == 1
    assert result.recall == result.at_recall == 1
    assert result.ious == (1, 1, 1)
    assert (result.mixed, result.fragments) == (0, 1)
    assert not result.wrong


def test_a_tracker_that_takes_one_for_the_other_is_never_right() -> None:
    clip = two_things()
    swapped = [
        pair(view(clip, 0, start), view(clip, 1, start + 8))
        for start in range(len(clip.truth.times_s) - 8)
    ]
    result = truths.row("all", [judging.score(swapped, clip, SETTINGS)])
    assert (result.precision, result.recall, result.mixed) == (0, 0, 1)
    assert math.isnan(result.at_recall)
    assert result.wrong == {"two things": len(swapped)}


def test_boxes_on_nothing_are_background_and_on_one_end_lost() -> None:
    clip = two_things()
    nothing = View(0, Sighting(0.8, Box(0, 0, 12, 12)), PATCH)
    thing = view(clip, 0, 0)
    assert judging.verdict(pair(nothing, nothing), clip.truth, judging.MAIN)[0] == "background"
    assert judging.verdict(pair(thing, nothing), clip.truth, judging.MAIN)[0] == "lost"


def test_a_box_on_a_part_of_a_thing_is_false_but_named_so() -> None:
    clip = two_things()
    small = [
        replace(v, sighting=replace(v.sighting, box=v.sighting.box.grown(0.4)))
        for v in (view(clip, 0, 0), view(clip, 0, 8))
    ]
    scored = judging.score([pair(*small)], clip, SETTINGS)
    result = truths.row("all", [scored])
    assert (result.precision, result.loose) == (0, 1)
    assert result.wrong == {"part": 1}


def test_a_pair_on_a_distractor_or_on_something_hidden_is_false() -> None:
    lamp = white("lamp", lambda t: (-40.0, 0.0), kind="distractor")
    hidden = white("hidden", lambda t: (50.0, 0.0))
    post = drawing.Sprite("post", sprites.flat(60, 30, (0, 0, 0)), lambda t: (57.0, 0.0), "fixture")
    clip = clip_of(black_scene(lamp, hidden, post, seconds=2))
    assert 0 < clip.truth.visible[0, 1] < 0.5
    for column, reason in ((0, "distractor"), (1, "hidden")):
        ends = pair(view(clip, column, 0), view(clip, column, 8))
        assert judging.verdict(ends, clip.truth, judging.MAIN)[0] == reason


def test_a_true_pair_needs_the_thing_at_its_own_time() -> None:
    clip = two_things()
    late = view(clip, 0, 0)
    late = replace(late, sighting=replace(late.sighting, time_s=3.5))
    assert judging.verdict(pair(view(clip, 0, 0), late), clip.truth, judging.MAIN)[0] == "lost"


# What could have been mined


def test_opportunities_are_the_windows_in_which_something_seen_moves() -> None:
    clip = clip_of(
        black_scene(
            white("moves", line(-60, -30, 25)),  # 20 px in a window, 0.58 of its length
            white("creeps", line(-60, 30, 5)),  # 4 px, 0.12: too little
            white("stands and waves", lambda t: (40.0, 30.0), waves=True),
            white("lamp", lambda t: (70.0, -30.0), kind="distractor", waves=True),
        )
    )
    # 4 s at 10 frames a second: the last frame is at 3.9 s, so there are 4 windows of 0.8 s.
    found = judging.opportunities(clip.truth, SETTINGS)
    assert sorted(found) == [(column, window) for column in (0, 2) for window in range(4)]
    assert found[0, 1] == pytest.approx((0.8, 1.6))


def test_a_window_with_a_cut_or_a_hidden_thing_is_no_opportunity() -> None:
    moving = white("moves", line(-60, 0, 25))
    ground = np.zeros((160, 400, 3), np.float32)
    shots = [drawing.Shot(background=ground, sprites=[moving], seconds=2)] * 2
    scene = drawing.Scene(name="cut", shots=shots, size=SIZE, rate=10, noise=0.0)
    windows = [window for _, window in judging.opportunities(drawing.drawn(scene)[1], SETTINGS)]
    assert windows == [0, 1, 3]  # the cut at 2 s lies in the one from 1.6 to 2.4
    hiding = white("hides", line(-60, 0, 25), shown=lambda t: not 0.85 < t < 0.95)
    clip = clip_of(black_scene(hiding, seconds=2.5))
    assert list(judging.opportunities(clip.truth, SETTINGS)) == [(0, 0), (0, 2)]


def test_precision_at_recall_takes_the_best_pairs_first() -> None:
    clip = two_things()  # four windows of each of two things
    windows = [(column, 8 * window) for column in (0, 1) for window in range(4)]
    good = [
        pair(view(clip, column, frame), view(clip, column, frame + 7), 0.9 - 0.05 * rank)
        for rank, (column, frame) in enumerate(windows)
    ]
    bad = [pair(view(clip, 0, 0), view(clip, 1, 8), score) for score in (0.95, 0.1, 0.1)]
    result = truths.row("all", [judging.score(bad + good, clip, SETTINGS)])
    # 5 of 8 windows are the first 60 percent: 5 true pairs and the bad one before them.
    assert result.at_recall == pytest.approx(5 / 6)
    assert result.quality_at == pytest.approx(0.7)
    assert result.precision == pytest.approx(8 / 11)
    assert result.recall == 1


def test_pairs_of_one_window_cover_it_once() -> None:
    clip = two_things()
    same = [pair(view(clip, 0, 1), view(clip, 0, 8 + k)) for k in range(5)]
    result = truths.row("all", [judging.score(same, clip, SETTINGS)])
    assert result.recall == pytest.approx(1 / 8)


def test_nothing_mined_is_nothing_to_be_precise_about() -> None:
    clip = two_things()
    result = truths.row("all", [judging.score([], clip, SETTINGS)])
    assert (result.pairs, result.recall) == (0, 0)
    assert math.isnan(result.precision)
    assert "| all | 0 | - |" in truths.as_line(result)


def test_fragments_count_the_tracks_of_a_thing() -> None:
    clip = two_things()
    pieces = [
        pair(view(clip, 0, start, start), view(clip, 0, start + 4, start)) for start in (0, 10, 20)
    ]
    scored = judging.score(pieces, clip, SETTINGS)
    assert truths.row("one", [scored]).fragments == 3
    assert truths.row("two of a name", [scored, scored]).fragments == 3
