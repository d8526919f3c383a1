"""The frames that are mined, decoded by what the settings name."""

from collections.abc import Iterator
from pathlib import Path

from toolkit.mining.settings import MiningSettings
from toolkit.video.decode import frames
from toolkit.video.shown import ShownFrame
from toolkit.video.timeline import Segment


def footage(path: Path, segment: Segment, settings: MiningSettings) -> Iterator[ShownFrame]:
    """The frames of a segment, in the order of display.

    Raises VideoError, also for what the GPU cannot decode, and DamagedVideoError after the
    readable frames; MissingError where the GPU or its decoder cannot be had.
    """
    if settings.device == "cuda":
        from toolkit.video.cuda import cuda_frames

        return cuda_frames(path, segment)
    return frames(path, segment)
