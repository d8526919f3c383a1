"""The patches of a video: its moving regions, or what is on frames sampled from it."""

from collections.abc import Iterator
from pathlib import Path

from indexes.sources.pictures import Cutter, rounded
from indexes.sources.reading import Reading
from indexes.sources.records import IndexPatch, Origin, printable
from indexes.sources.watch import Watch
from toolkit.embedding import Embedder
from toolkit.errors import VideoError


def video_patches(
    path: Path, sha256: str, reading: Reading, embedder: Embedder, watch: Watch
) -> Iterator[IndexPatch]:
    """Raises VideoError; DamagedVideoError after all that a damaged video has."""
    camera = printable(reading.cameras.camera_of(path))
    origin = Origin(printable(path), sha256, "video", camera)
    if reading.every_s is None:
        return _moving(path, origin, reading, watch)
    return _sampled(path, origin, Cutter.of(reading, embedder), watch)


def _moving(path: Path, origin: Origin, reading: Reading, watch: Watch) -> Iterator[IndexPatch]:
    from toolkit.mining.regions import moving_regions

    length_s = _length_s(path)
    for region in moving_regions(path, reading.mining):
        where = region.sighting
        box = rounded(where.box)
        yield IndexPatch(origin, where.time_s, box, region.track, region.patch)
        if length_s:
            watch.part(min(max(where.time_s / length_s, 0.0), 1.0))
    watch.part(1.0)


def _length_s(path: Path) -> float | None:
    """Seconds that the header claims: enough for a progress bar, and read in no time."""
    from toolkit.video.decode import Decoder

    try:
        with Decoder(path) as decoder:
            return decoder.duration_s
    except VideoError:  # whoever reads its pictures says why
        return None


def _sampled(path: Path, origin: Origin, cutter: Cutter, watch: Watch) -> Iterator[IndexPatch]:
    from toolkit.video.sampled import sampled_frames
    from toolkit.video.timeline import read_timeline

    timeline = read_timeline(path)
    assert cutter.reading.every_s is not None
    for frame in sampled_frames(path, cutter.reading.every_s, timeline):
        yield from cutter.patches(frame.rgb(), origin, frame.time_s)
        watch.part(timeline.share(frame.time_s))
    watch.part(1.0)
