"""Which patches a step sees: a function of the pairs, the settings, the seed and the step.

Nothing is remembered from one step to the next, so that a run that is taken up again, and
every process of a run, sees the same. A patch has a number: 2i is the query of pair i and
2i+1 its positive.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import InputError
from toolkit.patches.relations import TrackSpans, different
from toolkit.records import PatchPair
from toolkit.training.settings import TrainSettings

Numbers = NDArray[np.int64]

# Told apart from the order of the pairs, which is drawn from (seed, epoch) alone.
_CAMERAS, _PARTNERS = 1, 2
_GOLDEN = (5**0.5 - 1) / 2


class PatchTable:
    """All patches of the training pairs, as arrays."""

    def __init__(self, pairs: Sequence[PatchPair]) -> None:
        self.spans = TrackSpans.of(pairs)
        times = [(pair.query.time_s, pair.positive.time_s) for pair in pairs]
        self.times_s = np.array(times, np.float64).reshape(-1)  # (2N,)

    def spans_of(self, picks: Numbers) -> TrackSpans:
        """Two patches of one track each (P, 2) as spans: what they are to other ones."""
        pairs, every = picks[:, 0] // 2, self.spans
        times = self.times_s[picks]
        return TrackSpans(
            every.video[pairs],
            every.camera[pairs],
            every.track[pairs],
            every.followed[pairs],
            times.min(1),
            times.max(1),
            every.boxes.reshape(-1, 4)[picks],
            every.hashes.reshape(-1)[picks],
            every.twins,
        )


class BatchPlan:
    """The pairs of each step: no pair twice an epoch, in an order drawn from the seed.

    What is left of an epoch when whole batches are taken sits out; each epoch other pairs.
    Fewer pairs than a batch make a smaller batch (`batch_pairs`).

    pairs_per_track: pairs of one track come in groups of up to that many; a track with fewer
    gives what it has, and the end of a batch may cut a group in two. cameras "one": the
    cameras take turns, each as often as its share of the pairs asks for; one with fewer pairs
    than a batch shows some of them again in the same batch. Raises InputError for a camera
    of one track.
    """

    def __init__(self, pairs: Sequence[PatchPair], settings: TrainSettings) -> None:
        self.table = PatchTable(pairs)
        self.count = len(pairs)
        self.batch_pairs = min(settings.batch_pairs, self.count)
        self._settings = settings
        self._partners = _Partners(self.table) if settings.positives == "track" else None
        spans = self.table.spans
        if settings.cameras == "one":
            _check_cameras(pairs, spans)
            members = [np.flatnonzero(spans.camera == c) for c in range(spans.camera.max() + 1)]
        else:
            members = [np.arange(self.count)]
        self._turns = _Turns([len(chosen) for chosen in members], settings.seed)
        self._streams = [
            _Stream(chosen, spans.track[chosen], self.batch_pairs, settings.pairs_per_track)
            for chosen in members
        ]

    def pairs_of(self, step: int) -> Numbers:
        """The positions of the pairs of a step (0-based), (batch_pairs,)."""
        if len(self._streams) == 1:
            return self._streams[0].batch(step, (self._settings.seed,))
        camera, number = self._turns.turn(step)
        return self._streams[camera].batch(number, (self._settings.seed, _CAMERAS, camera + 1))

    def picks_of(self, step: int) -> Numbers:
        """The numbers of the patches of a step, (batch_pairs, 2): anchors and positives.

        An anchor is the query of its pair. Its positive is that of the pair ("pair"), the
        anchor itself ("augmentation"), or any patch of its track at another time ("track";
        where there is none, that of the pair).
        """
        anchors = 2 * self.pairs_of(step)
        positives = anchors if self._settings.positives == "augmentation" else anchors + 1
        if self._partners:
            generator = np.random.default_rng((self._settings.seed, step, _PARTNERS))
            positives = self._partners.draw(anchors, generator.random(len(anchors)))
        return np.stack([anchors, positives], 1)

    def negatives_of(self, spans: TrackSpans) -> NDArray[np.bool_]:
        """Which pairs may be negatives of each other, (P, P), as `known_negatives` has it."""
        if self._settings.known_negatives:
            return different(spans)
        return np.not_equal.outer(spans.track, spans.track)


def _check_cameras(pairs: Sequence[PatchPair], spans: TrackSpans) -> None:
    tracks = np.unique(np.stack([spans.camera, spans.track], 1), axis=0)
    counts = np.bincount(tracks[:, 0])
    alone = np.flatnonzero(counts == 1)
    if len(alone):
        position = int(np.flatnonzero(spans.camera == alone[0])[0])
        raise InputError(
            f"{len(alone)} of {len(counts)} cameras have training pairs of one track only, so "
            f"that no batch can be made of them; the first is {pairs[position].camera!r}.",
            mend="Use --cameras mixed, mine more of their video, or hold out less.",
        )


class _Turns:
    """Whose turn it is: each stream as often as its share, spread as evenly as can be."""

    def __init__(self, counts: Sequence[int], seed: int) -> None:
        self._shares = np.cumsum(counts) / max(1, sum(counts))
        self._offset = np.random.default_rng((seed, _CAMERAS)).random()
        self._next = 0
        self._taken = np.zeros(len(counts), np.int64)

    def turn(self, step: int) -> tuple[int, int]:
        """The stream of a step, and how many turns it had before."""
        if step != self._next:
            self._taken = np.bincount(self._streams(0, step), minlength=len(self._shares))
        stream = int(self._streams(step, step + 1)[0])
        number = int(self._taken[stream])
        self._taken[stream] += 1
        self._next = step + 1
        return stream, number

    def _streams(self, start: int, stop: int) -> Numbers:
        # Multiples of the golden ratio lie evenly in 0..1 however many of them are taken.
        places = (np.arange(start, stop) * _GOLDEN + self._offset) % 1
        found = np.searchsorted(self._shares, places, side="right")
        return np.minimum(found, len(self._shares) - 1)


class _Stream:
    """Some pairs without end: epoch after epoch, each in an order of its own, in batches."""

    def __init__(self, pairs: Numbers, tracks: Numbers, batch: int, together: int) -> None:
        self._pairs = pairs
        self._tracks = tracks
        self._batch = batch
        self._together = together
        self._known: tuple[int, Numbers] = (-1, pairs)

    def batch(self, number: int, key: tuple[int, ...]) -> Numbers:
        """The pairs of a batch (0-based), drawn from the key: (batch,)."""
        count = len(self._pairs)
        if count < self._batch:
            rounds = range(-(-self._batch // count))
            epochs = (number * len(rounds) + i for i in rounds)
            return np.concatenate([self._order(e, key) for e in epochs])[: self._batch]
        epoch, place = divmod(number, count // self._batch)
        if epoch != self._known[0]:
            self._known = (epoch, self._order(epoch, key))
        return self._known[1][place * self._batch : (place + 1) * self._batch]

    def _order(self, epoch: int, key: tuple[int, ...]) -> Numbers:
        seed, *rest = key
        generator = np.random.default_rng((seed, epoch, *rest))
        order = generator.permutation(len(self._pairs))
        if self._together > 1:
            order = _grouped(order, self._tracks, self._together, generator)
        return self._pairs[order]


def _grouped(
    order: Numbers, tracks: Numbers, together: int, generator: np.random.Generator
) -> Numbers:
    """The order changed so that up to `together` pairs of a track follow each other."""
    by_track = order[np.argsort(tracks[order], kind="stable")]
    sorted_tracks = tracks[by_track]
    begins = np.searchsorted(sorted_tracks, sorted_tracks)
    opens_group = (np.arange(len(order)) - begins) % together == 0
    group = np.cumsum(opens_group) - 1
    places = generator.permutation(int(opens_group.sum()))
    return by_track[np.argsort(places[group], kind="stable")]


@dataclass(frozen=True, slots=True)
class _Moments:
    """The patches of all tracks, one for each time, sorted by track and time."""

    patches: Numbers
    first: Numbers  # of each track, its first one
    count: Numbers


class _Partners:
    """For a patch, any other patch of its track that shows another time."""

    def __init__(self, table: PatchTable) -> None:
        track = table.spans.track.repeat(2)
        order = np.lexsort((table.times_s, track))
        change = np.diff(track[order], prepend=-1) != 0
        change |= np.diff(table.times_s[order], prepend=np.nan) != 0
        self._moment = np.empty(len(order), np.int64)  # of each patch
        self._moment[order] = np.cumsum(change) - 1
        patches = order[change]
        first = np.searchsorted(track[patches], np.arange(track.max(initial=-1) + 1))
        count = np.diff(first, append=len(patches))
        self._moments = _Moments(patches, first, count)
        self._track = track

    def draw(self, anchors: Numbers, chance: NDArray[np.float64]) -> Numbers:
        """A partner of each anchor (P,), by numbers of 0..1; the next patch where none is."""
        moments, track = self._moments, self._track[anchors]
        others = moments.count[track] - 1
        place = moments.first[track] + (chance * others).astype(np.int64)
        place += place >= self._moment[anchors]
        partner = moments.patches[np.minimum(place, len(moments.patches) - 1)]
        return np.where(others > 0, partner, anchors + 1)
