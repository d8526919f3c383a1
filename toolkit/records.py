"""The small frozen records that the parts hand to each other; units are in the names."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright frame: x0 <= x < x1, y0 <= y < y1 (xyxy)."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.as_list())):
            raise ValueError(f"a box needs finite numbers, not {self.as_list()}")
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise ValueError(f"a box needs x0 < x1 and y0 < y1, not {self.as_list()}")

    @classmethod
    def around(cls, cx: float, cy: float, width: float, height: float) -> Self:
        """The box of the given size (pixels) with its middle at (cx, cy)."""
        return cls(cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)

    @property
    def width(self) -> float:
        """Pixels from left to right."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Pixels from top to bottom."""
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        """The middle (x, y), in pixels."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def as_list(self) -> list[float]:
        """[x0, y0, x1, y1], as in the JSON contracts."""
        return [self.x0, self.y0, self.x1, self.y1]

    def intersection(self, other: "Box") -> float:
        """The shared area, in square pixels."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(width, 0.0) * max(height, 0.0)

    def iou(self, other: "Box") -> float:
        """Intersection over union, 0 to 1."""
        shared = self.intersection(other)
        return shared / (self.area + other.area - shared)

    def scaled(self, factor: float) -> "Box":
        """The same box with its coordinates multiplied, for a frame of another size."""
        return Box(self.x0 * factor, self.y0 * factor, self.x1 * factor, self.y1 * factor)

    def grown(self, factor: float) -> "Box":
        """The box of `factor` times the width and height around the same middle."""
        return Box.around(*self.center, self.width * factor, self.height * factor)

    def rounded(self) -> "Box":
        """Coordinates to a tenth of a pixel, as they are stored."""
        return Box(*(round(value, 1) for value in self.as_list()))


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where a tracked thing is at one moment: PTS seconds and box of the original video."""

    time_s: float
    box: Box

    def as_json(self) -> dict[str, Any]:
        """As it stands in a pair's JSON."""
        return {"time_s": self.time_s, "box": self.box.as_list()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of as_json. Raises KeyError, TypeError or ValueError."""
        return cls(float(content["time_s"]), Box(*(float(v) for v in content["box"])))


@dataclass(frozen=True, slots=True)
class TrackQuality:
    """How far a pair can be trusted.

    score: 0 (worst) to 1; forward_backward: median error of tracking there and back, as a
    fraction of the box's diagonal; appearance: normalised cross-correlation of the patch
    with itself over the track, -1 to 1.
    """

    score: float
    forward_backward: float
    appearance: float


@dataclass(frozen=True, slots=True)
class PatchPair:
    """Two sightings of one moving thing; docs/formats.md has the JSON.

    key: unique over all shards; video: SHA-256 of the file's bytes; path: as it was given;
    camera: what films, by default the name of the video; track: unique over all videos;
    query_phash, positive_phash: `toolkit.patches.phash` of the two patches, 64 bits.
    """

    key: str
    video: str
    path: str
    camera: str
    track: str
    query: Sighting
    positive: Sighting
    quality: TrackQuality
    query_phash: int
    positive_phash: int

    def as_json(self) -> dict[str, Any]:
        """As it stands in KEY.json of a shard."""
        return {
            "version": 1,
            "video": {"sha256": self.video, "path": self.path, "camera": self.camera},
            "track": self.track,
            "query": self.query.as_json() | {"phash": f"{self.query_phash:016x}"},
            "positive": self.positive.as_json() | {"phash": f"{self.positive_phash:016x}"},
            "quality": {
                "score": self.quality.score,
                "forward_backward": self.quality.forward_backward,
                "appearance": self.quality.appearance,
            },
        }

    @classmethod
    def from_json(cls, key: str, content: Mapping[str, Any]) -> Self:
        """The inverse of as_json. Raises KeyError, TypeError or ValueError."""
        if content["version"] != 1:
            raise ValueError(f"version {content['version']} of a pair is not known (1 is)")
        video, quality = content["video"], content["quality"]
        return cls(
            key=key,
            video=str(video["sha256"]),
            path=str(video["path"]),
            camera=str(video["camera"]),
            track=str(content["track"]),
            query=Sighting.from_json(content["query"]),
            positive=Sighting.from_json(content["positive"]),
            quality=TrackQuality(
                float(quality["score"]),
                float(quality["forward_backward"]),
                float(quality["appearance"]),
            ),
            query_phash=_phash(content["query"]["phash"]),
            positive_phash=_phash(content["positive"]["phash"]),
        )


def _phash(digits: str) -> int:
    # int() alone also takes signs, spaces, "0x" and "_".
    if not re.fullmatch("[0-9a-f]{16}", digits):
        raise ValueError(f"a phash has 16 hex digits, not {digits!r}")
    return int(digits, 16)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An input that was set aside, and why."""

    path: str
    reason: str
