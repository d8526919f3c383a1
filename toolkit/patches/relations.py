"""What two sightings can be to each other: the same thing, different things, or unknown.

Unlabeled video says that two patches of one track show one thing. Of patches of two tracks
it says that they differ only when they stem from different cameras, lie far apart in time,
or stood beside each other at the same moment; everything else may be the same thing met
again. Evaluation leaves what is unknown out, so that no right answer is counted as wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.records import PatchPair

GUARD_S = 5.0  # things met again within this time may be the same


@dataclass(frozen=True, slots=True)
class TrackSpans:
    """The pairs as arrays, (N,) each but boxes (N, 2, 4): what `different` works on.

    video, camera, track: a number for each, the same for the same; track is what the losses
    take for labels.
    """

    video: NDArray[np.int64]
    camera: NDArray[np.int64]
    track: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    boxes: NDArray[np.float64]

    @classmethod
    def of(cls, pairs: Sequence[PatchPair]) -> "TrackSpans":
        """From the records of pairs, in their order."""
        start = np.array([min(p.query.time_s, p.positive.time_s) for p in pairs], np.float64)
        end = np.array([max(p.query.time_s, p.positive.time_s) for p in pairs], np.float64)
        boxes = [[p.query.box.as_list(), p.positive.box.as_list()] for p in pairs]
        return cls(
            _numbered([p.video for p in pairs]),
            _numbered([p.camera for p in pairs]),
            _numbered([p.track for p in pairs]),
            start,
            end,
            np.array(boxes, np.float64).reshape(len(pairs), 2, 4),
        )

    def take(self, chosen: NDArray[np.int64]) -> "TrackSpans":
        """The pairs at the given positions."""
        return TrackSpans(
            self.video[chosen],
            self.camera[chosen],
            self.track[chosen],
            self.start_s[chosen],
            self.end_s[chosen],
            self.boxes[chosen],
        )


def different(spans: TrackSpans, guard_s: float = GUARD_S) -> NDArray[np.bool_]:
    """Which pairs (N, N) surely show different things.

    Another camera; or the same video, and at least guard_s apart or at the same time at
    places that touch at neither end. Two videos of one camera have no common clock: what
    they show may be the same. The diagonal, and every two pairs of one track, are False.
    """
    other_camera = spans.camera[:, None] != spans.camera[None]
    same_video = spans.video[:, None] == spans.video[None]
    pause = np.maximum(
        spans.start_s[:, None] - spans.end_s[None], spans.start_s[None] - spans.end_s[:, None]
    )
    beside = (pause <= 0) & ~_touching(spans.boxes)
    other_track = spans.track[:, None] != spans.track[None]
    known: NDArray[np.bool_] = other_track & (
        other_camera | (same_video & ((pause >= guard_s) | beside))
    )
    return known


def _touching(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether any box of one pair overlaps any of the other, (N, N)."""
    flat = boxes.reshape(-1, 4)
    low = np.maximum(flat[:, None, :2], flat[None, :, :2])
    high = np.minimum(flat[:, None, 2:], flat[None, :, 2:])
    overlaps = (high > low).all(-1)
    count = len(boxes)
    touching: NDArray[np.bool_] = np.any(overlaps.reshape(count, 2, count, 2), axis=(1, 3))
    return touching


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
