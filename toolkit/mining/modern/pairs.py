"""From the samples of tracks to pairs that can be trusted."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from toolkit.mining.mined import MinedPair
from toolkit.mining.modern.clock import HOLE_S, TICK_S, Beat
from toolkit.mining.modern.proposals import ACTIVE
from toolkit.mining.modern.samples import PLAIN, Step, TrackSample
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.records import TrackQuality
from toolkit.video.decode import DamagedVideoError

_EARLY_S = TICK_S / 2 - 1e-3  # the frames stand so far apart that none may lie on the gap
_MIN_SPAN = 1 / 3  # of the gap, between the two of a pair of a short track

# Where each witness of a pair says nothing in its favour, and where all that it can; between,
# linear. Errors are shares of the box's diagonal, growth is a logarithm of areas.
_ERROR = (0.03, 0.003)
_LIKENESS = (0.0, 0.5)
_ACTIVITY = (0.0, 0.5)
_FIT = (-0.1, 0.4)
_GROWTH = (0.5, 0.0)
_PLAINLY = 2.0  # times min_travel
# What moves on the spot may be leaves or a screen, through which other things may pass: alone
# that is too little at the default min_quality, and at half of it enough.
_ON_THE_SPOT = 0.15


@dataclass(slots=True)
class _Chain:
    """The last samples of a track, a gap's worth; which begin a pair; whether one did."""

    samples: list[TrackSample]
    queries: Beat
    judged: bool = False


@dataclass(slots=True)
class _Run:
    """The stretch of a track that its pairs vouch for without a break, and until when."""

    number: int = -1
    until_s: float = -math.inf


def pairs_of(
    samples: Iterable[TrackSample], settings: MiningSettings, tally: Tally
) -> Iterator[MinedPair]:
    """The pairs of tracks that can be trusted, each with the run of its track.

    A tracker that passes from one thing to another in the middle of a track leaves a moment
    that no trusted pair spans. What lies on both sides of such a moment are two runs: they
    may show one thing or two. Raises as `_trusted_pairs` does.
    """
    runs: dict[int, _Run] = defaultdict(_Run)
    for pair in _trusted_pairs(samples, settings, tally):
        run = runs[pair.query.track]
        if pair.query.sighting.time_s > run.until_s:
            run.number += 1
        run.until_s = max(run.until_s, pair.positive.sighting.time_s)
        yield replace(
            pair,
            query=replace(pair.query, run=run.number),
            positive=replace(pair.positive, run=run.number),
        )


def _trusted_pairs(
    samples: Iterable[TrackSample], settings: MiningSettings, tally: Tally
) -> Iterator[MinedPair]:
    """Pair samples with the first one that is a gap later, give or take half a tick.

    Long tracks give `pairs_per_gap` pairs in each gap. One that ends before it is a gap long
    gives pairs over half its life, at least a third of a gap, so that fast things and
    short shots are not lost. Rejected pairs are counted in `tally` by reason.
    Where `samples` ends in a DamagedVideoError, so does this, after the last pairs.
    """
    chains: dict[int, _Chain] = {}
    damage: DamagedVideoError | None = None
    try:
        for sample in samples:
            before_s = sample.sighting.time_s - settings.gap_s - HOLE_S
            yield from _retire(chains, before_s, settings, tally)
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
        period_s = settings.gap_s / settings.pairs_per_gap
        queries = Beat(period_s, sample.sighting.time_s, early_s=_EARLY_S)
        chains[sample.track] = _Chain([sample], queries)
        return
    chain.samples.append(sample)
    while _apart_s(chain.samples[0], sample) > settings.gap_s - _EARLY_S:
        if chain.queries.strikes(chain.samples[0].sighting.time_s):
            yield from _judge(chain.samples, settings, tally)
            chain.judged = True
        del chain.samples[0]


def _apart_s(first: TrackSample, second: TrackSample) -> float:
    return second.sighting.time_s - first.sighting.time_s


def _retire(
    chains: dict[int, _Chain], before_s: float, settings: MiningSettings, tally: Tally
) -> Iterator[MinedPair]:
    """Finish the chains that have had no sample since `before_s`."""
    for track, chain in list(chains.items()):
        if chain.samples[-1].sighting.time_s < before_s:
            del chains[track]
            yield from _finish(chain, settings, tally)


def _finish(chain: _Chain, settings: MiningSettings, tally: Tally) -> Iterator[MinedPair]:
    """Pairs of a track that ended before it was a gap long."""
    if chain.judged:
        return
    samples = chain.samples
    shortest_s = settings.gap_s * _MIN_SPAN - _EARLY_S
    life_s = _apart_s(samples[0], samples[-1])
    if len(samples) < 2 or life_s < shortest_s:
        tally.reject("tracks too short")
        return
    span_s = max(shortest_s, life_s / 2)
    end = 1
    for start, query in enumerate(samples):
        while end < len(samples) and _apart_s(query, samples[end]) < span_s:
            end += 1
        if end == len(samples):
            return
        yield from _judge(samples[start : end + 1], settings, tally)


def _judge(
    samples: Sequence[TrackSample], settings: MiningSettings, tally: Tally
) -> Iterator[MinedPair]:
    """The pair of the first and last sample, if it may be trusted."""
    query, positive = samples[0], samples[-1]
    steps = [sample.step for sample in samples[1:] if sample.step is not None]
    travel = math.hypot(*(sum(axis) for axis in zip(*(s.travel for s in steps), strict=True)))
    quality = _quality(samples, travel, settings)
    if min(query.look.contrast, positive.look.contrast) < PLAIN:
        tally.reject("pairs too plain")
    elif travel < settings.min_travel and not _waves(steps):
        tally.reject("pairs that did not move")
    elif quality.score < settings.min_quality:
        tally.reject("pairs of low quality")
    else:
        tally.pairs += 1
        yield MinedPair(query.view(), positive.view(), quality)


def _quality(
    samples: Sequence[TrackSample], travel: float, settings: MiningSettings
) -> TrackQuality:
    """What the witnesses say together: one that says nothing in its favour condemns a pair.

    A track that slid off its thing comes back badly, looks different, stands over what does
    not move, beside what does or on a part of it, and is drawn in or out.
    """
    query, positive = samples[0], samples[-1]
    steps = [sample.step for sample in samples[1:] if sample.step is not None]
    error = max(step.forward_backward for step in steps)
    appearance = query.look.likeness(positive.look)
    growth = abs(math.log(positive.sighting.box.area / query.sighting.box.area))
    witnesses = (
        _ramp(error, *_ERROR),
        _ramp(appearance, *_LIKENESS),
        _ramp(sum(step.activity for step in steps) / len(steps), *_ACTIVITY),
        _ramp(sum(step.fit for step in steps) / len(steps), *_FIT),
        _ramp(growth, *_GROWTH),
        max(
            _ramp(travel, 0.0, _PLAINLY * settings.min_travel),
            _ON_THE_SPOT if _waves(steps) else 0.0,
        ),
    )
    score = math.prod(witnesses) ** (1 / 3)
    return TrackQuality(round(score, 4), round(error, 5), round(appearance, 4))


def _waves(steps: Sequence[Step]) -> bool:
    """Whether it moves on the spot: it waves or turns, talks or grazes."""
    return sum(step.activity for step in steps) / len(steps) >= ACTIVE


def _ramp(value: float, worst: float, best: float) -> float:
    if worst == best:  # nothing is asked for
        return 1.0
    return min(max((value - worst) / (best - worst), 0.0), 1.0)
