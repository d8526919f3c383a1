"""What the files behind labelled patches say: how large their pictures are, and the frames."""

from collections.abc import Sequence
from pathlib import Path

from indexes.labels.export.rows import LabelledPatch
from indexes.records import PixelBox
from toolkit.errors import ImageError, InputError, VideoError
from toolkit.images import RgbImage

Size = tuple[int, int]  # width, height, of the upright picture


class Pictures:
    """Looks a source up once; `missing` are those whose file is not there or not readable."""

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self._known: tuple[int, Size | None] = (-1, None)  # sources come one after the other

    def size(self, patch: LabelledPatch) -> Size | None:
        """The size of the picture that a patch lies in, None where its file does not tell."""
        if self._known[0] != patch.source_id:
            self._known = (patch.source_id, self._measured(patch))
        return self._known[1]

    def _measured(self, patch: LabelledPatch) -> Size | None:
        try:
            return _size(Path(patch.source), patch.kind)
        except (ImageError, VideoError, OSError):
            self.missing.add(patch.source)
            return None


def _size(path: Path, kind: str) -> Size:
    if kind == "image":
        from toolkit.images import read_image

        height, width = read_image(path).shape[:2]
        return width, height
    from toolkit.video.probe import probe

    video = probe(path)
    return video.width, video.height


def frames(video: str, times_s: Sequence[float]) -> list[RgbImage]:
    """The frames on display at rising times that are not far apart; decoded in one pass.

    Raises InputError naming the video where one of them is not to be had.
    """
    from toolkit.video.moments import moments_of

    try:
        found = moments_of(Path(video), times_s)
    except (VideoError, OSError) as error:
        raise unreadable(video) from error
    pictures = [moment[1] for moment in found if moment is not None]
    if len(pictures) < len(found):
        raise unreadable(video)
    return pictures


def unreadable(source: str) -> InputError:
    """The error for a source whose pictures are needed and are not to be had."""
    return InputError(
        f"{source} cannot be read, and this format needs its pictures.",
        mend="Put it back, or export as CSV or COCO.",
    )


def inside(box: PixelBox, size: Size) -> PixelBox:
    """A box clipped to its picture; a box of unknown size is the whole picture."""
    width, height = size
    if box[0] >= box[2] or box[1] >= box[3]:
        return (0.0, 0.0, float(width), float(height))
    x0, y0 = min(max(box[0], 0.0), width), min(max(box[1], 0.0), height)
    return (x0, y0, max(x0, min(box[2], width)), max(y0, min(box[3], height)))
