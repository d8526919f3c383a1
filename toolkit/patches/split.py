"""Training pairs and held-out pairs: nothing that a tracker followed is on both sides."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from toolkit.errors import UsageError
from toolkit.patches.relations import followed_as
from toolkit.patches.shards import StoredPair
from toolkit.records import PatchPair

SplitBy = Literal["time", "video"]


@dataclass(frozen=True, slots=True)
class Split:
    """The two sides; a pair that straddles the boundary in time is on neither."""

    train: tuple[StoredPair, ...]
    held_out: tuple[StoredPair, ...]


def split_pairs(pairs: Sequence[StoredPair], by: SplitBy, held_out: float) -> Split:
    """Hold out the last part of each video ("time") or whole videos ("video").

    held_out: the fraction of the footage (0 <= held_out < 1) that is held out. A track is
    held out when all of it lies behind the boundary; of the others only the pairs before
    it train. Raises UsageError for an impossible split.
    """
    if not 0 <= held_out < 1:
        raise UsageError(f"held_out is {held_out}.", mend="Use a fraction from 0 up to, not 1.")
    if held_out == 0:
        return Split(tuple(pairs), ())
    split = _by_time(pairs, held_out) if by == "time" else _by_video(pairs, held_out)
    check_disjoint(split)
    return split


def check_disjoint(split: Split) -> None:
    """Raise RuntimeError (a bug, not a user's error) when a track is on both sides."""
    train, held_out = ({followed_as(s.pair.track) for s in side} for side in _sides(split))
    shared = train & held_out
    if shared:
        raise RuntimeError(f"the split has {len(shared)} tracks on both sides: {min(shared)}")


def _by_time(pairs: Sequence[StoredPair], held_out: float) -> Split:
    spans: dict[str, list[float]] = defaultdict(list)
    begun: dict[str, float] = {}
    for stored in pairs:
        pair = stored.pair
        spans[pair.video] += _times(pair)
        name = followed_as(pair.track)
        begun[name] = min(begun.get(name, float("inf")), *_times(pair))
    boundary = {
        video: max(times) - held_out * (max(times) - min(times)) for video, times in spans.items()
    }
    train, behind = [], []
    for stored in pairs:
        pair = stored.pair
        if begun[followed_as(pair.track)] >= boundary[pair.video]:
            behind.append(stored)
        elif max(_times(pair)) < boundary[pair.video]:
            train.append(stored)
    return Split(tuple(train), tuple(behind))


def _by_video(pairs: Sequence[StoredPair], held_out: float) -> Split:
    counts: dict[str, int] = defaultdict(int)
    for stored in pairs:
        counts[stored.pair.video] += 1
    if len(counts) < 2:
        raise UsageError(
            "A split by video needs pairs of at least 2 videos.", mend="Use --split time."
        )
    # The hash of the content orders the videos: a fixed choice that follows no file name.
    # Of the beginnings of that order, the one that comes nearest to the wanted part.
    order = sorted(counts)
    sizes = list(accumulate(counts[video] for video in order[:-1]))
    nearest = min(range(len(sizes)), key=lambda i: abs(sizes[i] - held_out * len(pairs)))
    chosen = set(order[: nearest + 1])
    train = tuple(s for s in pairs if s.pair.video not in chosen)
    return Split(train, tuple(s for s in pairs if s.pair.video in chosen))


def _sides(split: Split) -> tuple[tuple[StoredPair, ...], tuple[StoredPair, ...]]:
    return split.train, split.held_out


def _times(pair: PatchPair) -> tuple[float, float]:
    return pair.query.time_s, pair.positive.time_s
