"""What is around a hit: frames before and after it, or what the index has of its track.

A video may have been moved, or another may lie at its path by now: the bytes are compared with
those that were indexed. Where these are too many to be read for a page, or nobody knows them,
the frame at the hit's moment is compared with the picture that the index kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexes.records import Place
from indexes.stores import PatchStore
from toolkit.errors import ImageError, VideoError
from toolkit.images import (
    RgbImage,
    crop_patch,
    decode_image,
    encode_jpeg,
    read_image,
    resize,
    shrink,
)
from toolkit.records import Box
from toolkit.video.find import is_special
from toolkit.workspace import sha256_file

_OFFSETS_S = (-1.0, -0.5, 0.0, 0.5, 1.0)
_PIXELS = 240
_QUALITY = 80
_MOST_SIGHTINGS = 5
_FROM_INDEX = "These are sightings of the same track from the index."
_MOST_HASHED_BYTES = 1 << 30
_COMPARED_PIXELS = 24
# Mean difference of levels: a frame and its thumbnail have about 2, two places 40 and more.
_MOST_DIFFERENT = 8.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame or a patch. time_s: PTS seconds, None in an image; is_hit: whether of the hit."""

    time_s: float | None
    jpeg: bytes
    is_hit: bool = False


@dataclass(frozen=True, slots=True)
class Strip:
    """pictures: in the order of time; note: where they are from, if it is not the source;
    box: of the hit in its frame, (left, top, width, height) in percent, None for all of it.
    """  # noqa: D205

    pictures: tuple[Picture, ...] = ()
    note: str = ""
    box: tuple[float, float, float, float] | None = None


class StripReader:
    """Reads strips of an index's hits; each source is hashed once."""

    def __init__(self, store: PatchStore) -> None:
        self._store = store
        self._same: dict[tuple[str, str], bool] = {}

    def strip_of(self, place: Place) -> Strip:
        """Frames of the source around a place; where it is gone, sightings from the index."""
        path = Path(place.source)
        if not path.is_file() or is_special(path):
            return self._sightings(place, f"There is no {path.name} at its path now.")
        try:
            if self._is_other(path, place):
                return self._sightings(place, f"Another {path.name} lies at its path now.")
            frames = _frames(path, place.time_s)
        except (VideoError, ImageError) as error:
            return self._sightings(place, error.problem)
        except OSError as error:
            return self._sightings(place, f"Cannot read {path.name}: {error.strerror}.")
        at = next((frame for time_s, frame in frames if time_s == place.time_s), None)
        if at is None or not (self._is_hashed(place) or self._looks_same(place, at)):
            return self._sightings(place, f"Another {path.name} may lie at its path now.")
        pictures = [
            Picture(time_s, _jpeg(frame), is_hit=time_s == place.time_s) for time_s, frame in frames
        ]
        return Strip(tuple(pictures), box=_percent(place, at))

    def _is_other(self, path: Path, place: Place) -> bool:
        """Whether the file has other bytes; False for one that is too large to be hashed."""
        if place.sha256 is None or path.stat().st_size > _MOST_HASHED_BYTES:
            return False
        key = place.source, place.sha256
        if key not in self._same:
            self._same[key] = sha256_file(path) == place.sha256
        return not self._same[key]

    def _is_hashed(self, place: Place) -> bool:
        return place.sha256 is not None and (place.source, place.sha256) in self._same

    def _looks_same(self, place: Place, frame: RgbImage) -> bool:
        """Whether a frame shows the hit's picture; False where the index has none."""
        kept = self._store.thumbnails([place.id]).get(place.id)
        if kept is None:
            return False
        box = _box(place)
        patch = frame if box is None else crop_patch(frame, box)
        mine, its = (_levels(image) for image in (patch, decode_image(kept, name="thumbnail")))
        return float(np.abs(mine - its).mean()) <= _MOST_DIFFERENT

    def _sightings(self, place: Place, why: str) -> Strip:
        """Small pictures of the same track, spread around the hit's own."""
        around = self._store.sightings(place.id)
        own = next(i for i, sighting in enumerate(around) if sighting.id == place.id)
        start = max(0, min(own - _MOST_SIGHTINGS // 2, len(around) - _MOST_SIGHTINGS))
        chosen = around[start : start + _MOST_SIGHTINGS]
        kept = self._store.thumbnails([sighting.id for sighting in chosen])
        pictures = [
            Picture(sighting.time_s, kept[sighting.id], is_hit=sighting.id == place.id)
            for sighting in chosen
            if sighting.id in kept
        ]
        if len(pictures) < 2:
            return Strip(note=why)
        return Strip(tuple(pictures), f"{why} {_FROM_INDEX}")


def _frames(path: Path, time_s: float | None) -> list[tuple[float | None, RgbImage]]:
    if time_s is None:
        return [(None, read_image(path))]
    from toolkit.video.moments import moments_of

    found = moments_of(path, [time_s + offset for offset in _OFFSETS_S])
    moments = dict(moment for moment in found if moment is not None)
    # The hit's own frame is called by the hit's time: a container may round it otherwise.
    nearest = min((abs(shown_s - time_s) for shown_s in moments), default=0.0)
    return [
        (time_s if abs(shown_s - time_s) == nearest else shown_s, frame)
        for shown_s, frame in moments.items()
    ]


def _levels(image: RgbImage) -> NDArray[np.float32]:
    return resize(image, _COMPARED_PIXELS, _COMPARED_PIXELS).astype(np.float32)


def _box(place: Place) -> Box | None:
    x0, y0, x1, y1 = place.box
    return Box(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _percent(place: Place, frame: RgbImage) -> tuple[float, float, float, float] | None:
    box = _box(place)
    height, width = frame.shape[:2]
    if box is None or (box.width >= width and box.height >= height):
        return None
    parts: Sequence[float] = (
        max(box.x0, 0) / width,
        max(box.y0, 0) / height,
        box.width / width,
        box.height / height,
    )
    left, top, wide, high = (min(round(100 * part, 2), 100.0) for part in parts)
    return left, top, wide, high


def _jpeg(frame: RgbImage) -> bytes:
    return encode_jpeg(shrink(frame, _PIXELS), quality=_QUALITY)
