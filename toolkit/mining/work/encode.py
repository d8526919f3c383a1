"""Patches on their way into a shard."""

from dataclasses import dataclass

from toolkit.images import encode_jpeg
from toolkit.mining.mined import View
from toolkit.patches.phash import perceptual_hash

_RECENT = 256  # views; more than all tracks of a crowded picture have in a gap


@dataclass(frozen=True, slots=True)
class Encoded:
    """A patch as JPEG, and its perceptual hash (64 bits)."""

    jpeg: bytes
    phash: int


class Encoder:
    """Encodes each view once: most are the positive of one pair and the query of another."""

    def __init__(self, quality: int) -> None:
        self._quality = quality
        self._recent: dict[tuple[int, float], Encoded] = {}

    def encode(self, view: View) -> Encoded:
        """The patch of a view, encoded now or a moment ago."""
        key = view.track, view.sighting.time_s
        found = self._recent.pop(key, None)
        if found is None:
            jpeg = encode_jpeg(view.patch, quality=self._quality)
            found = Encoded(jpeg, perceptual_hash(view.patch))
        self._recent[key] = found  # the newest last
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]
        return found
