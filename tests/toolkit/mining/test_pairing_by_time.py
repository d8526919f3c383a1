"""Pairs against times made up by hand: no video, only the clock."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from toolkit.mining.modern.clock import Beat
from toolkit.mining.modern.pairs import pairs_of
from toolkit.mining.modern.samples import Cutting, Look, Step, TrackSample
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.records import Box, Sighting
from toolkit.video.decode import DamagedVideoError

LOOK = Look(50.0, np.random.default_rng(0).normal(0, 50, (30, 30)).astype(np.float32))


class _Picture:
    """A frame of a colour, in place of a decoded one."""

    width = height = 64

    def crop(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        return np.zeros((y1 - y0, x1 - x0, 3), np.uint8)


FRAME: Any = _Picture()


def _track(times_s: Iterable[float], track: int = 0) -> list[TrackSample]:
    """A thing that moves by its own length from sample to sample and always looks alike."""
    box, step = Box(0, 0, 8, 8), Step(0.001, (1.0, 0.0), 1.0, 1.0)
    samples = [
        TrackSample(track, Sighting(t, box), Cutting(FRAME, box, 256), LOOK, step) for t in times_s
    ]
    return [dataclasses.replace(samples[0], step=None), *samples[1:]]


def _paired(
    samples: Sequence[TrackSample], gap_s: float = 0.8, pairs_per_gap: int = 6
) -> list[tuple[float, float]]:
    settings, tally = MiningSettings(gap_s=gap_s, pairs_per_gap=pairs_per_gap), Tally()
    found = pairs_of(samples, settings, tally)
    return [(p.query.sighting.time_s, p.positive.sighting.time_s) for p in found]


@pytest.mark.parametrize("gap_s", [0.2, 0.4, 0.5, 0.8, 3.0])
@pytest.mark.parametrize("rate", [3.0, 10.0, 12.5])
def test_each_sample_is_paired_with_the_first_that_is_a_gap_later(
    gap_s: float, rate: float
) -> None:
    times = [round(i / rate, 3) for i in range(round(8 * rate))]
    expected = []
    for query in times:  # the naive search, over all samples
        later = [time for time in times if time - query > gap_s - 0.039]
        expected += [(query, later[0])] if later else []
    period_s = gap_s / 6
    found = _paired(_track(times), gap_s)
    assert set(found) <= set(expected)
    assert len(found) >= 0.9 * min(len(expected), (8 - gap_s) / period_s)


@pytest.mark.parametrize("pairs_per_gap", [1, 2, 3, 6])
def test_a_long_track_gives_so_many_pairs_a_gap(pairs_per_gap: int) -> None:
    times = [round(i * 0.08, 3) for i in range(1000)]
    found = _paired(_track(times), 1.6, pairs_per_gap)
    assert len(found) == pytest.approx(pairs_per_gap * (80 - 1.6) / 1.6, abs=1)


def test_a_hole_in_the_samples_is_bridged_to_the_next() -> None:
    assert _paired(_track([0.0, 0.3, 0.4, 1.2]), 0.8, 6) == [(0.0, 1.2), (0.3, 1.2), (0.4, 1.2)]


def test_no_samples_give_no_pairs() -> None:
    assert _paired([]) == []


def test_one_sample_gives_no_pair_and_is_counted() -> None:
    tally = Tally()
    assert list(pairs_of(_track([1.0]), MiningSettings(), tally)) == []
    assert tally.rejected["tracks too short"] == 1


def test_a_short_track_is_paired_over_half_its_life() -> None:
    assert _paired(_track([0.0, 0.2, 0.4, 0.6])) == [(0.0, 0.4), (0.2, 0.6)]


def test_a_track_shorter_than_a_third_of_the_gap_gives_nothing() -> None:
    assert _paired(_track([0.0, 0.1, 0.2])) == []


def test_samples_before_damage_are_paired_before_it_is_raised() -> None:
    def broken() -> Iterator[TrackSample]:
        yield from _track([0.0, 0.4, 0.8])
        raise DamagedVideoError("cut")

    found = pairs_of(broken(), MiningSettings(), Tally())
    assert next(found).positive.sighting.time_s == 0.8
    with pytest.raises(DamagedVideoError):
        list(found)


def test_a_beat_strikes_once_a_period_and_does_not_catch_up() -> None:
    beat = Beat(1.0, 0.0)
    assert [beat.strikes(t) for t in (0.0, 0.5, 0.9995, 1.1, 4.2, 4.3, 5.0)] == [
        *(True, False, True, False, True, False, True)
    ]


def _runs(times_s: Iterable[float], distrusted_s: Sequence[float] = ()) -> dict[float, int]:
    """The run of each query; the tracker came back badly at the distrusted moments."""
    samples = [
        dataclasses.replace(sample, step=Step(0.5, (1.0, 0.0), 1.0, 1.0))
        if sample.sighting.time_s in distrusted_s
        else sample
        for sample in _track(times_s)
    ]
    settings = MiningSettings(gap_s=0.8, pairs_per_gap=6)
    pairs = list(pairs_of(samples, settings, Tally()))
    assert all(pair.query.run == pair.positive.run for pair in pairs)
    return {pair.query.sighting.time_s: pair.query.run for pair in pairs}


def test_a_track_that_is_trusted_throughout_is_one_run() -> None:
    assert set(_runs(round(i * 0.1, 1) for i in range(50)).values()) == {0}


def test_a_moment_that_no_trusted_pair_spans_begins_another_run() -> None:
    runs = _runs([round(i * 0.1, 1) for i in range(50)], distrusted_s=[2.0])
    # No pair has the step to 2.0 s inside it, so none spans the moment between 1.9 and 2.0.
    assert {run for time_s, run in runs.items() if time_s < 1.95} == {0}
    assert {run for time_s, run in runs.items() if time_s > 1.95} == {1}
