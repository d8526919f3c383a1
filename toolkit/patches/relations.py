"""What two sightings can be to each other: the same thing, different things, or unknown.

Unlabeled video says that two patches of one track show one thing. Of patches of two tracks
it says that they differ only when they stem from different cameras, lie far apart in time,
or stood beside each other at the same moment; everything else may be the same thing met
again. What looks nearly the same is unknown even then: it may be the same footage in another
file, or things so alike that telling them apart teaches nothing but their background.
Training takes no negative from what is unknown, and evaluation leaves it out, so that no
right answer is counted as wrong.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.patches.twins import twin_tracks
from toolkit.records import PatchPair

GUARD_S = 5.0  # things met again within this time may be the same
# Bits of the perceptual hash. Of people (vtest.avi and two re-encoded copies of it) 91 to 96 %
# of the patches of one thing at one moment are this near where their boxes agree, and 0.1 % of
# surely different pairs; with 12 bits it is 97 and 0.4 %, with 8 bits 83 to 91 and 0.02 %.
NEAR_BITS = 10
_ENDS = ((0, 0), (0, 1), (1, 0), (1, 1))  # of two pairs, query or positive each
_RUN = re.compile(r"^([0-9a-f]{12}-\d{4,}-\d{4,})r\d+$")
_BLOCK = 256  # rows at a time, so that what is computed on the way stays small


@dataclass(frozen=True, slots=True)
class TrackSpans:
    """The pairs as arrays, (N,) each but boxes (N, 2, 4) and hashes (N, 2): for `different`.

    video, camera, track, followed: a number for each, the same for the same; track is what
    the losses take for labels, followed is `followed_as`. twins: (K, 2), tracks that nearly repeat
    each other (`twin_tracks`).
    """

    video: NDArray[np.int64]
    camera: NDArray[np.int64]
    track: NDArray[np.int64]
    followed: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    boxes: NDArray[np.float64]
    hashes: NDArray[np.uint64]
    twins: NDArray[np.int64]

    @classmethod
    def of(cls, pairs: Sequence[PatchPair]) -> "TrackSpans":
        """From the records of pairs, in their order."""
        start = np.array([min(p.query.time_s, p.positive.time_s) for p in pairs], np.float64)
        end = np.array([max(p.query.time_s, p.positive.time_s) for p in pairs], np.float64)
        tracks = _numbered([p.track for p in pairs])
        boxes = [[p.query.box.as_list(), p.positive.box.as_list()] for p in pairs]
        digests = [[p.query_phash, p.positive_phash] for p in pairs]
        hashes = np.array(digests, np.uint64).reshape(len(pairs), 2)
        return cls(
            _numbered([p.video for p in pairs]),
            _numbered([p.camera for p in pairs]),
            tracks,
            _numbered([followed_as(p.track) for p in pairs]),
            start,
            end,
            np.array(boxes, np.float64).reshape(len(pairs), 2, 4),
            hashes,
            twin_tracks(tracks, hashes),
        )

    def take(self, chosen: NDArray[np.int64] | slice) -> "TrackSpans":
        """The pairs at the given positions; what all pairs said of tracks stays known."""
        return TrackSpans(
            self.video[chosen],
            self.camera[chosen],
            self.track[chosen],
            self.followed[chosen],
            self.start_s[chosen],
            self.end_s[chosen],
            self.boxes[chosen],
            self.hashes[chosen],
            self.twins,
        )


def different(spans: TrackSpans, guard_s: float = GUARD_S) -> NDArray[np.bool_]:
    """Which pairs (N, N) surely show different things.

    Another camera; or the same video, and at least guard_s apart or at the same time at
    places that touch at neither end. Never two pairs any of whose patches are within
    NEAR_BITS of each other, never those of twin tracks, and never two runs of what a tracker
    followed as one: it may have been one thing all along. Two videos of one camera have no
    common clock: what they show may be the same. The diagonal, and every two pairs of one
    track, are False.
    """
    count = len(spans.track)
    known = np.zeros((count, count), np.bool_)
    for start in range(0, count, _BLOCK):
        rows = slice(start, start + _BLOCK)
        known[rows] = _different(spans.take(rows), spans, guard_s)
    return known


def _different(some: TrackSpans, every: TrackSpans, guard_s: float) -> NDArray[np.bool_]:
    other_camera = some.camera[:, None] != every.camera[None]
    same_video = some.video[:, None] == every.video[None]
    pause = np.maximum(
        some.start_s[:, None] - every.end_s[None], every.start_s[None] - some.end_s[:, None]
    )
    beside = (pause <= 0) & ~_touching(some.boxes, every.boxes)
    otherwise = some.followed[:, None] != every.followed[None]
    known: NDArray[np.bool_] = otherwise & (
        other_camera | (same_video & ((pause >= guard_s) | beside))
    )
    return known & ~_alike(some.hashes, every.hashes) & ~_twins(some, every)


def _touching(some: NDArray[np.float64], every: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether any box of one pair overlaps any of the other; (M, 2, 4), (N, 2, 4) to (M, N)."""
    touching = np.zeros((len(some), len(every)), np.bool_)
    for one, other in _ENDS:
        a, b = some[:, one, None], every[None, :, other]
        wide = np.minimum(a[..., 2], b[..., 2]) > np.maximum(a[..., 0], b[..., 0])
        high = np.minimum(a[..., 3], b[..., 3]) > np.maximum(a[..., 1], b[..., 1])
        touching |= wide & high
    return touching


def _alike(some: NDArray[np.uint64], every: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether any patch of one pair nearly repeats any of the other; (M, 2), (N, 2) to (M, N)."""
    alike = np.zeros((len(some), len(every)), np.bool_)
    for one, other in _ENDS:
        alike |= np.bitwise_count(some[:, one, None] ^ every[None, :, other]) <= NEAR_BITS
    return alike


def _twins(some: TrackSpans, every: TrackSpans) -> NDArray[np.bool_]:
    """Whether the tracks of two pairs are twins, (M, N)."""
    twins = np.zeros((len(some.track), len(every.track)), np.bool_)
    for row in np.flatnonzero(np.isin(some.track, every.twins[:, 0])):
        first, last = np.searchsorted(every.twins[:, 0], some.track[row] + np.array([0, 1]))
        twins[row] = np.isin(every.track, every.twins[first:last, 1])
    return twins


def followed_as(track: str) -> str:
    """What a tracker followed as one thing: the name of a track without the number of its run.

    A name that mining did not give is returned as it is.
    """
    return _RUN.sub(r"\1", track)


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
