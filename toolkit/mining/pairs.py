"""From the samples of tracks to pairs that can be trusted."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from toolkit.mining.proposals import ACTIVE
from toolkit.mining.samples import PLAIN, Step, TrackSample, contrast, likeness
from toolkit.mining.settings import SAMPLES_PER_GAP, MiningSettings
from toolkit.mining.tally import Tally
from toolkit.records import TrackQuality
from toolkit.video.decode import DamagedVideoError

_MIN_SPAN = SAMPLES_PER_GAP // 3  # samples between the two of a pair of a short one

# Other things may pass through a box that stays where it is: it must look the same.
_SAME_ON_THE_SPOT = 0.55

# Tracking errors and likenesses at which the score falls to 0 and reaches 1; between, linear.
_WORST_ERROR, _BEST_ERROR = 0.03, 0.003
_WORST_LIKENESS, _BEST_LIKENESS = 0.0, 0.8


@dataclass(frozen=True, slots=True)
class MinedPair:
    """Two samples of one track, the query earlier than the positive."""

    query: TrackSample
    positive: TrackSample
    quality: TrackQuality


@dataclass(slots=True)
class _Chain:
    """The last samples of a track, at most a gap's worth, and whether it could make a pair."""

    samples: list[TrackSample]
    judged: bool = False


def pairs_of(
    samples: Iterable[TrackSample], settings: MiningSettings, tally: Tally
) -> Iterator[MinedPair]:
    """Pair each sample with the one a gap later.

    Long tracks give `pairs_per_gap` pairs in each gap. One that ends before it is a gap long
    gives pairs over half its life, at least a third of a gap, so that fast things and
    short shots are not lost. Rejected pairs are counted in `tally` by reason.
    Where `samples` ends in a DamagedVideoError, so does this, after the last pairs.
    """
    chains: dict[int, _Chain] = {}
    damage: DamagedVideoError | None = None
    try:
        for sample in samples:
            yield from _retire(chains, sample.sighting.time_s - settings.gap_s, settings, tally)
            yield from _extend(chains, sample, settings, tally)
    except DamagedVideoError as error:
        damage = error
    yield from _retire(chains, math.inf, settings, tally)
    if damage:
        raise damage


def _extend(
    chains: dict[int, _Chain], sample: TrackSample, settings: MiningSettings, tally: Tally
) -> Iterator[MinedPair]:
    chain = chains.get(sample.track)
    if chain is None or sample.step is None:
        if chain is not None:
            yield from _finish(chain, settings, tally)
        chains[sample.track] = _Chain([sample])
        return
    chain.samples.append(sample)
    if len(chain.samples) > SAMPLES_PER_GAP:
        yield from _judge(chain.samples, settings, tally)
        del chain.samples[: SAMPLES_PER_GAP // settings.pairs_per_gap]
        chain.judged = True


def _retire(
    chains: dict[int, _Chain], before_s: float, settings: MiningSettings, tally: Tally
) -> Iterator[MinedPair]:
    """Finish the chains that have had no sample since `before_s`."""
    for track, chain in list(chains.items()):
        if chain.samples[-1].sighting.time_s < before_s:
            del chains[track]
            yield from _finish(chain, settings, tally)


def _finish(chain: _Chain, settings: MiningSettings, tally: Tally) -> Iterator[MinedPair]:
    if chain.judged:
        return
    span = max(_MIN_SPAN, math.ceil(len(chain.samples) / 2))
    if len(chain.samples) <= span:
        tally.reject("tracks too short")
    for start in range(len(chain.samples) - span):
        yield from _judge(chain.samples[start : start + span + 1], settings, tally)


def _judge(
    samples: Sequence[TrackSample], settings: MiningSettings, tally: Tally
) -> Iterator[MinedPair]:
    """The pair of the first and last sample, if it may be trusted."""
    query, positive = samples[0], samples[-1]
    steps = [sample.step for sample in samples[1:] if sample.step is not None]
    quality = _quality(query, positive, max(step.forward_backward for step in steps))
    if min(contrast(query.look), contrast(positive.look)) < PLAIN:
        tally.reject("pairs too plain")
    elif not _moves(steps, quality, settings):
        tally.reject("pairs that did not move")
    elif quality.score < settings.min_quality:
        tally.reject("pairs of low quality")
    else:
        tally.pairs += 1
        yield MinedPair(query, positive, quality)


def _moves(steps: Sequence[Step], quality: TrackQuality, settings: MiningSettings) -> bool:
    """Whether it travels, or waves on the spot and is plainly the same thing after that."""
    travel = math.hypot(*(sum(axis) for axis in zip(*(s.travel for s in steps), strict=True)))
    activity = sum(step.activity for step in steps) / len(steps)
    same = quality.appearance >= _SAME_ON_THE_SPOT
    return travel >= settings.min_travel or (activity >= ACTIVE and same)


def _quality(query: TrackSample, positive: TrackSample, error: float) -> TrackQuality:
    appearance = likeness(query.look, positive.look)
    by_error = _ramp(error, _WORST_ERROR, _BEST_ERROR)
    by_look = _ramp(appearance, _WORST_LIKENESS, _BEST_LIKENESS)
    score = math.sqrt(by_error * by_look)
    return TrackQuality(round(score, 4), round(error, 5), round(appearance, 4))


def _ramp(value: float, worst: float, best: float) -> float:
    return min(max((value - worst) / (best - worst), 0.0), 1.0)
