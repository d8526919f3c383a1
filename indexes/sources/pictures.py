"""The patches of one picture: an image file, or a sampled frame of a video."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from indexes.records import PixelBox
from indexes.sources.reading import Reading
from indexes.sources.records import IndexPatch, Origin, printable
from indexes.sources.watch import Watch
from toolkit.embedding import Embedder, WindowEmbedder
from toolkit.errors import UsageError
from toolkit.images import RgbImage, crop_patch, read_image, resize
from toolkit.records import Box


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts pictures as a reading says; `windows` where that is dense, else None."""

    reading: Reading
    windows: WindowEmbedder | None

    @classmethod
    def of(cls, reading: Reading, embedder: Embedder) -> "Cutter":
        """For an embedder that can do what the reading asks. Raises UsageError."""
        if not reading.dense:
            return cls(reading, None)
        if not isinstance(embedder, WindowEmbedder):
            raise TypeError("a dense reading needs a WindowEmbedder")
        side = _side(embedder)
        for window in reading.cut.windows:
            if window < side:
                raise UsageError(
                    f"A dense window of {window} pixels is smaller than the network's, {side}.",
                    mend=f"Give --windows of {side} pixels or more, or leave --dense out.",
                )
        return cls(reading, embedder)

    def patches(
        self, image: RgbImage, origin: Origin, time_s: float | None = None
    ) -> Iterator[IndexPatch]:
        """The patches of a picture, uint8 RGB (height, width, 3)."""
        if self.windows is None:
            yield from self._cut(image, origin, time_s)
            return
        for side in sorted(set(self.reading.cut.windows), reverse=True) or (None,):
            yield from self._dense(image, origin, time_s, side)

    def _cut(self, image: RgbImage, origin: Origin, time_s: float | None) -> Iterator[IndexPatch]:
        height, width = image.shape[:2]
        whole = (0.0, 0.0, float(width), float(height))
        for box in self.reading.cut.boxes(width, height):
            patch = image if box == whole else crop_patch(image, Box(*box))
            yield IndexPatch(origin, time_s, box, None, patch)

    def _dense(
        self, image: RgbImage, origin: Origin, time_s: float | None, side: int | None
    ) -> Iterator[IndexPatch]:
        assert self.windows is not None
        height, width = image.shape[:2]
        factor = 1.0 if side is None else _side(self.windows) / side
        small = resize(image, max(1, round(height * factor)), max(1, round(width * factor)))
        down, across = height / small.shape[0], width / small.shape[1]
        for found in self.windows.windows_of(small):
            boxes = (found.boxes * (across, down, across, down)).round(1).tolist()
            for (x0, y0, x1, y1), vector in zip(boxes, found.vectors, strict=True):
                shown = image[int(y0) : max(round(y1), 1), int(x0) : max(round(x1), 1)]
                yield IndexPatch(origin, time_s, (x0, y0, x1, y1), None, shown, vector)


def _side(embedder: Embedder) -> int:
    spec = embedder.card.preprocessing
    return max(spec.height, spec.width)


def image_patches(
    path: Path, sha256: str, reading: Reading, embedder: Embedder, watch: Watch
) -> Iterator[IndexPatch]:
    """The patches of an image file. Raises ImageError."""
    cutter = Cutter.of(reading, embedder)
    camera = printable(reading.cameras.camera_of(path)) if reading.names_cameras else None
    origin = Origin(printable(path), sha256, "image", camera)
    yield from cutter.patches(read_image(path), origin)
    watch.part(1.0)


def rounded(box: Box) -> PixelBox:
    """A box to a tenth of a pixel, as an index keeps it, and at least that wide and high."""
    x0, y0 = round(box.x0, 1), round(box.y0, 1)
    return x0, y0, max(round(box.x1, 1), x0 + 0.1), max(round(box.y1, 1), y0 + 0.1)
