"""Tracks and pairs against the known truth of synthetic clips."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.images import crop_patch
from toolkit.mining.mined import MinedPair, View
from toolkit.mining.modern.clock import TICK_S
from toolkit.mining.modern.pairs import pairs_of
from toolkit.mining.modern.tracks import moving_tracks
from toolkit.mining.regions import moving_regions
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.video.decode import DamagedVideoError, frame_at, frames


def _mine(path: Path, settings: MiningSettings | None = None) -> tuple[list[MinedPair], Tally]:
    settings, tally = settings or MiningSettings(), Tally()
    return list(pairs_of(moving_tracks(frames(path), settings, tally), settings, tally)), tally


def _whose(clip: Any, sample: View) -> tuple[int | None, float]:
    """The sprite that a sighting shows by the truth, and the IoU with it."""
    boxes = clip.boxes(sample.sighting.time_s)
    overlaps = [0.0 if box is None else sample.sighting.box.iou(box) for box in boxes]
    best = int(np.argmax(overlaps)) if overlaps else 0
    return (best, overlaps[best]) if overlaps and overlaps[best] > 0.4 else (None, 0.0)


def test_pairs_are_of_one_sprite_and_every_sprite_gives_pairs(truth_clip: Any) -> None:
    pairs, tally = _mine(truth_clip.path)
    ends = [(_whose(truth_clip, p.query), _whose(truth_clip, p.positive)) for p in pairs]
    right = [first[0] == second[0] is not None for first, second in ends]
    assert len(pairs) >= 40
    assert np.mean(right) >= 0.95
    assert {first[0] for first, _ in ends} == {0, 1, 2}
    assert np.median([end[1] for pair in ends for end in pair]) > 0.6
    assert tally.pairs == len(pairs)


def test_a_crossing_does_not_make_one_thing_two(truth_clip: Any) -> None:
    pairs, _ = _mine(truth_clip.path)
    owners: dict[int, set[int | None]] = {}
    for pair in pairs:
        owners.setdefault(pair.query.track, set()).add(_whose(truth_clip, pair.query)[0])
    assert all(len(sprites) == 1 for sprites in owners.values())


def test_the_gap_is_as_set(truth_clip: Any) -> None:
    for gap_s in (0.8, 1.6):
        pairs, _ = _mine(truth_clip.path, MiningSettings(gap_s=gap_s))
        gaps = [p.positive.sighting.time_s - p.query.sighting.time_s for p in pairs]
        assert np.median(gaps) == pytest.approx(gap_s, abs=0.1)


@pytest.mark.parametrize(("rate", "gap_s"), [(25, 0.2), (25, 0.4), (15, 0.4), (10, 0.5), (3, 0.8)])
def test_the_gap_is_kept_to_the_next_frame_that_is_looked_at(
    make_clip: Any, sprite: Any, rate: float, gap_s: float
) -> None:
    clip = make_clip(f"at{rate}.mp4", [sprite((60, 120), (24, 3))], seconds=5, rate=rate)
    gaps = _gaps(_mine(clip.path, MiningSettings(gap_s=gap_s, min_travel=0.02))[0])
    analysed_s = math.ceil(TICK_S * rate - 1e-6) / rate
    assert len(gaps) >= 5
    assert gap_s - 0.04 <= np.median(gaps) <= gap_s + analysed_s - 0.04


def _gaps(pairs: list[MinedPair]) -> list[float]:
    return [p.positive.sighting.time_s - p.query.sighting.time_s for p in pairs]


def test_a_gap_of_many_seconds_gives_pairs_of_that_gap(make_clip: Any, sprite: Any) -> None:
    slow = sprite((40, 120), (12, 2), width=48, height=60, seed=4)
    clip = make_clip("slow.mp4", [slow], seconds=18, rate=12.5)
    pairs, tally = _mine(clip.path, MiningSettings(gap_s=12.5))
    assert pairs
    assert _gaps(pairs) == pytest.approx([12.5] * len(pairs), abs=0.1)
    assert all(_whose(clip, p.query)[0] == _whose(clip, p.positive)[0] == 0 for p in pairs)
    assert tally.rejected["tracks that came to rest"] == 0


def test_a_thing_that_stops_is_given_up_whatever_the_gap(make_clip: Any, sprite: Any) -> None:
    goes = sprite((60, 120), (40, 0), seed=6)
    stops = dataclasses.replace(goes, route=lambda t: goes.route(min(t, 2.0)))
    clip = make_clip("stops.mp4", [stops], seconds=9, rate=12.5)
    _, tally = _mine(clip.path, MiningSettings(gap_s=12.5))
    assert tally.rejected["tracks that came to rest"] >= 1


def test_the_first_sample_of_a_track_has_no_step_before_it(make_clip: Any, sprite: Any) -> None:
    # It begins between two samples, which lie a second apart at this gap.
    comes = sprite((60, 120), (40, 0), appears_s=1.25)
    clip = make_clip("comes.mp4", [comes], seconds=4)
    samples = list(moving_tracks(frames(clip.path), MiningSettings(gap_s=6.0), Tally()))
    assert [sample.step is None for sample in samples] == [True] + [False] * (len(samples) - 1)
    assert len(samples) >= 2


def test_frames_too_far_apart_are_counted(make_clip: Any, sprite: Any) -> None:
    clip = make_clip("lapse.mp4", [sprite((60, 120), (20, 0))], seconds=8, rate=2)
    pairs, tally = _mine(clip.path)
    assert pairs == []
    assert dict(tally.rejected) == {"frames too far apart": 15}


def test_patches_are_cut_from_the_frame_of_their_time(truth_clip: Any) -> None:
    pair = _mine(truth_clip.path)[0][0]
    frame = frame_at(truth_clip.path, pair.positive.sighting.time_s)
    expected = crop_patch(frame, pair.positive.sighting.box).astype(int)
    assert pair.positive.patch.shape == pytest.approx(expected.shape, abs=1)
    height, width = np.minimum(expected.shape, pair.positive.patch.shape)[:2]
    difference = np.abs(pair.positive.patch[:height, :width] - expected[:height, :width])
    assert difference.mean() < 8  # the stored box is rounded to a tenth of a pixel


def test_large_patches_are_shrunk(truth_clip: Any) -> None:
    pairs, _ = _mine(truth_clip.path, MiningSettings(patch_pixels=32))
    assert {max(pair.query.patch.shape[:2]) for pair in pairs} == {32}


def test_a_camera_pan_does_not_make_the_background_move(make_clip: Any, sprite: Any) -> None:
    clip = make_clip(
        "pan.mp4",
        [sprite((40, 120), (70, 0), seed=5)],
        seconds=3,
        pan=lambda t: (30 * t, 8 * np.sin(3 * t)),
    )
    pairs, _ = _mine(clip.path)
    assert len(pairs) >= 5
    assert all(_whose(clip, pair.query)[0] == 0 for pair in pairs)


def test_a_still_scene_under_a_pan_gives_nothing(make_clip: Any) -> None:
    clip = make_clip("only_pan.mp4", [], seconds=2, pan=lambda t: (40 * t, 0.0))
    assert _mine(clip.path)[0] == []


def test_a_still_clip_gives_nothing(still_clip: Path) -> None:
    pairs, tally = _mine(still_clip)
    assert pairs == []
    assert tally.frames == 45
    assert tally.footage_s == pytest.approx(2.9, abs=0.15)


def test_a_thing_that_stands_still_gives_nothing(make_clip: Any, sprite: Any) -> None:
    clip = make_clip("stands.mp4", [sprite((160, 120), (0, 0))], seconds=2)
    assert _mine(clip.path)[0] == []


def test_no_pair_crosses_a_cut(make_clip: Any, sprite: Any) -> None:
    # The sprite goes on as if nothing happened: only the cut detector can part the two.
    clip = make_clip("shots.mp4", [sprite((60, 120), (45, 0), seed=7)], seconds=4, scenes=(2.0,))
    pairs, tally = _mine(clip.path)
    assert tally.rejected["cuts"] == 1
    assert {p.query.sighting.time_s < 2.0 for p in pairs} == {True, False}
    for pair in pairs:
        assert (pair.query.sighting.time_s < 2) == (pair.positive.sighting.time_s < 2)
    before = {p.query.track for p in pairs if p.query.sighting.time_s < 2}
    after = {p.query.track for p in pairs if p.query.sighting.time_s >= 2}
    assert not before & after


def test_a_fast_thing_does_not_look_like_a_cut(make_clip: Any, sprite: Any) -> None:
    big = sprite((-100, 120), (260, 0), width=180, height=200, seed=9)
    clip = make_clip("van.mp4", [big], seconds=2)
    assert _mine(clip.path)[1].rejected["cuts"] == 0


def test_a_thing_seen_briefly_gives_pairs_of_a_shorter_gap(make_clip: Any, sprite: Any) -> None:
    clip = make_clip(
        "brief.mp4",
        [sprite((80, 120), (60, 0), appears_s=0.6, vanishes_s=1.5)],
        seconds=2.2,
    )
    pairs, _ = _mine(clip.path, MiningSettings(gap_s=1.2))
    gaps = [p.positive.sighting.time_s - p.query.sighting.time_s for p in pairs]
    assert pairs
    assert all(0.4 - 0.1 < gap < 1.2 for gap in gaps)


def test_what_vanishes_is_not_followed_further(make_clip: Any, sprite: Any) -> None:
    clip = make_clip("vanish.mp4", [sprite((60, 120), (50, 0), vanishes_s=2.0)], seconds=3)
    pairs, _ = _mine(clip.path)
    assert pairs
    assert max(p.positive.sighting.time_s for p in pairs) < 2.1


def test_small_things_are_counted_not_mined(truth_clip: Any) -> None:
    pairs, tally = _mine(truth_clip.path, MiningSettings(min_box_pixels=100))
    assert pairs == []
    assert tally.rejected["things too small"] > 0


def test_the_same_video_gives_the_same_samples(truth_clip: Any) -> None:
    first, second = _mine(truth_clip.path)[0], _mine(truth_clip.path)[0]
    assert [(p.query.sighting, p.quality) for p in first] == [
        (p.query.sighting, p.quality) for p in second
    ]
    assert all((a.query.patch == b.query.patch).all() for a, b in zip(first, second, strict=True))


def test_the_frame_rate_hardly_matters(make_clip: Any, sprite: Any) -> None:
    def tracks(rate: float) -> int:
        clip = make_clip(f"{rate}.mp4", [sprite((60, 120), (50, 5))], seconds=2, rate=rate)
        return len(_mine(clip.path)[0])

    assert tracks(50) == pytest.approx(tracks(10), abs=1)


def test_a_cut_file_gives_the_pairs_of_its_readable_part(cut_clip: Path) -> None:
    settings, tally = MiningSettings(), Tally()
    pairs: list[MinedPair] = []
    with pytest.raises(DamagedVideoError, match="the file is cut"):
        pairs.extend(pairs_of(moving_tracks(frames(cut_clip), settings, tally), settings, tally))
    assert len(pairs) > 5
    # The last of them reach to the end of what can be read.
    assert max(p.positive.sighting.time_s for p in pairs) > tally.footage_s - 0.5


def test_regions_are_the_ends_of_the_pairs_once_each(truth_clip: Any) -> None:
    pairs, _ = _mine(truth_clip.path)
    ends = {(s.track, s.sighting.time_s) for p in pairs for s in (p.query, p.positive)}
    regions = list(moving_regions(truth_clip.path))
    found = {(int(r.track.split("-")[2]), r.sighting.time_s) for r in regions}
    assert found == ends
    assert len(regions) == len(ends)
