"""Whether a file ends before its time: what its header claims against what it holds."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.video.container import VideoFile

_CUT_TOLERANCE_S = 0.5  # headers count the last frames of a stream loosely


def claimed_s(file: "VideoFile") -> float | None:
    """The length that the header claims; None for a stream that was saved without one."""
    if file.stream.duration and file.stream.time_base:
        return float(file.stream.duration * file.stream.time_base)
    if file.container.duration:
        return file.container.duration / 1e6
    return None


def held_s(file: "VideoFile", end_s: float) -> float:
    """The length up to `end_s`, the PTS second at which the last frame ends."""
    return end_s - float((file.stream.start_time or 0) * file.base)


def is_cut(file: "VideoFile", end_s: float) -> bool:
    """Whether frames are missing at the end: the last one read ends at `end_s` (PTS seconds)."""
    if file.container.format.name == "avi":
        # Its header counts the ticks for which the last frame stays, which no frame tells.
        return _is_riff_cut(file.path)
    if file.container.format.name == "flv":
        return False  # the same, and no size; a packet that is cut is damaged
    if file.stream.duration is None and len(file.container.streams) > 1:
        return False  # the file's length may be that of another stream (sound)
    # Some headers count from time 0, and some from the first frame.
    held = max(held_s(file, end_s), end_s)
    return (claimed_s(file) or 0.0) - held > _CUT_TOLERANCE_S


def _is_riff_cut(path: Path) -> bool:
    """Whether an AVI's chunks reach beyond the end of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = 0
        while start + 8 <= size:
            file.seek(start)
            name, length = file.read(4), int.from_bytes(file.read(4), "little")
            if name != b"RIFF" or not length:
                return False  # something else was appended; or the writer never came to an end
            start += 8 + length + length % 2
    return start > size + 1
