"""The small frozen records that the parts of an index hand to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

PixelBox = tuple[float, float, float, float]  # xyxy


@dataclass(frozen=True, slots=True)
class FileMark:
    """What a file of a segment must be: SHA-256 of its bytes, as 64 hex digits, and size."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Vectors that are never changed again, as the catalog knows them.

    stem: what the names of its files begin with; vectors: rows; kind: "flat", "hnsw",
    "ivf-flat", "ivf-sq" or "ivf-pq"; key: FAISS's factory key; settings: how it is searched and
    what was measured when it was made, as JSON; files: by suffix.
    """

    stem: str
    vectors: int
    kind: str
    key: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, FileMark] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its files in the folder of segments."""
        return tuple(self.stem + suffix for suffix in self.files)

    @property
    def size_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(mark.size_bytes for mark in self.files.values())


@dataclass(frozen=True, slots=True)
class Place:
    """Where an indexed patch comes from.

    time_s: PTS seconds, None for an image; box: pixels of the upright original; track: its
    name, None where nothing was followed; label: given by somebody, else spread, else None;
    sha256: of the source's bytes, None where only its name is known.
    """

    id: int
    source: str
    source_id: int
    time_s: float | None
    box: PixelBox
    track: str | None
    label: str | None
    camera: str | None
    sha256: str | None = None

    @property
    def thing(self) -> tuple[str, int | str]:
        """What makes two patches one thing: the track, or the patch alone."""
        return ("patch", self.id) if self.track is None else ("track", self.track)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which patches may be found; all that is given must hold, and empty means any.

    sources: shell patterns for the path; cameras, labels: names; times_s: PTS seconds, both
    ends included (a patch of an image has no time and is left out).
    """

    sources: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    times_s: tuple[float, float] | None = None
    labels: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True where everything may be found."""
        return self == Filter()


@dataclass(frozen=True, slots=True)
class Nearest:
    """The patches nearest to each of Q queries, at most K of them, by falling score.

    scores: float32 (Q, K), cosines; patches: int64 (Q, K), their ids, -1 where there are no
    more; things: int64 (Q, K), the id of the track (> 0) or minus the id of a patch that
    has none.
    """

    scores: NDArray[np.float32]
    patches: NDArray[np.int64]
    things: NDArray[np.int64]
